"""Render runs as one self-contained HTML page: no network, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nstopt.errors import NstoptError
from nstopt.pictures.files import read_picture
from nstopt.pictures.size import Size
from nstopt.report import charts
from nstopt.report.before_after import Missing, Pair, before_after
from nstopt.report.ratios import Ratio, speedup
from nstopt.report.series import NetResults, nets
from nstopt.report.targets import REAL_TIME_FPS, caption
from nstopt.runs.figures import span, times
from nstopt.runs.layers import Layers
from nstopt.runs.record import Machine, Record
from nstopt.runs.run_file import RunFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = "page.html.j2"


class Chart(NamedTuple):
    """A chart on the page: title, note below it, and SVG text."""

    title: str
    note: str
    svg: str


class Headline(NamedTuple):
    """The fastest engine of a net at its reference size, and its speed ratio to the peers of the same run."""

    net: str
    size: Size
    record: Record
    against: tuple[tuple[str, Ratio], ...]


class Section(NamedTuple):
    """The part of the page about one net.

    `layers` are charts at the reference size, `other_layers` those at other sizes. If `pair` is None, `no_pair` says
    why there are no pictures.
    """

    net: NetResults
    charts: tuple[Chart, ...]
    layers: tuple[Chart, ...]
    other_layers: tuple[Chart, ...]
    pair: Pair | None
    no_pair: str


def figures(runs: Sequence[RunFile]) -> dict[str, Figure]:
    """Draw every chart of the report, by a name that suits a file. Raises NstoptError if a library is missing."""
    charts.check_installed()
    found: dict[str, Any] = {}
    for net in nets(runs):
        found[f"{net.name}-latency"] = charts.latency(net)
        found[f"{net.name}-throughput"] = charts.throughput(net)
        found[f"{net.name}-quality"] = charts.quality(net)
        for layers in net.layers:
            found[f"{net.name}-layers-{_name(layers)}"] = charts.layer_bars(layers)
    return {name: figure for name, figure in found.items() if figure is not None}


def render(runs: Sequence[RunFile], image: Path | None = None) -> str:
    """Render the page, with pictures that the engines make of `image` or of a photograph of scikit-image.

    Raises NstoptError if nothing was measured or a library is missing, MediaError if `image` cannot be read.
    """
    charts.check_installed()
    if image is not None:
        read_picture(image)  # a page without pictures of engines would not tell that it is none
    if not any(run.records for run in runs):
        raise NstoptError("a report needs at least one measured case; the run has none")
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("nstopt.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"times": times, "span": span}
    found = nets(runs)
    page: str = environment.get_template(TEMPLATE).render(
        sections=[_section(net, image) for net in found],
        headlines=[headline for net in found if (headline := _headline(net, runs))],
        records=[record for net in found for record in net.records],
        projected=[one for net in found for one in net.projected],
        machines=_machines(runs),
        notes=_notes(runs),
        left_out=[what for run in runs for what in (*run.left_out, run.unfinished) if what],
        dates=sorted({run.created[:16].replace("T", " ") + " UTC" for run in runs}),
        real_time=REAL_TIME_FPS,
        published=caption(),
    )
    return page.lstrip()


def _section(net: NetResults, image: Path | None) -> Section:
    pair = before_after(net, image)
    size = net.reference_size()
    return Section(
        net,
        tuple(_charts(net)),
        tuple(_layer_chart(net, layers) for layers in net.layers if layers.size == size),
        tuple(_layer_chart(net, layers) for layers in net.layers if layers.size != size),
        pair if isinstance(pair, Pair) else None,
        pair.reason if isinstance(pair, Missing) else "",
    )


def _layer_chart(net: NetResults, layers: Layers) -> Chart:
    name = _name(layers)
    note = f"The slowest kernels at {layers.size}, and the floor of each on this device."
    note += f" In doubt: {layers.doubt}." if layers.doubt else ""
    return Chart(f"Layers of {name}", note, _svg(charts.layer_bars(layers), f"{net.name}-{name}", f"layers of {name}"))


def _name(layers: Layers) -> str:
    """Name an engine at a size; labels of engines for several sizes do not tell the size."""
    name = layers.label.removesuffix(".nst")
    return name if str(layers.size) in name else f"{name}-{layers.size}"


def _charts(net: NetResults) -> list[Chart]:
    made = [
        ("Latency", "Lower is better. Dotted: real time.", charts.latency(net)),
        ("Throughput", "Higher is better. Flat: time is proportional to the number of pixels.", charts.throughput(net)),
    ]
    quality = charts.quality(net)
    if quality is not None:
        made.append(("Quality and speed", "Up and to the right is better. FP32 is its own reference.", quality))
    return [
        Chart(title, note, _svg(figure, f"{net.name}-{title}", f"{title} of {net.name}"))
        for title, note, figure in made
    ]


def _svg(figure: Figure, name: str, label: str) -> Any:
    from markupsafe import Markup

    return Markup(charts.svg(figure, name, label))  # matplotlib has escaped every name in it


def _headline(net: NetResults, runs: Sequence[RunFile]) -> Headline | None:
    """Find the fastest engine, and compare it with peers of its own run.

    Peers of another run took no turns with it, and may have run on another machine.
    """
    size = net.reference_size()
    here = [record for record in net.records if record.size == size and record.batch == 1]
    engines = [record for record in here if not record.is_peer]
    if not engines:
        return None
    best = min(engines, key=lambda record: record.latency_ms.p50)
    together = next(run.records for run in runs if best in run.records)
    peers = [record for record in here if record.is_peer and record in together]
    return Headline(net.name, size, best, tuple((peer.label, speedup(best, peer)) for peer in peers))


def _machines(runs: Sequence[RunFile]) -> list[Machine]:
    found: list[Machine] = []
    for run in runs:
        found += [record.machine for record in run.records if record.machine not in found][:1]
    return found


def _notes(runs: Sequence[RunFile]) -> dict[str, list[str]]:
    """Collect every warning once, with the cases that it is about."""
    notes: dict[str, list[str]] = {}
    for record in (record for run in runs for record in run.records):
        for warning in record.warnings:
            notes.setdefault(warning, []).append(f"{record.label.removesuffix('.nst')} at {record.size}")
    return notes
