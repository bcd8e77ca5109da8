"""One attempt each: run a command where something goes wrong, and return what is wrong with its ending, or ""."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nstopt.files import MARK

from .commands import OUT, Command, bits, check_outputs

INTERRUPTED = 130
# Puts a small disk over `out`, in name spaces of its own, where no privileges are needed; keeps what was written.
SMALL_DISK = (
    'mount -t tmpfs -o size="$1" tmpfs out && mount -o remount,"$2" out && shift 2 && "$@"; code=$?; '
    "cp -a out kept; exit $code"
)


def run(line: Sequence[str], **options: object) -> tuple[int, str]:
    """Run a command line; return exit code and stderr."""
    ran = subprocess.run(line, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return ran.returncode, ran.stderr


def nstopt(command: Command) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "nstopt", *command.arguments.split()]


def sound(command: Command) -> str:
    """Nothing goes wrong."""
    code, said = run(nstopt(command))
    check_outputs()
    return f"{code}: {said[-300:]}" if code or said else ""


def killed(command: Command, after: float, by: signal.Signals, expected: bytes | None) -> str:
    """It is ended after some seconds. If it resumes, the same command then gives the `expected` bits."""
    process = subprocess.Popen(nstopt(command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(by)
    _, said = process.communicate(timeout=60)
    what = f"{by.name} after {after:.2f} s: "
    check_outputs()
    if by is signal.SIGINT:
        if process.returncode not in (0, INTERRUPTED) or (said and not said.startswith("interrupted after")):
            return f"{what}ended with {process.returncode}: {said[-300:]}"
    elif process.returncode not in (0, -by):
        return f"{what}ended with {process.returncode}: {said[-300:]}"
    if command.resumed is None:
        return ""
    if wrong := sound(command):
        return f"{what}does not go on: {wrong}"
    same = bits(OUT / command.resumed) == expected
    shutil.rmtree(OUT)
    return "" if same else f"{what}{command.resumed} has other bits after it went on"


def long_files(command: Command, after: int) -> str:
    """No file can have more bytes."""
    code, said = run(nstopt(command), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (after, after)))
    return judge(code, said, f"files end after {after} bytes")


def small_disk(command: Command, size: str, mode: str = "rw") -> str:
    """The output is on a disk of this size, or on one that is read only."""
    OUT.mkdir(exist_ok=True)
    line = ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh", size, mode]
    code, said = run([*line, *nstopt(command)])
    OUT.rmdir()
    Path("kept").rename(OUT)
    return judge(code, said, f"a disk of {size} bytes, {mode}")


def has_small_disks() -> bool:
    """Return True if this user may mount in a name space of its own."""
    line = ["unshare", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return shutil.which("unshare") is not None and run(line)[0] == 0


def judge(code: int, said: str, what: str) -> str:
    """It has done what was asked for, or says in one line what is wrong; no temporary file is left."""
    check_outputs()
    left = [str(path) for path in OUT.rglob(f"*{MARK}*")]
    is_clear = code == 0 or (code == 1 and said.count("\n") == 1 and "bug in nstopt" not in said)
    return "" if is_clear and not left else f"{what}: {code}: {said[-300:]} {' '.join(left)}"


def twice(command: Command) -> str:
    """It runs twice at once on one output."""
    both = [
        subprocess.Popen(nstopt(command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(process.communicate()[1], process.returncode) for process in both]
    check_outputs()
    bad = [(said, code) for said, code in ends if code not in (0, 1) or said.count("\n") > 1 or "bug in nstopt" in said]
    return f"twice at once: {bad}" if bad or all(code for _, code in ends) else ""


def written_bytes() -> int:
    """Return how much space the output takes on a disk."""
    return sum(path.stat().st_blocks * 512 for path in OUT.rglob("*"))
