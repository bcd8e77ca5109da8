"""One attempt: run a door in a child process, through the program's own main, and judge how it ended."""

from __future__ import annotations

import importlib
import math
import os
import signal
import subprocess
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


def forked(module: str, *arguments: str, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Do what `nstopt.trial.in_a_process` does in a child of this process, which has imported the libraries already."""
    run = importlib.import_module(module).main
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 1)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(math.ceil(seconds))
            try:
                run(*arguments)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(module, seconds)
        return subprocess.CompletedProcess(arguments, code, said.read())


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
