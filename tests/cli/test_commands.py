"""The output and the files of the commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from made import MakeBundle, MakeRecord, MakeRun
from PIL import Image

import nstopt
from nstopt.bundle import open_bundle
from nstopt.pictures.files import read_picture
from nstopt.runs.run_file import write_run

from .conftest import Cli


def test_help_groups_the_commands(cli: Cli) -> None:
    ran = cli()
    assert (ran.code, ran.err) == (0, "")
    assert ran == cli("--help")
    deploy, measure, train = (ran.out.index(f"─ {panel} ─") for panel in ("Deploy", "Measure", "Train"))
    stylize, doctor, gatys = (ran.out.index(f"│ {command} ") for command in ("stylize", "doctor", "gatys"))
    assert deploy < stylize < measure < doctor < train < gatys


def test_a_group_without_a_command_shows_its_help(cli: Cli) -> None:
    ran = cli("train")
    assert (ran.code, ran.err) == (0, "")
    assert ran == cli("train", "--help")


def test_the_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"nstopt {nstopt.__version__}\n", "")


@pytest.mark.usefixtures("short_warm_up")
def test_the_commands_without_arguments(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: object) -> list[str]:
        code, out, err = cli(*arguments)
        assert (code, err) == (0, "")
        return out.splitlines()

    lines = ran("export")
    assert lines[0].startswith("took the bundled sample (johnson_")
    assert lines[1].startswith("johnson ")
    assert lines[2].startswith("wrote nstopt-out/sample.onnx: opset 17, any size, within ")
    assert lines[3] == "wrote nstopt-out/sample.ts"
    lines = ran("build-engine", "--int8", "--res", 64)
    assert lines[0] == "took nstopt-out/sample.onnx"
    assert "calibrated on 5 pictures of scikit-image's photographs" in lines
    assert lines[-1] == "wrote nstopt-out/sample-64x64-int8.nst"
    quality = open_bundle(Path("nstopt-out/sample-64x64-int8.nst")).manifest.quality
    assert quality
    assert quality.psnr_db_worst > 30
    lines = ran("bench", "--res", 64, "--runs", 2)
    assert lines[0] == "took nstopt-out/sample-64x64-int8.nst"
    (records,) = Path("nstopt-out").glob("bench-*.json")
    assert lines[-1] == f"wrote {records}"
    record = json.loads(records.read_text())
    assert "sample" in json.dumps(record)
    lines = ran("stylize")
    assert lines[0] == "took nstopt-out/sample-64x64-int8.nst"
    assert lines[1].endswith("astronaut.png")
    assert lines[2].startswith("wrote nstopt-out/astronaut-stylized.png: 512x512, the net ran at 64x64")
    assert read_picture(Path("nstopt-out/astronaut-stylized.png")).rgb.shape == (512, 512, 3)
    lines = ran("stylize", "nstopt-out/astronaut-stylized.png")
    assert lines[0] == "took nstopt-out/sample-64x64-int8.nst"
    assert lines[1].startswith("wrote nstopt-out/astronaut-stylized-stylized.png: 512x512")
    lines = ran("inspect")
    assert lines[0] == "took nstopt-out/sample-64x64-int8.nst"
    assert "sample: johnson" in "\n".join(lines)


@pytest.mark.usefixtures("short_warm_up")
def test_the_commands_with_arguments(folder: Path, cli: Cli) -> None:
    out = folder / "made" / "net.nst"
    ran = cli(
        "build-engine", "net.onnx", "--fp16", "--res", "48x64", "--val", "one", "--backend", "onnxruntime", "-o", out
    )
    assert (ran.code, ran.err) == (0, "")
    assert "note: the graph is fp16, which this device computes in fp32" in ran.out
    manifest = open_bundle(out).manifest
    assert (manifest.backend.name, manifest.precision.asked, manifest.precision.computes) == (
        "onnxruntime",
        "fp16",
        "fp32",
    )
    ran = cli("inspect", "made/net.nst", "--json")
    assert json.loads(ran.out) == json.loads((out / "manifest.json").read_text())
    ran = cli("stylize", out, "photo.png", "-o", "made/out.jpg", "--before-after", "made/both.png")
    assert ran.out.splitlines() == [
        "wrote made/out.jpg: 40x60, the net ran at 43x64 (its engine takes 48x64)",
        "wrote made/both.png: before and after",
    ]
    assert read_picture(Path("made/both.png")).rgb.shape == (40, 120, 3)
    ran = cli("bench", out, "--runs", 1, "--image", "photo.png", "--json", "made/bench.json")
    assert (ran.code, ran.err) == (0, "")
    assert "photo.png" in Path("made/bench.json").read_text()


def test_an_engine_for_any_number_of_pictures_is_packaged(folder: Path, cli: Cli) -> None:
    onnxruntime = ("--backend", "onnxruntime", "--any-batch")
    ran = cli("build-engine", "net.onnx", "--res", "48x64", "--val", "one", *onnxruntime, "-o", "any.nst")
    assert (ran.code, ran.err) == (0, "")
    ran = cli("package", "any.nst", "--format", "triton", "-o", "models", "--max-batch", 4)
    assert ran.out.splitlines() == ["dynamic batching of up to 4 pictures", "wrote models/any"]
    assert Path("models/any/1/model.onnx").read_bytes() == Path("any.nst/model.onnx").read_bytes()
    assert "max_batch_size: 4" in Path("models/any/config.pbtxt").read_text()
    assert cli("package", "any.nst", "-o", "models").err.startswith("error: models/any: already exists")


def test_a_users_own_net(folder: Path, cli: Cli) -> None:
    ran = cli("export", "user.onnx", "--input-range", "0,1", "-o", "own.onnx")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["custom", "wrote own.onnx: opset 17, any size, within 0 gray level of the net"]
    ran = cli("build-engine", "own.onnx", "--dynamic", "--val", "one", "-o", "own.nst")
    assert (ran.code, ran.err) == (0, "")
    assert cli("stylize", "own.nst", "photo.png", "-o", "out.png").code == 0
    np.testing.assert_array_equal(read_picture(Path("out.png")).rgb, noise(40, 60)[..., [2, 0, 1]])


def test_a_folder_with_one_bad_picture(folder: Path, cli: Cli) -> None:
    ran = cli("stylize", "net.nst", "mixed", "-o", "out")
    assert ran.code == 1
    assert ran.err == "error: 1 of 2 pictures could not be stylized; the others were written\n"
    wrote, left_out = ran.out.splitlines()
    assert wrote.startswith("wrote out/a.png: 40x60")
    assert left_out.startswith("left out: mixed/b.png: not a picture")
    assert read_picture(Path("out/a.png")).rgb.shape == (40, 60, 3)


def test_before_and_after_of_a_folder(folder: Path, cli: Cli) -> None:
    Image.fromarray(noise(30, 50)).save("one/b.jpg")
    ran = cli("stylize", "net.nst", "one", "-o", "out", "--before-after", "both")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1::2] == ["wrote both/a.png: before and after", "wrote both/b.jpg: before and after"]
    assert read_picture(Path("both/a.png")).rgb.shape == (40, 120, 3)
    assert read_picture(Path("both/b.jpg")).rgb.shape == (30, 100, 3)


def test_a_report_of_the_newest_run(
    tmp_path: Path, cli: Cli, make_record: MakeRecord, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("nstopt-out/bench-1.json"), make_run(make_record()))
    monkeypatch.setattr("nstopt.report.page.render", lambda runs, image: f"page of {len(runs)}")
    lines = ["took nstopt-out/bench-1.json", "wrote nstopt-out/bench-1.html"]
    assert cli("report").out.splitlines() == lines
    assert Path("nstopt-out/bench-1.html").read_text() == "page of 1"


def test_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-um", "nstopt", "bench", "--res", "48x64", "--runs", "10000"]
    Path("nstopt-out").mkdir(exist_ok=True)
    shutil.copytree("net.nst", "nstopt-out/net.nst")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stdout
        assert bench.stderr
        assert bench.stdout.readline() == "took nstopt-out/net.nst\n"
        time.sleep(1)
        os.kill(bench.pid, signal.SIGINT)
        assert bench.wait(20) == 130
        assert "Traceback" not in bench.stderr.read()


def test_help_and_stylize_import_little(folder: Path) -> None:
    code = (
        "import sys; from nstopt.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code\n"
        "print(*sorted({'torch', 'onnx', 'onnxscript', 'skimage', 'scipy', 'safetensors'} & sys.modules.keys()))"
    )
    for arguments in (["--help"], ["stylize", "net.nst", "photo.png", "-o", "out.png"]):
        ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == ""


def test_tune_shows_what_was_measured(folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = cli("build-engine", "net.onnx", "--tune", "--res", "48x64", "--val", "one", "-o", "tuned.nst")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Forms, measured")
    tuning = open_bundle(Path("tuned.nst")).manifest.tuning
    assert {"upsample-conv", "few-inputs"} <= {one.layer.split()[0] for one in tuning}
    assert all(one.form == min(one.latency_ms, key=one.latency_ms.__getitem__) for one in tuning)


def test_compare(folder: Path, cli: Cli, make_bundle: MakeBundle) -> None:
    free = make_bundle("free")
    ran = cli("compare", free, "net.nst", "--images", "one", "-o", "worst.png")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["picture", "dB", "SSIM", "gray", "levels"]
    assert lines[-2].split()[0] == "mean"
    assert lines[-1].startswith("wrote worst.png: ")
    assert read_picture(Path("worst.png")).rgb.shape == (48, 3 * 64, 3)
    Path("empty").mkdir(exist_ok=True)
    ran = cli("compare", free, "net.nst", "--images", "empty")
    assert (ran.code, ran.err) == (1, "error: empty: no pictures in this folder\n")


def test_optimize_goes_from_a_checkpoint_to_the_fastest_engine(folder: Path, cli: Cli) -> None:
    ran = cli("optimize", "net.pth", "--res", "48x64", "--val", "one", "-o", "fast.nst")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "exported nstopt-out/net.onnx"
    assert lines[1].startswith("Engines on this machine")
    (kept,) = [line.split() for line in lines if line.endswith("kept")]
    assert "left out: onnxruntime fp16: this device computes it in fp32" in ran.out
    assert "int8: net.onnx: INT8 needs pictures to find its ranges from" in ran.out.replace("nstopt-out/", "")
    assert lines[-1] == "wrote fast.nst"
    manifest = open_bundle(Path("fast.nst")).manifest
    assert [manifest.backend.name, manifest.precision.asked] == kept[:2]
