"""Render what a manifest says of a bundle: all of it, or the results of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table

from nstopt.bundle import Bundle
from nstopt.cli.render.table import table
from nstopt.manifest import CandidateInfo, Manifest, QualityInfo, TunedInfo

Row = tuple[str, str]


def bundle_rows(bundle: Bundle) -> list[Row]:
    """Return (name, value) pairs in reading order. The bundle's hashes were checked when it was opened."""
    manifest = bundle.manifest
    net, shape, precision = manifest.net, manifest.shape, manifest.precision
    counts = Counter(precision.layers.values())
    versions = ", ".join(f"{name} {version}" for name, version in manifest.backend.versions.items())
    return [
        ("bundle", f"{bundle.path} (format {manifest.format_version}, every hash matches)"),
        ("net", f"{net.name}: {net.family} {'/'.join(map(str, net.widths))}, {net.blocks} blocks"),
        ("source", f"sha256 {net.source_sha256}"),
        ("pictures", f"uint8 RGB, batch x height x width {shape}"),
        ("precision", f"{precision.asked}, computed in {precision.computes}"),
        *(("computed otherwise", one) for one in precision.differences),
        ("convolutions", ", ".join(f"{count} in {kind}" for kind, count in counts.items())),
        *_calibration_rows(manifest),
        *_quality_rows(manifest),
        *_drift_rows(manifest),
        ("backend", f"{manifest.backend.name} ({versions}) for {manifest.backend.device}"),
        ("built", manifest.created),
        *(("file", f"{name}  sha256 {digest[:16]}…") for name, digest in manifest.files.items()),
    ]


def _calibration_rows(manifest: Manifest) -> Iterable[Row]:
    if calibration := manifest.calibration:
        yield "calibrated on", f"{calibration.pictures} pictures of {calibration.source}"
        yield "coverage", ", ".join(f"{count} {kind}" for kind, count in calibration.coverage.items())
        yield "method", calibration.method
        if calibration.judge:
            yield "searched on", calibration.judge


def _quality_rows(manifest: Manifest) -> Iterable[Row]:
    if quality := manifest.quality:
        yield "judged on", f"{quality.pictures} other pictures of {quality.source}, against FP32"
        yield "PSNR", f"{quality.psnr_db_mean:.2f} dB mean, {quality.psnr_db_worst:.2f} worst"
        yield "SSIM", f"{quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"
        yield "largest error", f"{quality.max_gray_levels} gray levels"
        if quality.psnr_db_border is not None:
            yield "border", f"{quality.psnr_db_border:.2f} dB, interior {quality.psnr_db_interior:.2f}"


def _drift_rows(manifest: Manifest) -> Iterable[Row]:
    if drift := manifest.drift:
        yield "clip", f"{drift.frames} frames of {drift.source}"
        yield "clip's PSNR", f"{drift.psnr_db_mean:.2f} dB mean, {drift.psnr_db_worst:.2f} worst"
        yield "flicker", f"{drift.flicker_psnr_db:.2f} dB: PSNR of the change from frame to frame"


def build_notes(manifest: Manifest) -> list[str]:
    """Return what a build reports of its result, one line each."""
    lines = []
    if calibration := manifest.calibration:
        lines.append(f"calibrated on {calibration.pictures} pictures of {calibration.source}")
        if lacking := [kind for kind, count in calibration.coverage.items() if not count]:
            lines.append(f"note: none of them is {' or '.join(lacking)}; add some if you will stylize such pictures")
    precision = manifest.precision
    if precision.computes != precision.asked:
        lines.append(f"note: the graph is {precision.asked}, which this device computes in {precision.computes}")
    if precision.differences:
        lines.append(f"warning: not computed in the types of the graph: {'; '.join(precision.differences)}")
    if quality := manifest.quality:
        lines.append(f"against FP32 on {quality.pictures} other pictures of {quality.source}: {quality_line(quality)}")
    if (rival := manifest.rival) and quality:
        lines.append(
            f"note: {rival.precision.upper()} is faster here and closer to FP32: {rival.latency_ms:.1f} against "
            f"{rival.int8_latency_ms:.1f} ms, {rival.psnr_db_mean:.1f} against {quality.psnr_db_mean:.1f} dB; build it "
            f"with --{rival.precision}"
        )
    if drift := manifest.drift:
        lines.append(
            f"on {drift.frames} frames of {drift.source}: PSNR {drift.psnr_db_mean:.1f} dB mean, "
            f"{drift.psnr_db_worst:.1f} worst; of the change from frame to frame {drift.flicker_psnr_db:.1f}"
        )
    return lines


def quality_line(quality: QualityInfo) -> str:
    """Return PSNR and SSIM in one line."""
    border = ""
    if quality.psnr_db_border is not None:
        border = f" (border {quality.psnr_db_border:.1f}, interior {quality.psnr_db_interior:.1f})"
    return (
        f"PSNR {quality.psnr_db_mean:.1f} dB mean, {quality.psnr_db_worst:.1f} worst{border}; "
        f"SSIM {quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"
    )


def tuning_table(layers: Sequence[TunedInfo]) -> Table:
    """Return the measured times of each layer that has several forms, with the chosen form marked."""
    made = table("layer", "form", ">ms", "", title="Forms, measured")
    for one in layers:
        for form, latency_ms in one.latency_ms.items():
            made.add_row(one.layer, form, f"{latency_ms:.2f}", "chosen" if form == one.form else "")
    return made


def search_table(candidates: Sequence[CandidateInfo], judge: str) -> Table:
    """Return the INT8 recipes, with their times and their PSNR against FP32 on the backend that `judge` names."""
    made = table(">ms", ">dB mean", ">worst", "recipe", title=f"INT8 recipes tried on {judge}")
    for one in candidates:
        made.add_row(f"{one.latency_ms:.1f}", f"{one.psnr_db_mean:.2f}", f"{one.psnr_db_worst:.2f}", one.recipe)
    return made
