"""Render a bench run: the machine, tables of latency, quality, whole pictures and projections, and notes.

Everything fits 80 columns, the width that rich assumes when it writes to a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nstopt.bench.peers import PEERS
from nstopt.cli.render.table import table
from nstopt.report.ratios import Ratio, speedup
from nstopt.report.targets import caption, columns
from nstopt.runs.figures import NOT_COMPARED, span, times
from nstopt.runs.projected import HERE, Projected
from nstopt.runs.record import Machine, Record
from nstopt.runs.run_file import RunFile

Row = Sequence[str | Text]
STYLES = {True: "green", False: "yellow", None: "dim"}


def run_report(run: RunFile) -> RenderableType:
    """Return everything to show of a run that has at least one record.

    If the run has peers, a column compares the median of each row with that of torch, or else of the first peer, for
    the same net, size and batch. A line for each engine compares it with each peer, with confidence intervals.
    """
    place = {net: number for number, net in enumerate(dict.fromkeys(record.net_sha256 for record in run.records))}
    ordered = sorted(run.records, key=lambda record: (place[record.net_sha256], *_group_key(record)[1:]))
    parts: list[RenderableType] = [
        machine_text(ordered[0].machine),
        _latency(ordered),
        *_speedups(ordered),
        _quality(ordered),
        *_whole_pictures(ordered),
        *_projections(run.projected, run.records),
        *_notes(ordered),
        *(Text(f"Left out: {what}", style="yellow") for what in run.left_out),
        *([Text(f"Note: {run.unfinished}", style="yellow")] if run.unfinished else []),
    ]
    return Group(*parts)


def machine_text(machine: Machine) -> Text:
    """Return the hardware and the versions in one sentence."""
    gpus = ", ".join(machine.gpus) or "no NVIDIA GPU"
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    text = (
        f"{machine.cpu}, {machine.cores} cores, {machine.ram_gib:g} GiB; {gpus}; {machine.os}; Python {machine.python}"
    )
    return Text(f"Measured on {text}; {versions}")


def _latency(records: Sequence[Record]) -> Table:
    peer = _reference(records)
    titles = ["p50", "p90", "p99", "FPS", "MiB", "on"] + ([f"vs {peer.label}"] if peer else [])
    runs, name = len(records[0].latency_ms.samples), records[0].input
    title = f"Milliseconds a batch, {runs} runs on {name}; MiB: peak of the process"
    return _grouped(title, titles, records, lambda record: _latency_row(record, records))


def _latency_row(record: Record, records: Sequence[Record]) -> Row:
    latency = record.latency_ms
    on = "CPU" if record.device == record.machine.cpu else "GPU"
    row = [*(f"{value:.1f}" for value in (latency.p50, latency.p90, latency.p99)), f"{record.fps:.1f}"]
    row += [f"{record.peak_memory_mib:.0f}", on]
    if any(other.is_peer for other in records):
        peer = _reference(other for other in records if _group_key(other) == _group_key(record))
        row.append(times(peer.latency_ms.p50 / latency.p50) if peer else NOT_COMPARED)
    return row


def _reference(records: Iterable[Record]) -> Record | None:
    """Return the peer that all rows are compared with: torch eager, in which nets are published, or else the first."""
    peers = [record for record in records if record.is_peer]
    return min(peers, key=lambda record: record.label != PEERS["torch"].label, default=None)


def _speedups(records: Sequence[Record]) -> list[RenderableType]:
    """Return a line for each engine: its speedup over each peer of the same net, size and batch, as a ratio of medians
    with its 95% confidence interval."""
    lines: list[RenderableType] = []
    for _, group in groupby(records, key=_group_key):
        section = list(group)
        peers = [record for record in section if record.is_peer]
        for engine in (record for record in section if peers and not record.is_peer):
            ratios = (f"{peer.label} {_interval(speedup(engine, peer))}" for peer in peers)
            name = f"Speed of {engine.label.removesuffix('.nst')} at {engine.size} against: "
            lines.append(Text(name, style="bold").append(", ".join(ratios), style="not bold"))
    return [Text(), *lines] if lines else []


def _interval(ratio: Ratio) -> str:
    return f"{ratio.value:.2f}× ({ratio.low:.2f}–{ratio.high:.2f})"


def _quality(records: Sequence[Record]) -> Table:
    titles = ["backend", "precision", "dB", "SSIM", *(column.title for column in columns(records[0]))]
    title = "Quality against FP32 (PSNR in dB, SSIM); speed against the targets"
    return _grouped(title, titles, records, _quality_row, caption())


def _quality_row(record: Record) -> Row:
    precision = record.precision if record.computes == record.precision else f"{record.precision}→{record.computes}"
    psnr = NOT_COMPARED if record.psnr_db is None else f"{record.psnr_db:.1f}"
    ssim = NOT_COMPARED if record.ssim is None else f"{record.ssim:.3f}"
    targets = [Text(column.cell, style=STYLES[column.reached]) for column in columns(record)]
    return [record.backend, precision, psnr, ssim, *targets]


def _whole_pictures(records: Sequence[Record]) -> list[RenderableType]:
    """Return the time of each step of a picture from file to file."""
    timed = [record for record in records if record.stages is not None]
    if not timed:
        return []
    copies = any(record.stages and record.stages.upload_ms is not None for record in timed)
    titles = ["decode", "upload", "net", "download", "encode", "FPS"]
    if not copies:
        titles = [title for title in titles if title not in ("upload", "download")]
    title = "Milliseconds a picture, JPEG file in, JPEG file out; the net's time includes the copies"
    photograph = f"decode and encode: of {timed[0].stages.photograph}" if timed[0].stages else ""
    return [_grouped(title, titles, timed, lambda record: _whole_picture_row(record, copies), photograph)]


def _whole_picture_row(record: Record, copies: bool) -> Row:
    """The net's time includes the copies to and from the device, which are also shown where there are any."""
    stages = record.stages
    assert stages is not None
    shown = (stages.upload_ms, stages.download_ms) if copies else ()
    cells = [stages.decode_ms, *shown[:1], record.latency_ms.p50 / record.batch, *shown[1:], stages.encode_ms]
    return [*(NOT_COMPARED if cell is None else f"{cell:.1f}" for cell in cells), f"{record.pipeline_fps:.1f}"]


