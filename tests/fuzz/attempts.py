"""One attempt: run a door in a child process, through the program's own main, and judge how it ended."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SECONDS = 30
LONGEST = 520  # a message of 500 letters, and "error: "


HUNG = f"hung for {SECONDS} s"


def attempt(run: Callable[[], object]) -> str:
    """Run `run` as the command of `nstopt`; return what is wrong with its ending, or "".

    It must end with 0 and say nothing on stderr, or with 1 and one line, and that line must not speak of a bug. What
    hangs is tried again: the machine may have been busy.
    """
    wrong = _attempt(run)
    return _attempt(run) if wrong == HUNG else wrong


def _attempt(run: Callable[[], object]) -> str:
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _be_the_command(run, errors.fileno())
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    return judge(status, said)


def _be_the_command(run: Callable[[], object], errors: int) -> None:
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 - a descriptor, for the process's life
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    code = 99
    try:
        import nstopt.cli
        from nstopt.__main__ import main

        nstopt.cli.app = lambda prog_name: run()  # type: ignore[assignment]
        sys.argv[1:] = []
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 98
    finally:
        sys.stderr.flush()
        os._exit(code)


def judge(status: int, said: str) -> str:
    """Return what is wrong with a wait status and stderr, or ""."""
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return HUNG if name == "SIGALRM" else f"crashed: {name}"
    code = os.WEXITSTATUS(status)
    if code == 0:
        return f"noise on success: {said[:200]}" if said else ""
    if code != 1:
        return f"exit code {code}: {said[-200:]}"
    if said.count("\n") != 1 or not said.startswith("error: "):
        return f"not one line: {said[-300:]}"
    if len(said) > LONGEST:
        return f"a message of {len(said)} letters"
    return said[:300] if "a bug in nstopt" in said else ""


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
