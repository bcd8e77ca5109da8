"""The kit that `make gpu` runs, with real steps that need no GPU."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest
from on_gpu import kit
from on_gpu.kit import Done, Step, pack, run, steps, summary

OK = Step("good", (sys.executable, "-c", "print('fine')"))
FAILED = Step("bad", (sys.executable, "-c", "import sys; sys.exit('error: no tactic for conv3')"))


def test_a_step_has_a_log_and_a_limit(tmp_path: Path) -> None:
    endless = Step("endless", (sys.executable, "-c", "import time; time.sleep(60)"), limit_s=1)
    found = [run(step, tmp_path) for step in (OK, FAILED, endless, Step("missing", ("/no/such/program",)))]
    assert [one.status for one in found] == [0, 1, None, 127]
    assert found[1].verdict == "failed (1)"
    assert (tmp_path / "good.log").read_text().splitlines() == [f"$ {' '.join(OK.command)}", "fine"]
    assert "no tactic for conv3" in (tmp_path / "bad.log").read_text()
    assert "No such file" in (tmp_path / "missing.log").read_text()


def test_every_precision_size_and_peer_is_a_step_of_its_own() -> None:
    listed = list(steps(["fp32", "int8"], ["torch-cuda"], ["256", "512"]))
    names = [step.name for step in listed]
    assert names[:5] == ["nvidia-smi", "packages", "doctor", "smoke", "tests"]
    assert names[5:] == [
        *("bench-fp32-256", "bench-fp32-512", "bench-int8-256", "bench-int8-512"),
        *("tune-fp32", "tune-int8", "peer-torch-cuda", "picture-fp32", "picture-int8"),
    ]
    assert [step.name for step in listed if "--layers" in step.command] == ["bench-fp32-512", "bench-int8-512"]
    assert kit.NET.is_file()
    assert kit.tune("net", "int8-fp16", "512")[-3:] == ("--tune", "--int8", "--fp16")
    assert kit.tune("net", "fp32", "512")[-1] == "--tune"


def write_results(folder: Path) -> None:
    """Write what benches leave: a bundle with a plan, and a run file."""
    bundle = folder / "nstopt-out" / "net-512x512-int8-tensorrt.nst"
    bundle.mkdir(parents=True)
    precision = {"asked": "int8", "computes": "fp32", "layers": {}, "differences": ["conv1 reads FP32, not INT8"]}
    quality = {"psnr_db_mean": 45.32, "psnr_db_worst": 43.11}
    tuned = {"layer": "norms and scales", "form": "default", "latency_ms": {"default": 1.0, "own norms": 1.5}}
    (bundle / "manifest.json").write_text(json.dumps({"precision": precision, "quality": quality, "tuning": [tuned]}))
    (bundle / "engine.plan").write_bytes(b"native code")
    (bundle / "build.log").write_text("[INFO] built")
    (folder / "cache" / "nstopt" / "failed-build").mkdir(parents=True)
    (folder / "cache" / "nstopt" / "failed-build" / "model.onnx").write_bytes(b"graph")
    records = [
        {"label": label, "is_peer": peer, "height": 512, "width": 512, "latency_ms": {"p50": ms}}
        for label, peer, ms in ((bundle.name, False, 1.234), ("torch-cuda", True, 5.678))
    ]
    (folder / "nstopt-out" / "bench-1.json").write_text(json.dumps({"records": records}))


def test_the_summary_tells_what_ran_and_what_was_built(tmp_path: Path) -> None:
    write_results(tmp_path)
    page = summary(tmp_path, [run(OK, tmp_path), run(FAILED, tmp_path)])
    assert "State: 1 of 2 steps failed: bad." in page
    assert "| good | ok | 0 | fine |" in page
    assert "| bad | failed (1) | 0 | error: no tactic for conv3 |" in page
    assert "| norms and scales | default | default 1.000, own norms 1.500 |" in page
    assert "## bad: failed (1)\n\n```\nerror: no tactic for conv3\n```" in page
    assert "| net-512x512-int8-tensorrt.nst | 1.23 | fp32 | conv1 reads FP32, not INT8 | 45.3 | 43.1 |" in page
    assert "| 512x512 | torch-cuda | 5.68 |" in page


def test_a_run_that_got_nowhere_has_no_empty_tables(tmp_path: Path) -> None:
    page = summary(tmp_path, [run(FAILED, tmp_path)])
    assert page.count("None: no step got so far.") == 3


def test_the_archive_holds_all_but_plans(tmp_path: Path) -> None:
    write_results(tmp_path / "kit")
    (tmp_path / "kit" / "cache" / "other").mkdir()
    (tmp_path / "kit" / "cache" / "other" / "id").write_text("of another program")
    with tarfile.open(pack(tmp_path / "kit")) as packed:
        names = packed.getnames()
    assert "kit/nstopt-out/net-512x512-int8-tensorrt.nst/build.log" in names
    assert "kit/cache/nstopt/failed-build/model.onnx" in names
    assert not [name for name in names if name.endswith((".plan", "id"))]


@pytest.mark.parametrize(("step", "status"), [(OK, 0), (FAILED, 1)])
def test_the_kit_ends_with_a_summary_and_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: Step, status: int
) -> None:
    monkeypatch.setattr(kit, "steps", lambda *arguments: [step, OK])
    assert kit.main([str(tmp_path / "kit"), "--precisions", "fp32"]) == status
    shown = capsys.readouterr().out
    assert f"archive: {tmp_path / 'kit.tar.gz'}" in shown
    assert ("failed: bad" if status else "all steps passed") in shown
    assert (tmp_path / "kit" / "summary.md").read_text().startswith("# nstopt on a GPU")


def test_without_a_gpu_only_fp32_would_be_tried() -> None:
    assert "fp32" in kit.fast_precisions()
    assert Done(OK, None, 1.0).verdict == "stopped after 30 minutes"
