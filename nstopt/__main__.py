"""The process of `nstopt`, also `python -m nstopt`: runs the command and turns how it ended into an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command. Exit code 0, 1 after an error (one line on stderr), 2 after a usage error, 130 after Ctrl-C."""
    pressed = False

    def press(signum: int, frame: FrameType | None) -> NoReturn:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    # Not where a shell had Ctrl-C ignored, as it does for what it starts in its background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, press)
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        from nstopt.cli import app  # inside, since Ctrl-C may come while it is imported
        from nstopt.extras import explain_missing_packages

        with explain_missing_packages():
            app(prog_name="nstopt")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # A C extension that is interrupted while it starts raises an ImportError of its own in place of Ctrl-C's.
        if pressed:
            sys.exit(130)
        if debug:
            raise
        report(error)
    sys.exit(0)


def report(error: Exception) -> NoReturn:
    """Print an error's one line and exit with code 1."""
    from nstopt.cli.console import fail
    from nstopt.errors import NstoptError

    if isinstance(error, NstoptError):
        fail(str(error))
    fail(f"unexpected {type(error).__name__}: {error} (a bug in nstopt: run again with --debug and report it)")


if __name__ == "__main__":
    main()
