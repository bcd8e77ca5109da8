"""The first run of a program from outside, in a process of its own.

ONNX graphs, TorchScript and torch.export files, and classes named by --arch are programs: they can crash the runtime,
loop for ever, or take all memory. In a process of its own, each of these is an error here.

Nothing in a file can prove where it comes from. So what is known to run is kept by the SHA-256 of the file, in the
user's own cache: nstopt's exports, which were compared with their nets, and files whose first run ended well. They are
not run again; all others are, once on a machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from nstopt.errors import NstoptError, one_line
from nstopt.files import cache_folder, sha256_file, write_atomically

# Seconds for the import of a runtime and a small run; and for each further megapixel, on a slow machine.
SECONDS, SECONDS_PER_MEGAPIXEL = 40.0, 40.0
MEMORY_SHARE = 0.75  # of the machine's memory, for the data of such a process
DONE = "done"


def run_first(module: str, *arguments: object, what: str, kind: type[NstoptError], megapixels: float = 0.0) -> str:
    """Run `python -m module arguments`, which ends by `end_trial`, and return the error that it reported, or "".

    Raises `kind`, whose message calls the program `what`, if the process crashes, ends early or takes too long.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    seconds = SECONDS + SECONDS_PER_MEGAPIXEL * megapixels
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        ran = subprocess.run(command, timeout=seconds, check=False, **streams)  # type: ignore[call-overload]
    except subprocess.TimeoutExpired as error:
        raise kind(f"{what}: its first run took over {seconds:.0f} seconds and was ended") from error
    if ran.returncode < 0:
        name = signal.Signals(-ran.returncode).name
        raise kind(f"{what}: its first run crashed ({name}), in a process of its own: the file is damaged or hostile")
    reported, _, done = ran.stdout.decode(errors="replace").rstrip("\n").rpartition("\n")
    if done != DONE:
        raise kind(f"{what}: its first run ended the process, with exit code {ran.returncode}")
    return str(reported)


def begin_trial() -> None:
    """Limit the memory of this process, which is to try a program."""
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def end_trial(error: BaseException | None = None) -> None:
    """Report to the parent how the program ended."""
    reported = one_line(f"{type(error).__name__}: {error}") if error else ""
    print(f"{reported}\n{DONE}")


def is_known(path: Path) -> bool:
    """Return True if this user has run the file on this machine before. Raises OSError if it cannot be read."""
    return _mark(sha256_file(path)).is_file()


def remember(path: Path) -> None:
    """Note that a file runs. Without a cache that can be written, it is run anew every time."""
    with contextlib.suppress(NstoptError, OSError):
        write_atomically(_mark(sha256_file(path)), b"")


def _mark(sha256: str) -> Path:
    key = hashlib.sha256(f"{sha256} {sys.version}".encode()).hexdigest()
    return cache_folder() / "known" / key
