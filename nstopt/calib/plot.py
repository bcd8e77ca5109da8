"""The recipes that a search tried, as a picture: speed against closeness to FP32. Needs matplotlib (nstopt[report])."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nstopt.bundle import CandidateInfo
from nstopt.errors import CalibrationError
from nstopt.files import atomic_path

FORMATS = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Raises CalibrationError if `plot` could not write this file."""
    if path.suffix.lower() not in FORMATS:
        raise CalibrationError(f"{path}: a plot is one of {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise CalibrationError("--plot needs matplotlib: pip install 'nstopt[report]'") from error


def plot(search: Sequence[CandidateInfo], min_psnr_db: float, path: Path) -> None:
    """Draw every candidate, the front connected, and the PSNR asked for. Raises CalibrationError; OSError if the file
    cannot be written."""
    check(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    front = [one for one in search if one.on_front]
    others = [one for one in search if not one.on_front]
    axes.scatter([c.latency_ms for c in others], [c.psnr_db_mean for c in others], s=18, color="0.7", label="tried")
    times = [one.latency_ms for one in front]
    axes.plot(times, [one.psnr_db_mean for one in front], "o-", color="C0", label="the front")
    axes.plot(times, [one.psnr_db_worst for one in front], "v:", color="C3", label="its worst pictures")
    axes.axhline(min_psnr_db, color="0.4", linewidth=1, linestyle="--", label=f"asked for: {min_psnr_db:g} dB")
    axes.set(xlabel="ms a picture", ylabel="PSNR against FP32, dB", title="INT8 recipes tried")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
