"""Entry point of `nstopt` and `python -m nstopt`: runs the command and sets the exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command. Exit with 0, or with 1 after an error (one line on stderr), 2 after a usage error, 130 after
    Ctrl-C."""
    pressed = False

    def press(signum: int, frame: FrameType | None) -> NoReturn:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    # Shells start background commands with Ctrl-C ignored; leave it so there.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, press)
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        from nstopt.cli import app  # here, because Ctrl-C may come during the import
        from nstopt.extras import explain_missing_packages

        with explain_missing_packages():
            app(prog_name="nstopt")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # A C extension that is interrupted during its import raises an ImportError instead of KeyboardInterrupt.
        if pressed:
            sys.exit(130)
        if debug:
            raise
        report(error)
    sys.exit(0)


def report(error: Exception) -> NoReturn:
    """Print an error in one line and exit with code 1."""
    from nstopt.cli.console import fail
    from nstopt.errors import NstoptError

    if isinstance(error, NstoptError):
        fail(str(error))
    fail(f"unexpected {type(error).__name__}: {error} (a bug in nstopt: run again with --debug and report it)")


if __name__ == "__main__":
    main()
