"""Render the times of an engine's layers and their floors, the least times possible on the device."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from nstopt.cli.render.table import table
from nstopt.runs.figures import NOT_COMPARED, times
from nstopt.runs.layers import LayerRow, Layers

SHOWN_MS = 0.01
SHOWN_NEXT = 3


def layer_report(layers: Layers) -> RenderableType:
    """Return a table of the layers, those with the largest gaps, and the method; 80 columns wide at most."""
    made = table("layer", "kernel", ">ms", ">floor", ">ms/floor", ">gap")
    small = [row for row in layers.rows if row.ms < SHOWN_MS]
    for row in layers.rows:
        if row not in small:
            made.add_row(Text(row.name), row.kind, *_cells(row))
    if small:
        made.add_row(f"{len(small)} below {SHOWN_MS:g} ms", "", f"{sum(row.ms for row in small):.2f}")
    made.add_row("all", "", *_cells(_sum(layers.rows)), style="bold")
    batch = f" x {layers.batch}" if layers.batch > 1 else ""
    title = f"\n{layers.label} at {layers.size}{batch}: medians of {layers.runs} runs, with the backend's counters on"
    doubt = [Text(f"Note: {layers.doubt}", style="yellow")] if layers.doubt else []
    return Group(Text(title, style="bold"), made, _next(layers), _method(layers), *doubt)


def _sum(rows: Sequence[LayerRow]) -> LayerRow:
    return LayerRow("", "", sum(row.ms for row in rows), sum(row.floor_ms or 0.0 for row in rows))


def _cells(row: LayerRow) -> tuple[str, str, str, str]:
    floor = NOT_COMPARED if row.floor_ms is None else f"{row.floor_ms:.2f}"
    ratio = times(row.ms / row.floor_ms) if row.floor_ms else NOT_COMPARED
    return (f"{row.ms:.2f}", floor, ratio, f"{row.gap_ms:.2f}")


def _next(layers: Layers) -> Text:
    gaps = ", ".join(f"{row.name} ({row.kind}) {row.gap_ms:.2f} ms" for row in layers.next_to_attack[:SHOWN_NEXT])
    return Text(f"\nNext to attack: {gaps}")


def _method(layers: Layers) -> Text:
    peaks = layers.peaks
    others = (("BF16", peaks.bf16_macs_per_ms), ("INT8", peaks.int8_macs_per_ms))
    also = ", ".join(f"{rate / 1e6:.0f} GMAC/s {name}" if rate else f"no {name}" for name, rate in others)
    rates = ", ".join(f"{one.bytes_per_ms / 1e6:.0f} ({one.bytes_moved / 1e6:.0f} MB)" for one in peaks.bandwidths)
    return Text(
        f"Floor: MACs or bytes at the best rates that {layers.backend} has just reached here: "
        f"{peaks.fp32_macs_per_ms / 1e6:.0f} GMAC/s FP32, {also}; GB/s by bytes moved: {rates}. "
        f"{NOT_COMPARED}: not a layer of the graph; the backend inserted it.",
        style="dim",
    )
