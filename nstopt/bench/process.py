"""A timed process, as its parent sees it.

Each case has its own process. So its peak memory is its own, a crash in a vendor library becomes an error message, and
cases can take turns.
"""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from nstopt.bench.subject import Subject
from nstopt.bench.worker import COPIES, WARNINGS
from nstopt.errors import DeviceError, NstoptError

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture

EXIT_TIMEOUT_S = 10


class TimedProcess:
    """A process that holds one opened subject. As a context manager it ends the process on exit.

    The process has its own session, so that Ctrl-C reaches the parent only, which then ends it. If the parent is
    killed, the closed pipe ends it.
    """

    def __init__(self, subject: Subject, pictures: Picture, name: str) -> None:
        """Start the process and open the subject on `pictures`, uint8 RGB [N, H, W, 3]. `name` is used in messages.

        Raises the NstoptError that opening raised, or DeviceError if the process died.
        """
        self._name = name
        self._pipe, theirs = multiprocessing.Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nstopt.bench.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
            )
        try:
            self._ask((subject, pictures))
        except BaseException:
            self._end()
            raise

    def run(self, runs: int) -> list[float]:
        """Run the subject `runs` times; return the milliseconds of each run, in order. Raises NstoptError."""
        samples_ms: list[float] = self._ask(runs)
        return samples_ms

    def copies_ms(self) -> tuple[float, float] | None:
        """Return (upload, download) milliseconds of the pictures, or None if nothing is copied. Raises NstoptError."""
        copies: tuple[float, float] | None = self._ask(COPIES)
        return copies

    def warnings(self) -> tuple[str, ...]:
        """Return what costs the subject speed. Raises NstoptError."""
        warnings: tuple[str, ...] = self._ask(WARNINGS)
        return warnings

    @property
    def pid(self) -> int:
        return self._process.pid

    def peak_memory_mib(self) -> float:
        """Return the largest resident set so far (VmHWM): interpreter, libraries, net and buffers.

        Raises DeviceError if the process has died.
        """
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        kib = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
        if not kib:
            self._raise_death()
        return kib[0] / 1024

    def __enter__(self) -> TimedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _ask(self, message: object) -> Any:
        try:
            self._pipe.send(message)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._raise_death()
        if isinstance(answer, NstoptError):
            raise answer
        return answer

    def _raise_death(self) -> NoReturn:
        code = self._process.wait(EXIT_TIMEOUT_S)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGKILL:
            how += " (out of memory? try a smaller size)"
        self._output.seek(0)
        said = self._output.read().decode(errors="replace").strip().splitlines()
        last = f"; its last output: {said[-1]}" if said else ""
        raise DeviceError(f"benching {self._name}: its process {how}{last}")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._output.close()
