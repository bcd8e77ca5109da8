"""Measure start-up: time and memory of the command until the first picture is done, in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from nstopt.bench.machine import this_machine
from nstopt.bundle import open_bundle
from nstopt.errors import NstoptError
from nstopt.pictures.files import write_picture
from nstopt.pictures.noise import noise
from nstopt.runs.record import Machine

STOPWATCH = Path(__file__).with_name("stopwatch.py")
REPEATS = 3
HELP_LIMIT_S = 0.3
PICTURE_LIMIT_S = 2.0
MEMORY_LIMIT_MIB = 350.0


class StartupFigure(msgspec.Struct, frozen=True):
    """One figure and its limit. `value` is the median of `samples`, in `unit` (seconds or MiB)."""

    what: str
    unit: str
    value: float
    limit: float
    samples: tuple[float, ...]

    @property
    def within(self) -> bool:
        return self.value <= self.limit


class Startup(msgspec.Struct, frozen=True):
    """Seconds to the help text, seconds to the first picture, and peak MiB of the latter."""

    bundle: str
    machine: Machine
    measures: tuple[StartupFigure, ...]


class TimedCommand(NamedTuple):
    """One run of a command: wall-clock seconds and peak resident MiB."""

    seconds: float
    peak_mib: float


def measure_startup(bundle: Path, picture: Path | None = None, repeats: int = REPEATS) -> Startup:
    """Run `nstopt --help` and `nstopt stylize BUNDLE PICTURE` in fresh processes, `repeats` times each.

    Without `picture`, it is noise of the bundle's first size, or of 512x512. Raises BundleError if the bundle is
    damaged, NstoptError if a command fails.
    """
    size = open_bundle(bundle).manifest.shape.sizes.first
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        if picture is None:
            picture = Path(folder) / "noise.png"
            write_picture(picture, noise(size, batch=1)[0])
        output = Path(folder) / "stylized.png"
        helps = [run_timed(_nstopt("--help")) for _ in range(repeats)]
        firsts = [run_timed(_nstopt("stylize", str(bundle), str(picture), "-o", str(output))) for _ in range(repeats)]
    return Startup(
        bundle=bundle.resolve().name,
        machine=this_machine(),
        measures=(
            _measure("nstopt --help", "s", HELP_LIMIT_S, [run.seconds for run in helps]),
            _measure("nstopt stylize, first picture", "s", PICTURE_LIMIT_S, [run.seconds for run in firsts]),
            _measure("nstopt stylize, peak memory", "MiB", MEMORY_LIMIT_MIB, [run.peak_mib for run in firsts]),
        ),
    )


def run_timed(command: Sequence[str]) -> TimedCommand:
    """Run a command, whose program is an absolute path, to its end. Raises NstoptError if it fails."""
    stopwatch = [sys.executable, "-I", "-S", str(STOPWATCH), *command]
    result = subprocess.run(stopwatch, capture_output=True, text=True, errors="replace", check=False)
    fields = result.stdout.split()
    code = int(fields[2]) if result.returncode == 0 else result.returncode
    if code != 0:
        last = (result.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise NstoptError(f"measuring start-up: `{' '.join(command)}` ended with exit code {code}: {last}")
    return TimedCommand(float(fields[0]), int(fields[1]) / 1024)


def _nstopt(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nstopt", *arguments]


def _measure(what: str, unit: str, limit: float, samples: Sequence[float]) -> StartupFigure:
    return StartupFigure(what, unit, statistics.median(samples), limit, tuple(samples))
