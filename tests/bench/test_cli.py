"""The commands `nstopt bench`, `report`, `plan` and `export --explain`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from made import MakeBundle
from typer.testing import CliRunner

from nstopt.bench.statistics import summarize
from nstopt.cli import app
from nstopt.errors import BuildError, NstoptError
from nstopt.projection import plan
from nstopt.runs.run_file import read_run, write_run

run = CliRunner().invoke


def test_explain_shows_the_rewrites_and_leaves_the_raw_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    written = tmp_path / "net.onnx"
    command = ["export", str(tiny_checkpoint), "-o", str(written), "--res", "48x64", "--explain"]
    result = run(app, [*command, "--backend", "onnxruntime"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Rewrites for onnxruntime at 48x64" in result.output
    assert "UpsampleConv applied to 2 layers" in result.output
    assert b"Resize" in written.read_bytes()


def test_an_unknown_peer_is_named(make_bundle: MakeBundle, tmp_path: Path) -> None:
    command = ["bench", str(make_bundle()), "--compare", "torch,jax", "--checkpoint", str(tmp_path / "net.pth")]
    with pytest.raises(BuildError, match="unknown peer 'jax'; there are: torch, torch-channels-last"):
        run(app, command, catch_exceptions=False)


def test_a_backend_to_explain_is_checked_before_anything_is_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    command = ["export", str(tiny_checkpoint), "-o", str(tmp_path / "net.onnx"), "--explain", "--backend", "jax"]
    with pytest.raises(BuildError, match="unknown backend 'jax'"):
        run(app, command, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("short_warm_up")
def test_a_sweep_a_report_and_a_baseline(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["bench", str(tiny_onnx), "--res", "32", "--batch", "1,2", "--val", str(photos)]
    command += ["--precision", "fp32", "--runs", "3", "--target", "gtx-1060", "--json", "run.json"]
    result = run(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    made = read_run(Path("run.json"))
    assert [(one.backend, str(one.size), one.batch) for one in made.records] == [
        ("openvino", "32x32", 1),
        ("openvino", "32x32", 2),
    ]
    assert [(one.target, one.precision, one.batch) for one in made.projected] == [
        ("gtx-1060", "fp32", 1),
        ("gtx-1060", "fp32", 2),
    ]
    assert made.projected[0].high_ms < made.projected[1].high_ms
    assert "Projected, not measured" in result.output
    outputs = ["-o", "page.html", "--csv", "run.csv", "--markdown", "run.md", "--png", "charts"]
    result = run(app, ["report", "run.json", *outputs], catch_exceptions=False)
    assert result.exit_code == 0
    assert "<!doctype html>" in Path("page.html").read_text()[:40]
    names = {path.name for path in Path("charts").iterdir()}
    assert names == {"tiny-latency.png", "tiny-throughput.png", "tiny-quality.png"}
    faster = tuple(
        msgspec.structs.replace(record, latency_ms=summarize([ms / 1000 for ms in record.latency_ms.samples]))
        for record in made.records
    )
    write_run(Path("fast.json"), msgspec.structs.replace(made, records=faster))
    again = ["bench", str(made.records[0].bundle), "--res", "32", "--runs", "3", "--json", "again.json"]
    assert run(app, [*again, "--baseline", "fast.json"]).exit_code == 1
    assert run(app, [*again, "--baseline", "run.json", "--tolerance", "100000"]).exit_code == 0


def test_a_plan_in_words(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "PRECISIONS", ("int8",))
    result = run(app, ["plan", str(tiny_onnx), "--target", "gtx-1060", "--fps", "30"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith("tiny on GeForce GTX 1060 6 GB, projected and not measured (docs/projection.md):\n")
    assert "- INT8: 30 FPS up to" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--res", "512,x"], "'x' is not a size"),
        (["--batch", "0"], "'0' is not a list of batch sizes from 1 to 64"),
        (["--precision", "fp32,"], "'fp32,' has an empty name in it"),
    ],
)
def test_wrong_lists_are_usage_errors(arguments: list[str], said: str) -> None:
    result = run(app, ["bench", "net.onnx", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["report", "none.json"], r"none.json: cannot be read"),
        (["bench", "none.pth"], r"none.pth: no such file; name a checkpoint"),
        (["bench", "none.pth", "--target", "gtx-9999"], r"no GPU 'gtx-9999' is known"),
        (["plan", "none.pth", "--target", "gtx-9999"], r"no GPU 'gtx-9999' is known"),
        (["bench", "none.pth", "--baseline", "none.json"], r"none.json: cannot be read"),
    ],
)
def test_wrong_input_is_an_error_with_a_reason(command: list[str], error: str) -> None:
    with pytest.raises(NstoptError, match=error):
        run(app, command, catch_exceptions=False)
