"""Draw series as matplotlib figures.

Measured points are filled: circles for engines, squares for peers. Projections are hollow diamonds with a bar for their
range, in colors that no measured point has, so that shape and color both tell them apart. The colors of measured points
are those of Okabe and Ito (Color Universal Design, 2002), which people with any color vision can tell apart.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from nstopt.extras import require
from nstopt.report.series import NetResults, Series, pareto
from nstopt.report.targets import REAL_TIME_FPS
from nstopt.runs.layers import Layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7d00")
PROJECTED_PALETTE = ("#7b4bb3", "#a8324a", "#7d5a3c", "#77808c")
MARKERS = {"engine": "o", "peer": "s", "projected": "D"}
# Placeholders for the page's own colors, which differ between light and dark mode.
INK, FAINT = "#101112", "#c0c1c2"
WIDTH_IN, HEIGHT_IN = 4.9, 3.1
LEGEND_ROW_IN = 0.2
SHORT_NAME = 22
SHOWN_LAYERS = 16
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "axes.labelsize": 10,
}


def latency(net: NetResults) -> Figure:
    """Draw milliseconds per picture over the number of pixels, both logarithmic, with lines for real time."""
    figure, axes = _start()
    _draw(axes, net.series(), lambda point, ms: ms / point.batch)
    for fps, side in zip(REAL_TIME_FPS, ("bottom", "top"), strict=True):
        axes.axhline(1000 / fps, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": side, "ha": "left"}
        axes.annotate(f"{fps} FPS", (0.01, 1000 / fps), fontsize=9, color=INK, **place)
    axes.set_ylabel("milliseconds per picture")
    axes.margins(x=0.16)  # room for the lines' names
    _size_axis(axes, net)
    axes.set_yscale("log")
    _plain(axes.yaxis)
    return _finish(figure, axes)


def throughput(net: NetResults) -> Figure:
    """Draw megapixels per second over the number of pixels; flat where time is proportional to pixels."""
    figure, axes = _start()
    _draw(axes, net.series(), lambda point, ms: point.pixels * point.batch / 1000 / ms)
    axes.set_ylabel("megapixels per second")
    _size_axis(axes, net)
    axes.set_yscale("log")
    _plain(axes.yaxis)
    return _finish(figure, axes)


def quality(net: NetResults) -> Figure | None:
    """Draw PSNR over FPS at the net's reference size, with the Pareto front; None if no record has a PSNR."""
    size = net.reference_size()
    judged = [r for r in net.records if r.psnr_db is not None and r.size == size and r.batch == 1]
    if not judged:
        return None
    figure, axes = _start()
    front = pareto(judged)
    axes.plot(
        [r.fps for r in front],
        [r.psnr_db or 0.0 for r in front],
        color=FAINT,
        linewidth=2,
        zorder=1,
        label="Pareto front",
    )
    for record, color in zip(judged, cycle(PALETTE), strict=False):
        name = f"{record.backend} {record.precision}"
        axes.plot([record.fps], [record.psnr_db or 0.0], "o", color=color, markersize=9, label=name)
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.set_xlabel(f"FPS at {size}")
    axes.set_ylabel("PSNR against FP32, dB")
    axes.margins(0.15)
    return _finish(figure, axes)


def layer_bars(layers: Layers) -> Figure:
    """Draw the slowest kernels of an engine as bars, each with its floor as a mark."""
    rows = sorted(layers.rows, key=lambda row: row.ms)[-SHOWN_LAYERS:]
    figure, axes = _start(height=1.2 + 0.27 * len(rows))
    places = range(len(rows))
    axes.barh(places, [row.ms for row in rows], color=PALETTE[0], height=0.7, label="measured")
    floors = [(place, row.floor_ms) for place, row in zip(places, rows, strict=True) if row.floor_ms is not None]
    axes.plot(
        [floor for _, floor in floors],
        [place for place, _ in floors],
        "|",
        color=PALETTE[1],
        markersize=12,
        markeredgewidth=2.5,
        label="floor",
        linestyle="none",
    )
    axes.set_yticks(list(places), [_short(row.name) for row in rows], fontsize=9)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("milliseconds")
    return _finish(figure, axes)


def svg(figure: Figure, name: str, label: str) -> str:
    """Return the figure as an <svg> element in the page's colors.

    `name` keeps its ids apart from those of other charts. `label` is the text for screen readers.
    """
    from html import escape

    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-zA-Z0-9]+_\d+"', "", text)
    text = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-label="{escape(label)}">', text, count=1
    )
    return text.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file on white, for documents."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def check_installed() -> None:
    """Raise DeviceError, with the command to install them, if the report's libraries are missing."""
    for package in ("jinja2", "matplotlib"):
        require(package, "a report")


def _start(height: float = HEIGHT_IN) -> tuple[Figure, Axes]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True)
        axes.set_axisbelow(True)
    return figure, axes


def _finish(figure: Figure, axes: Axes) -> Figure:
    from matplotlib import rc_context

    with rc_context(STYLE):
        handles, names = axes.get_legend_handles_labels()
        columns = 2 if max(map(len, names), default=0) < SHORT_NAME else 1
        figure.set_figheight(figure.get_figheight() + LEGEND_ROW_IN * -(-len(names) // columns))
        figure.legend(handles, names, loc="outside lower left", ncols=columns)
    return figure


def _draw(axes: Axes, series: Sequence[Series], value: Any) -> None:
    measured, projected = cycle(PALETTE), cycle(PROJECTED_PALETTE)
    for one in series:
        x = [point.pixels for point in one.points]
        y = [value(point, point.middle_ms) for point in one.points]
        is_projected = one.kind == "projected"
        color = next(projected if is_projected else measured)
        axes.plot(
            x,
            y,
            marker=MARKERS[one.kind],
            color=color,
            linestyle="none" if is_projected else "-" if one.kind == "engine" else "--",
            linewidth=1.5,
            markersize=6,
            markerfacecolor="none" if is_projected else color,
            label=one.name,
        )
        if is_projected:
            ends = [sorted((value(point, point.low_ms), value(point, point.high_ms))) for point in one.points]
            below = [middle - low for middle, (low, _) in zip(y, ends, strict=True)]
            above = [high - middle for middle, (_, high) in zip(y, ends, strict=True)]
            axes.errorbar(x, y, yerr=[below, above], color=color, linestyle="none", linewidth=1.5, capsize=5)


def _size_axis(axes: Axes, net: NetResults) -> None:
    """Show pixels on a logarithmic x axis, with the sizes as tick labels."""
    from matplotlib.ticker import NullLocator

    sizes = {point.size for one in net.series() for point in one.points}
    ordered = sorted(sizes, key=lambda size: size.height * size.width)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    names = [str(size.height) if size.height == size.width else f"{size.height}\n×{size.width}" for size in ordered]
    axes.set_xticks([size.height * size.width for size in ordered], names)
    axes.set_xlabel("size")
    if len(ordered) == 1:
        pixels = ordered[0].height * ordered[0].width
        axes.set_xlim(pixels / 2, pixels * 2)


def _plain(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, 20 and not 2 × 10¹."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"
