"""Wrong input: one line on stderr, exit code 1 or 2, and no file lost."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nstopt.bundle import open_bundle
from nstopt.gpu.driver import count_gpus

from .conftest import Cli

WRONG: dict[str, str] = {
    # arguments: pattern of the line on stderr, after "error: "
    "export no.pth": r"there is no checkpoint at no\.pth",
    "export empty.pth": r"empty\.pth is empty \(0 bytes\): download or save it again",
    "export half.pth": r"cannot read half\.pth: truncated, damaged, or no PyTorch checkpoint \(5000 bytes; ",
    "export pickle.pth": r"pickle\.pth needs the Python object pathlib\..*, and nstopt never unpickles code: save only",
    "export shape.pth": r"shape\.pth is a johnson net with tensors of .*in1\.weight is \[9\] instead of \[4\]",
    "export unknown.pth": r"unknown\.pth is not a known net\. Known families: johnson .*fast.*Nearest: .*missing: ",
    "export none": r"none is a folder without manifest\.json",
    "export decoder.pth": r"an AdaIN decoder needs the VGG it was trained with: .* --vgg",
    "export decoder.pth --vgg no.pth --style photo.png": r"there is no checkpoint at no\.pth",
    "export net.pth --input-range 0,1": r"net\.pth is a johnson net, which has a convention and multiple of its own",
    "export net.pth -o file/a.onnx": r"file/a\.onnx: cannot be written \(file is not a folder\)",
    "export net.pth --torchscript file/a.ts": r"file/a\.ts: cannot be written \(file is not a folder\)",
    "export no.onnx": r"no\.onnx: no such file",
    "export garbage.onnx": r"garbage\.onnx: not a valid ONNX file: ",
    "export classifier.onnx --input-range 0,1": r"classifier\.onnx: not an image-to-image net: 'y' is FLOAT ",
    "export user.onnx": r"user\.onnx: state the range of its input with --input-range, such as 0,255 or 0,1",
    "export net.onnx": r"net\.onnx: already maps uint8 pictures to uint8 pictures: run nstopt build-engine",
    "build-engine": r"no ONNX file in \./nstopt-out: name one, or run nstopt export first",
    "build-engine no.onnx": r"no\.onnx: no such file",
    "build-engine garbage.onnx": r"garbage\.onnx: not a valid ONNX file: ",
    "build-engine user.onnx": r"user\.onnx: does not take and give uint8 .*; run nstopt export on it first",
    "build-engine net.onnx --int8": r"net\.onnx: INT8 needs pictures .* with --calib",
    "build-engine net.onnx --int8 --calib none": r"none: no pictures in this folder; give one with some dozens",
    "build-engine net.onnx --int8 --calib bad/a.png": r"bad/a\.png: not a readable video",
    "build-engine net.onnx --drift one": r"one: ",
    "build-engine net.onnx --int8 --calib one --plot x.gif": r"x\.gif: unknown plot format",
    "build-engine net.onnx --int8 --calib no": r"no: no such folder of pictures",
    "build-engine net.onnx --int8 --calib one": r"one: one picture is not enough to calibrate and to validate .* --val",
    "build-engine net.onnx --int8 --calib bad": r"bad/[ab]\.png: not a picture",
    "build-engine net.onnx --val none": r"none: no pictures in this folder",
    "build-engine net.onnx --backend magic": r"unknown backend 'magic'; there are: openvino, onnxruntime, ",
    "build-engine net.onnx --backend torchscript --fp16": r"the torchscript backend runs fp32 only, not fp16",
    "build-engine net.onnx --backend torchscript": r"net\.onnx: the torchscript backend needs the T.*export",
    "build-engine net.onnx --res 48 --val one -o file/a.nst": r"file/a\.nst: cannot be written: file is not a folder",
    "build-engine net.onnx --res 48 --val one -o none": r"none: cannot be written: it exists and is no",
    "bench": r"no engine bundle in \./nstopt-out: name one, or run nstopt build-engine first",
    "bench no.nst": r"no\.nst: no such folder; build one with: nstopt build-engine",
    "bench changed.nst": r"changed\.nst: model\.bin does not match its hash \(damaged or changed\); build",
    "bench net.nst --res 512": r"no engine to bench at 512x512: built are net\.nst for 48x64; build the other with: ",
    "bench net.nst --image text.png": r"text\.png: not a picture",
    "bench net.nst --json file/a.json": r".*file/a\.json",
    "bench net.nst --compare magic --checkpoint net.pth": r".*magic",
    "build-engine net.onnx --tune --dynamic --val one": r".*--tune measures layers in their shape",
    "build-engine net.onnx --int8 --fp16": r"the openvino backend runs bf16, .* only, not int8-fp16; choose",
    "build-engine net.onnx --fastest --dynamic --val one": r"the fastest engine is that for one size and batch: name",
    "optimize no.pth": r"no\.pth: no such file; name a checkpoint",
    "optimize net.onnx --calib no": r"no: no such folder of pictures",
    "bench net.nst --min-psnr 50": r"net\.nst: this engine is built already; .* go with a net",
    "bench net.onnx --res 48 --precision fp8": r"unknown precision 'fp8'; there are: ",
    "bench net.nst --baseline text.png": r"text\.png: not a run that this nstopt can read: .*; run the benchmark again",
    "report": r"no run file in \./nstopt-out: name one, or run nstopt bench first",
    "report no.json": r"no\.json: cannot be read: No such file",
    "plan net.nst": r"net\.nst: is built already, for one GPU; a plan takes its checkpoint or its \.onnx",
    "plan net.onnx --target voodoo2": r"no GPU 'voodoo2' is known; there are: gtx-1050ti, ",
    "stylize": r"no engine bundle in \./nstopt-out: name one",
    "stylize no.nst": r"no\.nst: no such folder",
    "stylize no.png": r"no engine bundle in \./nstopt-out: name one",
    "stylize no.nst photo.png": r"no\.nst: no such folder",
    "stylize changed.nst photo.png": r"changed\.nst: model\.bin does not match its hash",
    "stylize net.nst no.png": r"no\.png: no such picture",
    "stylize net.nst text.png": r"text\.png: not a picture",
    "stylize net.nst tiny.png": r"tiny\.png: 9x60 is too small; each side needs 16 pixels",
    "stylize net.nst none": r"none: no pictures in this folder",
    "stylize net.nst bad -o out": r"2 of 2 pictures could not be stylized$",
    "stylize net.nst photo.png -o photo.png": r"photo\.png: the result would overwrite an input; choose another",
    "stylize net.nst one -o one": r"one/a\.png: the result would overwrite the picture itself",
    "compare net.nst net.nst --images one -o one/a.png": r"one/a\.png: the result would overwrite an input",
    "gatys photo.png one/a.png --lossnet x --steps 1 -o photo.png": r"photo\.png: the result would overwrite an input",
    "report net.onnx -o net.onnx": r"net\.onnx: the result would overwrite an input",
    "bench net.onnx --json net.onnx": r"net\.onnx: the result would overwrite an input",
    "stylize net.nst photo.png -o file/a.png": r"file/a\.png: cannot be written \(file is not a folder\)",
    "stylize net.nst photo.png -o out.gif": r"out\.gif: unknown picture format; write \.png, \.jpg or \.webp",
    "stylize net.nst photo.png --before-after photo.png": r"photo\.png: the result would overwrite an input",
    "stylize net.nst photo.png -o a.png --before-after a.png": r"a\.png: would be both the result and the side-by-side",
    "stylize net.nst mixed -o out --before-after photo.png": r"photo\.png: is a file; the results of a folder need",
    "inspect": r"no engine bundle in \./nstopt-out",
    "inspect none": r"none: not an engine bundle \(no manifest\.json in it\)",
    "package": r"no engine bundle in \./nstopt-out",
    "package changed.nst": r"changed\.nst: model\.bin does not match its hash",
    "package net.nst --max-batch 4": r"net\.nst: its engine takes batches of 1 only",
    "package net.nst --name a/b": r"'a/b' is not a model name",
    "inspect changed.nst": r"changed\.nst: model\.bin does not match its hash",
}  # fmt: skip


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", WRONG)
def test_an_error_takes_one_line_and_loses_nothing(
    wrong: Path, cli: Cli, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wrong)
    before = files(wrong)
    ran = cli(*arguments.split())
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.out + ran.err
    assert "a bug in nstopt" not in ran.err
    assert re.match(f"error: {WRONG[arguments]}", ran.err), ran.err
    assert files(wrong) == before


def test_a_loop_of_symbolic_links(folder: Path, cli: Cli) -> None:
    Path("loop.png").symlink_to("loop.png")
    ran = cli("stylize", "net.nst", "loop.png")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith("error: loop.png: not a readable picture (Too many levels of symbolic links")


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has an NVIDIA GPU")
def test_tensorrt_without_a_gpu(folder: Path, cli: Cli) -> None:
    ran = cli("build-engine", "net.onnx", "--backend", "tensorrt", "--res", 48, "--val", "one")
    assert ran.code == 1
    assert ran.err.startswith("error: cannot build an engine with TensorRT: it needs an NVIDIA GPU")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("polish", "No such command 'polish'"),
        ("stylize a b c d", "unexpected extra argument"),
        ("export --res 15", "out of range: each side must lie in 16..16384"),
        ("export --res wide", "is not a size: write 512, or HEIGHTxWIDTH"),
        ("export --res 512 --dynamic", "--res fixes the size and --dynamic keeps it free"),
        ("export a.pth --input-range 1,0", "first number must be the smaller one"),
        ("export a.pth --mean 0.5", "need --input-range"),
        ("export a.pth --input-range 0,1 --std 0", "each number must be above 0"),
        ("export a.pth --alpha 2", "'--alpha': Input should be less than or equal to 1"),
        ("build-engine --fp16 --bf16", "--fp16 and --bf16 are two types for the same layers"),
        ("build-engine --fastest --bf16", "--fastest chooses the backend and the precision: leave --bf16 out"),
        ("build-engine --fastest --tune", "--fastest chooses the backend and the precision: leave --tune out"),
        ("build-engine --symmetric", "--symmetric is a kind of INT8"),
        ("build-engine --plot x.png", "--plot draws the search for INT8"),
        ("build-engine --batch 2 --any-batch", "--batch fixes the number of pictures and --any-batch keeps it free"),
        ("package --format tar", "'tar' is not one of 'triton'"),
        ("build-engine --res 512 --dynamic", "--res fixes the size and --dynamic keeps it free"),
        ("build-engine --batch 0", "'--batch': Input should be greater than or equal to 1"),
        ("bench --startup --res 64 --json a.json", "--startup measures something else, for which --json does nothing"),
        ("bench --stabilize 1", "--stabilize goes with --temporal CLIP"),
        ("bench --temporal a.mp4 --min-psnr 50", "for which --min-psnr does nothing: leave it out"),
        ("bench --runs 0", "'--runs': Input should be greater than or equal to 1"),
        ("inspect --color", "No such option: --color; for help: nstopt inspect --help"),
        ("train polish", "No such command 'polish'; for help: nstopt train --help"),
        ("plan --fps nan", "'--fps': "),
        ("bench --live --minutes inf", "'--minutes': inf is out of range"),
        ("build-engine --min-psnr nan", "'--min-psnr': nan is out of range"),
        ("export a.pth --style b.png:nan", "'--style': nan is out of range"),
        (f"live --camera {10**20}", f"'--camera': {10**20} is out of range"),
        (f"stylize --max-pixels {10**20}", f"'--max-pixels': {10**20} is out of range"),
        (f"stylize --max-memory {10**400}GiB", "is not an amount of memory"),
        (f"bench --batch {'9' * 5000}", "is not a list of batch sizes"),
        (f"export --res {'x' * 5000}", "x…x"),
        ("export --\x1b[31m", r"No such option: --\x1b[31m"),
    ],
)
def test_usage_errors(tmp_path: Path, cli: Cli, arguments: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli(*arguments.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert message in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Limits files to 4000 bytes, as if the disk were full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "arguments",
    [
        "export large.onnx --input-range 0,1 -o out/a.onnx",
        "build-engine net.onnx --res 48x64 --val one -o out/a.nst",
        "build-engine net.onnx --res 48x64 --val one -o out/a.nst --backend onnxruntime",
        "build-engine net.onnx --res 48x64 --val one -o net.nst",
        "stylize net.nst photo.png -o out/a.png",
    ],
)
def test_a_full_disk(folder: Path, cli: Cli, full_disk: None, arguments: str) -> None:
    before = files(folder)
    ran = cli(*arguments.split())
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "cannot be written" in ran.err
    assert "File too large" in ran.err
    assert files(folder) == before
    assert not Path("out").exists() or list(Path("out").iterdir()) == []
    open_bundle(Path("net.nst"))


def in_a_process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nstopt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_errors_of_a_process(folder: Path) -> None:
    ran = in_a_process("inspect", "changed.nst")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: changed.nst: model.bin does not match its hash")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--debug", "inspect", "no.nst"), ("inspect", "no.nst", "--debug")])
def test_debug_shows_the_traceback(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = in_a_process(*arguments, cwd=tmp_path)
    assert ran.returncode == 1
    assert "Traceback (most recent call last)" in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("nstopt.errors.BundleError: no.nst: no such folder")
