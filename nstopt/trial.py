"""The first run of a program from outside, in a process of its own.

ONNX graphs, TorchScript and torch.export files, the models of engine bundles, and classes named by --arch are programs:
they can crash the runtime, loop for ever, or take all memory. In a process of its own, each of these is an error here.

Nothing in a file can prove where it comes from. So what is known to run is kept by its SHA-256, in the user's own
cache: nstopt's exports, which were compared with their nets, its engines, and files whose first run ended well. They
are not run again; all others are, once on a machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from nstopt.errors import NstoptError, one_line
from nstopt.files import cache_folder, write_atomically

# Seconds for the import of a runtime and a small run; for each further megapixel, on a slow machine; and at most.
SECONDS, SECONDS_PER_MEGAPIXEL, MOST_SECONDS = 40.0, 40.0, 600.0
MEMORY_SHARE = 0.75  # of the machine's memory, for the data of such a process
DONE = "done"
STDOUT = 1
# Bundles that got their first run in this process: the command says so at its end.
tried: list[Path] = []


def run_first(module: str, *arguments: object, what: str, kind: type[NstoptError], megapixels: float = 0.0) -> str:
    """Run `python -m module arguments`, whose work is in `on_trial`, and return the error that it reported, or "".

    Raises `kind`, whose message calls the program `what`, if the process crashes, ends early or takes too long.
    """
    seconds = min(SECONDS + SECONDS_PER_MEGAPIXEL * megapixels, MOST_SECONDS)
    try:
        ran = in_a_process(module, *map(str, arguments), seconds=seconds)
    except subprocess.TimeoutExpired as error:
        raise kind(f"{what}: its first run took over {seconds:.0f} seconds and was ended") from error
    if ran.returncode < 0:
        name = signal.Signals(-ran.returncode).name
        raise kind(f"{what}: its first run crashed ({name}), in a process of its own: the file is damaged or hostile")
    reported, _, done = ran.stdout.decode(errors="replace").rstrip("\n").rpartition("\n")
    if done != DONE:
        raise kind(f"{what}: its first run ended the process, with exit code {ran.returncode}")
    return str(reported)


def in_a_process(module: str, *arguments: str, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m module arguments` and return its exit status and stdout. Raises subprocess.TimeoutExpired."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def on_trial() -> Iterator[None]:
    """Try a program in the block: limit this process's memory, and report to the parent how the block ended. What the
    program itself prints is dropped."""
    report = os.dup(STDOUT)
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    failed = ""
    try:
        yield
    except (Exception, SystemExit, GeneratorExit) as error:  # a program can raise anything
        failed = one_line(f"{type(error).__name__}: {error}")
    os.write(report, f"{failed}\n{DONE}\n".encode())


def is_known(sha256: str) -> bool:
    """Return True if this user has run what has this SHA-256 on this machine before."""
    with contextlib.suppress(NstoptError):
        return _mark(sha256).is_file()
    return False


def remember(sha256: str) -> None:
    """Note that what has this SHA-256 runs. Without a cache that can be written, it is run anew every time."""
    with contextlib.suppress(NstoptError, OSError):
        write_atomically(_mark(sha256), b"")


def _mark(sha256: str) -> Path:
    key = hashlib.sha256(f"{sha256} {sys.version}".encode()).hexdigest()
    return cache_folder() / "known" / key
