"""Entry point of `nstopt` and `python -m nstopt`: runs the command and sets the exit code."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command. Exit with 0, or with 130 after Ctrl-C. After one line on stderr, exit with 1 for an error, 2 for
    wrong arguments."""
    pressed = False

    def press(signum: int, frame: FrameType | None) -> NoReturn:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def unraisable(dropped: sys.UnraisableHookArgs) -> None:
        """Say nothing of a Ctrl-C that came inside a destructor or a callback: the exit code tells it."""
        if not pressed:
            sys.__unraisablehook__(dropped)

    # Shells start background commands with Ctrl-C ignored; leave it so there.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, press)
        sys.unraisablehook = unraisable
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    code = 0
    try:
        run(debug)
    except KeyboardInterrupt:
        pressed = True
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        # A C extension that is interrupted during its import raises an ImportError instead of KeyboardInterrupt.
        if not pressed:
            if debug:
                raise
            code = 1
            report(error)
    if pressed and ours:
        # CPython ends by the signal if it once came while a string was executed, even if it was handled: skip its end.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    if ours:
        # The command has ended: from here on Ctrl-C changes nothing. Python itself would end by the signal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    sys.exit(INTERRUPTED if pressed else code)


def run(debug: bool) -> None:
    """Run the command that sys.argv states. With `debug`, what libraries say on stderr is shown. Raises what the
    command raises, and SystemExit."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without UTF-8 shows escapes
        sys.stdout.reconfigure(errors="backslashreplace")
    from nstopt.cli import app  # here, because Ctrl-C may come during the import
    from nstopt.cli.quiet import quiet_libraries
    from nstopt.extras import explain_missing_packages

    try:
        with contextlib.nullcontext() if debug else quiet_libraries(), explain_missing_packages():
            app(prog_name="nstopt")
    finally:
        say_what_was_done_besides()


def say_what_was_done_besides() -> None:
    """Say which temporary files of killed processes were removed, and which bundles were run first elsewhere."""
    from nstopt.cli.console import say
    from nstopt.files import removed
    from nstopt.trial import tried

    while removed:
        say(f"removed {removed.pop()}, which a killed run had left")
    while tried:
        say(f"{tried.pop()} was not built here: it was run once in a process of its own, which later starts leave out")


def report(error: Exception) -> None:
    """Print an error in one line."""
    from nstopt.cli.console import say_error
    from nstopt.errors import NstoptError, first_line

    if isinstance(error, NstoptError):
        say_error(str(error))
    elif isinstance(error, OSError):  # a disk that is full, read-only or unplugged can end any step
        where = f"{error.filename}: " if error.filename else ""
        say_error(f"{where}cannot be read or written: {error.strerror or error}")
    elif isinstance(error, MemoryError):
        say_error(f"out of memory ({first_line(error)}): try a smaller size or batch")
    else:
        say_error(f"unexpected {first_line(error)} (a bug in nstopt: run again with --debug and report it)")


if __name__ == "__main__":
    main()
