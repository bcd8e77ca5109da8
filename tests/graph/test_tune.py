"""The choice between forms: made by what was measured, and measured once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from nstopt import engines
from nstopt.gpu.facts import Architecture, architectures
from nstopt.graph.forms import CHOICES
from nstopt.graph.passes import rewrite
from nstopt.graph.rule import Layer
from nstopt.graph.tune import Tuner, cache_path, read_cache
from nstopt.precisions import PRECISIONS

SHAPES = {
    "upsample-conv": (6, 5, 3, 3, 7, 9),
    "upsample-grouped": (3, 4, 2, 3, 3, 7, 9),
    "separable-doubling": (6, 5, 3, 3, 7, 9),
    "strided-reflection": (3, 4, 2, 3, 3, 8, 10),
    "transposed-conv": (5, 6, 4, 4, 7, 9),
    "subpixel-conv": (8, 5, 3, 3, 7, 9),
    "few-outputs": (3, 8, 9, 9, 12, 14),
    "few-inputs": (8, 3, 9, 9, 20, 22),
    "few-channel-norm": (3, 12, 14),
    "wide-conv": (64, 64, 3, 3, 8, 10),
}
LAYER = Layer("few-outputs", SHAPES["few-outputs"])


class Stopwatch:
    """Measures models by a rule of its own, and counts how often it was asked."""

    def __init__(self, ms: Sequence[float]) -> None:
        self.ms = ms
        self.asked: list[int] = []

    def __call__(self, models: Sequence[onnx.ModelProto]) -> list[float]:
        self.asked.append(len(models))
        return list(self.ms)


def tuner(path: Path, stopwatch: Stopwatch, key: str = "backend 1 device", precision: str = "fp32") -> Tuner:
    return Tuner(precision, key, stopwatch, lambda _: None, path)


@pytest.mark.parametrize("kind", list(CHOICES))
def test_every_form_of_an_example_is_another_graph_and_equal(kind: str) -> None:
    choice = CHOICES[kind]
    plain = choice.example(SHAPES[kind])
    port = plain.graph.input[0]
    shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
    feed = {port.name: np.random.default_rng(0).uniform(0, 8, shape).astype(np.float32)}
    results = []
    for form in choice.forms:
        wanted = {kind: form}
        after = rewrite(plain, lambda layer, wanted=wanted: wanted.get(layer.kind, "plain"))  # type: ignore[misc]
        assert any(event.applied and form in event.reason for event in after.events) == (form != "plain")
        results.append(ort.InferenceSession(after.model.SerializeToString()).run(None, feed)[0].astype(np.float64))
    assert len(results) > 1
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-4, atol=1)  # bytes may round another way


def test_the_fastest_form_is_taken_and_recorded(tmp_path: Path) -> None:
    stopwatch = Stopwatch([3.0, 1.0, 2.0])
    one = tuner(tmp_path / "a" / "tuning.json", stopwatch)
    assert one.choose(LAYER) == "phase"
    assert one.choose(LAYER) == "phase"
    assert stopwatch.asked == [3]
    (record,) = one.chosen.values()
    assert (record.layer, record.form) == ("few-outputs 3x8x9x9x12x14", "phase")
    assert record.latency_ms == {"plain": 3.0, "phase": 1.0, "split": 2.0}


def test_a_form_that_does_not_run_is_no_choice(tmp_path: Path) -> None:
    one = tuner(tmp_path / "tuning.json", Stopwatch([3.0, float("inf"), 2.0]))
    assert one.choose(LAYER) == "split"
    assert one.chosen[LAYER].latency_ms == {"plain": 3.0, "split": 2.0}


def test_what_was_measured_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    tuner(path, Stopwatch([3.0, 2.0, 1.0])).choose(LAYER)
    later = Stopwatch([1.0, 2.0, 3.0])
    assert tuner(path, later).choose(LAYER) == "split"
    assert later.asked == []
    for other in (tuner(path, later, key="backend 2 device"), tuner(path, later, precision="int8")):
        assert other.choose(LAYER) == "plain"
    assert len(read_cache(path)) == 3


def test_int8_is_offered_no_form_that_it_would_round(tmp_path: Path) -> None:
    stopwatch = Stopwatch([2.0, 1.0])
    layer = Layer("wide-conv", SHAPES["wide-conv"])
    assert tuner(tmp_path / "tuning.json", stopwatch, precision="int8").choose(layer) == "plain"
    assert stopwatch.asked == []
    assert tuner(tmp_path / "tuning.json", stopwatch).choose(layer) == "winograd"


def test_a_damaged_cache_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    path.write_text('{"a": 3')
    assert tuner(path, Stopwatch([3.0, 2.0, 1.0])).choose(LAYER) == "split"
    assert len(read_cache(path)) == 1


def test_the_cache_lies_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_path() == tmp_path / "nstopt" / "tuning.json"


@pytest.mark.parametrize("backend", list(engines.BACKENDS))
@pytest.mark.parametrize("generation", [None, *architectures().values()])
def test_default_forms_exist(backend: str, generation: Architecture | None) -> None:
    for precision in PRECISIONS:
        for kind, form in engines.backend(backend).forms(precision, generation).items():
            assert form in CHOICES[kind].forms


def test_openvino_has_transposed_grouped_kernels_in_fp32_only() -> None:
    forms = {precision: engines.backend("openvino").forms(precision) for precision in ("fp32", "bf16", "int8")}
    found = {precision: form.get("upsample-grouped") for precision, form in forms.items()}
    assert found == {"fp32": "transposed", "bf16": "early-pad", "int8": None}
    assert all(form["upsample-conv"] == "transposed" for form in forms.values())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_backends_measure(backend: str) -> None:
    model = CHOICES["few-outputs"].example(SHAPES["few-outputs"])
    feed = {"input": np.ones([dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim], np.float32)}
    times = engines.backend(backend).measure([model.SerializeToString()] * 2, "fp32", feed)
    assert len(times) == 2
    assert min(times) > 0
    assert backend in engines.backend(backend).identity()