def _projections(rows: Sequence[Projected], records: Sequence[Record]) -> list[RenderableType]:
    """Return the projections. Where the same case was measured, `off` is the error of the middle of the range."""
    if not rows:
        return []
    headings = ("", ">precision", ">size", ">ms", ">FPS", ">MiB", ">measured", ">off")
    made = table(
        *headings,
        title="\nProjected, not measured: milliseconds a batch, FPS and MiB at least",
        caption="off: the middle of the range against what was measured; method and sources: docs/projection.md",
        fold=True,
    )
    for row in rows:
        fps = span(1000 * row.batch / row.high_ms, 1000 * row.batch / row.low_ms)
        size = f"{row.size}" + (f" x {row.batch}" if row.batch > 1 else "")
        device = f"{row.backend} here" if row.target == HERE else row.device.removeprefix("GeForce ")
        cells = (row.precision, size, span(row.low_ms, row.high_ms), fps, f"{row.memory_mib:.0f}")
        made.add_row(f"{row.net}, {device}", *cells, *_measured(row, records))
    return [made]


def _measured(row: Projected, records: Sequence[Record]) -> tuple[str, str]:
    if row.target != HERE:
        return NOT_COMPARED, NOT_COMPARED
    (ms,) = (
        record.latency_ms.p50
        for record in records
        if (record.net, record.backend, record.precision, record.size, record.batch, record.is_peer)
        == (row.net, row.backend, row.precision, row.size, row.batch, False)
    )
    return f"{ms:.1f}", f"{row.middle_ms / ms - 1:+.0%}"


def _grouped(
    title: str, titles: Iterable[str], records: Sequence[Record], row: Callable[[Record], Row], caption: str = ""
) -> Table:
    """Return a table with a section for each size and batch, whose heading is in the first column."""
    made = table("", *(f">{one}" for one in titles), title=f"\n{title}", caption=caption, fold=True)
    several_nets = len({record.net_sha256 for record in records}) > 1
    for _, group in groupby(records, key=_group_key):
        section = list(group)
        batch = f" x {section[0].batch}" if section[0].batch > 1 else ""
        net = f"{section[0].net} " if several_nets else ""
        made.add_row(Text(f"{net}{section[0].size}{batch}", style="bold"))
        for record in section:
            made.add_row(f" {record.label.removesuffix('.nst')}", *row(record))
    return made


def _notes(records: Sequence[Record]) -> list[Text]:
    """Return every warning once, with the rows that it applies to unless these are all."""
    about: dict[str, list[str]] = {}
    for record in records:
        for warning in (*_precision_notes(record), *record.warnings):
            about.setdefault(warning, []).append(f"{record.label} at {record.size}")
    return [
        Text(f"Note: {warning}" + ("" if len(rows) == len(records) else f" ({', '.join(rows)})"), style="yellow")
        for warning, rows in about.items()
    ]


def _precision_notes(record: Record) -> tuple[str, ...]:
    if record.computes == record.precision:
        return ()
    return (f"the graph holds {record.precision}, which this device computes in {record.computes}",)


def _group_key(record: Record) -> tuple[str, int, int, int]:
    return (record.net_sha256, record.height * record.width, record.height, record.batch)
