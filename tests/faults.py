"""Kills, full disks and rivals: `python tests/faults.py --kills 100`. Not a test of the suite, since it takes minutes.

Each command is ended by KILL, TERM or INT at a random moment, run on a disk that is full after some bytes, and twice
at once on one output. Afterwards its output is the old one, the new one or none, and the command itself still works.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import onnx
import torch
from conftest import noise
from made import build_inverter
from nets import layouts
from PIL import Image

from nstopt.bundle import open_bundle
from nstopt.export.onnx_file import read_onnx
from nstopt.files import MARK
from nstopt.manifest import InputShape
from nstopt.nets.custom import load_torchscript
from nstopt.pictures.files import read_picture
from nstopt.pictures.size import Size

# Python installs its handler of Ctrl-C, and nstopt its own, in the first moments of a process.
STARTED = 0.4
FULL_AFTER = (0, 1, 500, 4000, 20_000)
INTERRUPTED = 130


class Command(NamedTuple):
    """Arguments of nstopt, and a function that raises if an output that exists is not whole."""

    arguments: Sequence[str]
    check: Callable[[], object]


def _each(folder: Path, read: Callable[[Path], object]) -> None:
    for path in folder.glob("[!.]*"):
        read(path)


COMMANDS = {
    "export": Command(
        ("export", "net.pth", "-o", "out/net.onnx", "--torchscript", "out/net.ts"),
        lambda: _each(Path("out"), lambda path: read_onnx(path) if path.suffix == ".onnx" else load_torchscript(path)),
    ),
    "build": Command(
        ("build-engine", "net.onnx", "--res", "48", "--val", "one", "-o", "out/net.nst"),
        lambda: _each(Path("out"), open_bundle),
    ),
    "folder": Command(("stylize", "net.nst", "many", "-o", "out"), lambda: _each(Path("out"), read_picture)),
    "package": Command(
        ("package", "net.nst", "-o", "out"), lambda: _each(Path("out"), lambda path: (path / "config.pbtxt").stat())
    ),
}


def prepare() -> None:
    """Write the commands' inputs into the working folder."""
    torch.save(layouts.vivid(layouts.johnson(blocks=1), "deconv3.conv2d", 20, 128), "net.pth")
    run(("export", "net.pth", "-o", "net.onnx"))
    onnx.checker.check_model(onnx.load("net.onnx"))
    build_inverter(Path(), "bundle", InputShape.of(1, Size(48, 64)))
    Path("bundle.nst").rename("net.nst")
    for folder, count in (("one", 1), ("many", 40)):
        Path(folder).mkdir()
        for number in range(count):
            Image.fromarray(noise(400, 600, number)).save(f"{folder}/{number}.png")


def run(arguments: Sequence[str], **options: object) -> tuple[int, str]:
    """Run nstopt; return exit code and stderr."""
    command = [sys.executable, "-m", "nstopt", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return ran.returncode, ran.stderr


def killed(command: Command, after: float, by: signal.Signals) -> str:
    """End the command after some seconds; return what is wrong, or ""."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nstopt", *command.arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    process.send_signal(by)
    _, said = process.communicate(timeout=60)
    command.check()
    fits = (0, INTERRUPTED) if by is signal.SIGINT else (0, -by)
    if process.returncode not in fits or (said and by is signal.SIGINT):
        return f"{by.name} after {after:.2f} s: ended with {process.returncode}: {said[-200:]}"
    return ""


def full_disk(command: Command, after: int) -> str:
    """Run the command where files end after some bytes; return what is wrong, or ""."""
    code, said = run(command.arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (after, after)))
    command.check()
    left = [path.name for path in Path("out").rglob(f"*{MARK}*")] if Path("out").exists() else []
    is_clear = code == 0 or (code == 1 and said.count("\n") == 1 and "bug in nstopt" not in said)
    return "" if is_clear and not left else f"full after {after} bytes: {code}: {said[-300:]} {left}"


def twice(command: Command) -> str:
    """Run the command twice at once; return what is wrong, or ""."""
    line = [sys.executable, "-m", "nstopt", *command.arguments]
    both = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(process.communicate()[1], process.returncode) for process in both]
    command.check()
    bad = [(said, code) for said, code in ends if code not in (0, 1) or said.count("\n") > 1 or "bug in nstopt" in said]
    return f"twice at once: {bad}" if bad or all(code for _, code in ends) else ""


def main() -> int:
    """Print what was tried and what ended badly."""
    parser = argparse.ArgumentParser(prog="python tests/faults.py")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS), help="some of them, with commas between")
    given = parser.parse_args()
    random, tried, bad = Random(given.seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="nstopt-faults-") as folder:
        os.chdir(folder)
        prepare()
        for name, command in ((name, COMMANDS[name]) for name in given.commands.split(",")):
            shutil.rmtree("out", ignore_errors=True)
            begin = time.monotonic()
            code, said = run(command.arguments)
            seconds = time.monotonic() - begin
            attempts = [("sound", "" if code == 0 else said)]
            for _ in range(given.kills // len(given.commands.split(","))):
                _reset(name)
                by = random.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
                attempts.append(("kill", killed(command, random.uniform(STARTED, seconds), by)))
            for after in FULL_AFTER:
                shutil.rmtree("out", ignore_errors=True)
                attempts.append(("full", full_disk(command, after)))
            shutil.rmtree("out", ignore_errors=True)
            attempts.append(("twice", twice(command)))
            shutil.rmtree("out", ignore_errors=True)
            attempts.append(("again", "" if run(command.arguments)[0] == 0 else "does not work afterwards"))
            wrong = [f"{kind}: {what}" for kind, what in attempts if what]
            tried, bad = tried + len(attempts), bad + len(wrong)
            print(f"{name}: {len(attempts)} tried, {len(wrong)} ended badly", *wrong, sep="\n  ", flush=True)
    print(f"{tried} tried, {bad} ended badly")
    return int(bad > 0)


def _reset(name: str) -> None:
    """Leave the output of the last attempt, over which the next one writes, but for packages, which are never
    overwritten."""
    if name == "package":
        shutil.rmtree("out", ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
