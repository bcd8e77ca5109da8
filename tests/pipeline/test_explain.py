"""The explanation of a real export: what changed, and rules that say the same in one line."""

from __future__ import annotations

import io
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from nstopt.cli.render.explain import rewrite_report
from nstopt.graph.rule import Event
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.pipeline import explain
from nstopt.pipeline.explain import Effect, Explanation

AT_512 = InputShape.of(1, Size(512, 512))


@pytest.fixture(scope="module")
def explanation(tiny_onnx: Path) -> Explanation:
    return explain.explain(onnx.load(tiny_onnx), AT_512, "openvino")


def shown(explanation: Explanation) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(rewrite_report(explanation))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_upsampling_multiplies_less(explanation: Explanation) -> None:
    ups = [(was, now) for _, was, now in explanation.changes if was and now and now.op == "ConvTranspose"]
    assert len(ups) == 2
    for was, now in ups:
        assert was.op == "Conv"
        assert was.work.macs / now.work.macs == pytest.approx(2.25, rel=0.05)  # it multiplies at the cropped border too
    assert explanation.after.macs < explanation.before.macs


def test_every_changed_layer_has_changed(explanation: Explanation) -> None:
    for change in explanation.changes:
        assert change.before is None or change.after is None or change.before[1:] != change.after[1:]


def test_equal_events_of_several_layers_are_one_line_and_applied_ones_come_first() -> None:
    events = [Event("A", "1", False, "no"), Event("B", "1", True, "done"), Event("A", "2", False, "no")]
    assert explain._effects(events) == [Effect("B", True, "done", ("1",)), Effect("A", False, "no", ("1", "2"))]


def test_it_fits_a_screen(explanation: Explanation) -> None:
    lines = shown(explanation).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 50
    assert lines[1] == "Rewrites for openvino at 512x512"
    assert any(line.startswith("UpsampleConv applied to 2 layers: ") for line in lines)
    assert any(line.startswith("PadIntoConv declined ") for line in lines)


def test_the_model_itself_stays_as_it_is(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    before = model.SerializeToString()
    explain.explain(model, AT_512, "onnxruntime")
    assert model.SerializeToString() == before


def test_a_graph_that_nothing_changes(explanation: Explanation) -> None:
    text = shown(explanation._replace(changes=(), effects=()))
    assert "Layers that changed" not in text
    assert "Rules" not in text
