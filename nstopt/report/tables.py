"""Write records as CSV and Markdown. The first column tells measured rows from projected ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from nstopt.runs.figures import span
from nstopt.runs.projected import Projected
from nstopt.runs.record import Record
from nstopt.runs.run_file import RunFile

HEADINGS = (
    *("kind", "net", "label", "device", "backend", "precision", "computes", "height", "width", "batch"),
    *("p50_ms", "p90_ms", "p99_ms", "low_ms", "high_ms", "fps", "pipeline_fps"),
    *("memory_mib", "psnr_db", "ssim", "warnings"),
)
MARKDOWN = ("", "net", "what", "size", "ms", "FPS", "MiB", "PSNR")


def to_csv(runs: Sequence[RunFile]) -> str:
    """Return CSV text with a row for each case. `low_ms` and `high_ms` are the range of a projection."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADINGS, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        writer.writerows(_measured(record) for record in run.records)
        writer.writerows(_projected(one) for one in run.projected)
    return text.getvalue()


def to_markdown(runs: Sequence[RunFile]) -> str:
    """Return a Markdown table for a README, with the machines above it."""
    machines = dict.fromkeys(
        f"Measured on {m.cpu}, {m.cores} cores, {m.ram_gib:g} GiB, {', '.join(m.gpus) or 'no NVIDIA GPU'}; {m.os}, "
        f"Python {m.python}, {', '.join(f'{name} {version}' for name, version in m.versions.items())}."
        for run in runs
        for m in (record.machine for record in run.records)
    )
    rows = [row for run in runs for row in _markdown_rows(run)]
    table = [f"| {' | '.join(MARKDOWN)} |", f"|{'---|' * len(MARKDOWN)}"]
    table += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n\n".join([*machines, "\n".join(table)]) + "\n"


def _markdown_rows(run: RunFile) -> Iterator[tuple[str, ...]]:
    for record in run.records:
        batch = f" x {record.batch}" if record.batch > 1 else ""
        psnr = "" if record.psnr_db is None else f"{record.psnr_db:.1f} dB"
        yield (
            "measured",
            record.net,
            _name(record),
            f"{record.size}{batch}",
            f"{record.latency_ms.p50:.1f}",
            f"{record.fps:.1f}",
            f"{record.peak_memory_mib:.0f}",
            psnr,
        )
    for one in run.projected:
        batch = f" x {one.batch}" if one.batch > 1 else ""
        yield (
            "projected",
            one.net,
            f"{one.device}, {one.backend} {one.precision}",
            f"{one.size}{batch}",
            span(one.low_ms, one.high_ms),
            span(1000 * one.batch / one.high_ms, 1000 * one.batch / one.low_ms),
            f"≥{one.memory_mib:.0f}",
            "",
        )


def _name(record: Record) -> str:
    name = record.label if record.is_peer else f"{record.backend} {record.precision}"
    return name if record.computes == record.precision else f"{name} (computes {record.computes})"


def _measured(record: Record) -> dict[str, object]:
    latency = record.latency_ms
    return {
        "kind": "measured",
        "net": record.net,
        "label": record.label,
        "device": record.device,
        "backend": record.backend,
        "precision": record.precision,
        "computes": record.computes,
        "height": record.height,
        "width": record.width,
        "batch": record.batch,
        "p50_ms": latency.p50,
        "p90_ms": latency.p90,
        "p99_ms": latency.p99,
        "fps": record.fps,
        "pipeline_fps": record.pipeline_fps,
        "memory_mib": record.peak_memory_mib,
        "psnr_db": record.psnr_db,
        "ssim": record.ssim,
        "warnings": "; ".join(record.warnings),
    }


def _projected(one: Projected) -> dict[str, object]:
    return {
        "kind": "projected",
        "net": one.net,
        "label": one.target,
        "device": one.device,
        "backend": one.backend,
        "precision": one.precision,
        "height": one.height,
        "width": one.width,
        "batch": one.batch,
        "low_ms": one.low_ms,
        "high_ms": one.high_ms,
        "memory_mib": one.memory_mib,
    }
