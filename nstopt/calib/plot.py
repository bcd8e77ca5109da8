"""Plot of the candidates of an INT8 search: latency against PSNR. Needs matplotlib (nstopt[report])."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nstopt.errors import CalibrationError
from nstopt.extras import require
from nstopt.files import atomic_path
from nstopt.manifest import CandidateInfo

FORMATS = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Raises CalibrationError if `plot` cannot write a file of this suffix, DeviceError if matplotlib is missing."""
    if path.suffix.lower() not in FORMATS:
        raise CalibrationError(f"{path}: unknown plot format; write {', '.join(FORMATS)}")
    require("matplotlib", "--plot")


def plot(search: Sequence[CandidateInfo], min_psnr_db: float, path: Path) -> None:
    """Draw all candidates, their Pareto front as a line, and the target PSNR in dB, to a file of FORMATS.

    Raises CalibrationError as `check` does, and OSError if the file cannot be written.
    """
    check(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    front = [one for one in search if one.on_front]
    others = [one for one in search if not one.on_front]
    axes.scatter([c.latency_ms for c in others], [c.psnr_db_mean for c in others], s=18, color="0.7", label="candidate")
    times = [one.latency_ms for one in front]
    axes.plot(times, [one.psnr_db_mean for one in front], "o-", color="C0", label="Pareto front, mean")
    axes.plot(times, [one.psnr_db_worst for one in front], "v:", color="C3", label="Pareto front, worst picture")
    axes.axhline(min_psnr_db, color="0.4", linewidth=1, linestyle="--", label=f"target: {min_psnr_db:g} dB")
    axes.set(xlabel="latency (ms)", ylabel="PSNR against FP32 (dB)", title="Candidates of the INT8 search")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
