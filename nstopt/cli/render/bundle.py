"""A bundle → what a person wants to know of it, as rows of name and value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from nstopt.bundle import Bundle, CandidateInfo, Manifest, TunedInfo

if TYPE_CHECKING:
    from nstopt.calib.ablation import AblationResult
    from nstopt.media.compare import PictureDifference
    from nstopt.media.flicker import Flicker
    from nstopt.train.student import StudentComparison


def rows(bundle: Bundle) -> list[tuple[str, str]]:
    """(name, value) in reading order. The bundle's hashes have been checked, or it could not be here."""
    manifest = bundle.manifest
    net, shape, precision, quality = manifest.net, manifest.shape, manifest.precision, manifest.quality
    counts = Counter(precision.layers.values())
    found = [
        ("bundle", f"{bundle.path} (format {manifest.format_version}, every hash matches)"),
        ("net", f"{net.name}: {net.family} {'/'.join(map(str, net.widths))}, {net.blocks} blocks"),
        ("source", f"sha256 {net.source_sha256}"),
        ("pictures", f"uint8 RGB, batch x height x width {shape}"),
        ("precision", f"{precision.asked}, computed in {precision.computes}"),
        ("convolutions", ", ".join(f"{count} in {kind}" for kind, count in counts.items())),
    ]
    if manifest.calibration:
        calibration = manifest.calibration
        found.append(("calibrated on", f"{calibration.pictures} pictures of {calibration.source}"))
        found.append(("coverage", ", ".join(f"{count} {kind}" for kind, count in calibration.coverage.items())))
        found.append(("method", calibration.method))
    if quality:
        found += [
            ("judged on", f"{quality.pictures} other pictures of {quality.source}, against FP32"),
            ("PSNR", f"{quality.psnr_db_mean:.2f} dB mean, {quality.psnr_db_worst:.2f} worst"),
            ("SSIM", f"{quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"),
            ("largest error", f"{quality.max_gray_levels} gray levels"),
        ]
        if quality.psnr_db_border is not None:
            found.append(("border", f"{quality.psnr_db_border:.2f} dB, interior {quality.psnr_db_interior:.2f}"))
    if drift := manifest.drift:
        found.append(("clip", f"{drift.frames} frames of {drift.source}"))
        found.append(("clip's PSNR", f"{drift.psnr_db_mean:.2f} dB mean, {drift.psnr_db_worst:.2f} worst"))
        found.append(("flicker", f"{drift.flicker_psnr_db:.2f} dB: PSNR of the change from frame to frame"))
    versions = ", ".join(f"{name} {version}" for name, version in manifest.backend.versions.items())
    found += [
        ("backend", f"{manifest.backend.name} ({versions}) for {manifest.backend.device}"),
        ("built", manifest.created),
    ]
    return found + [("file", f"{name}  sha256 {digest[:16]}…") for name, digest in manifest.files.items()]


def outcome(manifest: Manifest) -> list[str]:
    """What a build has to say of its result, a line each."""
    lines = []
    if calibration := manifest.calibration:
        lines.append(f"calibrated on {calibration.pictures} pictures of {calibration.source}")
        if lacking := [kind for kind, count in calibration.coverage.items() if not count]:
            lines.append(f"note: none of them is {' or '.join(lacking)}; add some if you will stylize such pictures")
    precision = manifest.precision
    if precision.computes != precision.asked:
        lines.append(f"note: the graph is {precision.asked}, which this device computes in {precision.computes}")
    if quality := manifest.quality:
        lines.append(
            f"against FP32 on {quality.pictures} other pictures of {quality.source}: "
            f"PSNR {quality.psnr_db_mean:.1f} dB mean, {quality.psnr_db_worst:.1f} worst "
            f"(border {quality.psnr_db_border:.1f}, interior {quality.psnr_db_interior:.1f}); "
            f"SSIM {quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"
        )
    if drift := manifest.drift:
        lines.append(
            f"on {drift.frames} frames of {drift.source}: PSNR {drift.psnr_db_mean:.1f} dB mean, "
            f"{drift.psnr_db_worst:.1f} worst; of the change from frame to frame {drift.flicker_psnr_db:.1f}"
        )
    return lines


def tuning(layers: Sequence[TunedInfo]) -> Table:
    """What was measured of each layer that has several forms, the chosen one marked."""
    table = Table("layer", "form", "ms", "", box=None, padding=(0, 2), title="Forms, measured", title_justify="left")
    for one in layers:
        for form, latency_ms in one.latency_ms.items():
            table.add_row(one.layer, form, f"{latency_ms:.2f}", "chosen" if form == one.form else "")
    return table


def searched(candidates: Sequence[CandidateInfo]) -> Table:
    """The INT8 recipes that none other beats in both time and picture, fastest first."""
    table = Table(
        "ms", "dB mean", "worst", "recipe", box=None, padding=(0, 2), title="INT8 recipes tried", title_justify="left"
    )
    for one in candidates:
        table.add_row(f"{one.latency_ms:.1f}", f"{one.psnr_db_mean:.2f}", f"{one.psnr_db_worst:.2f}", one.recipe)
    return table


def ablated(found: Sequence[AblationResult]) -> Table:
    """Ways to INT8, and how far each is from the first."""
    table = Table("INT8", "dB mean", "worst", "against the first", box=None, padding=(0, 2))
    for one in found:
        change = one.psnr_db_mean - found[0].psnr_db_mean
        table.add_row(
            one.variant, f"{one.psnr_db_mean:.2f}", f"{one.psnr_db_worst:.2f}", f"{change:+.2f}" if change else ""
        )
    return table


def compared(found: Sequence[PictureDifference]) -> Table:
    """Pictures in the order given, and their means."""
    table = Table("picture", "dB", "SSIM", "gray levels", box=None, padding=(0, 2))
    for one in found:
        table.add_row(one.picture.name, f"{one.psnr_db:.2f}", f"{one.ssim:.4f}", str(one.max_gray_levels))
    count = len(found)
    mean_db, mean_ssim = sum(one.psnr_db for one in found) / count, sum(one.ssim for one in found) / count
    table.add_row("mean", f"{mean_db:.2f}", f"{mean_ssim:.4f}", "", style="bold")
    return table


def distilled(found: StudentComparison) -> Table:
    """Teacher and student, and how many times less the student takes."""
    table = Table(f"FP32 at {found.size}", "GMAC", "ms", box=None, padding=(0, 2))
    for one in (found.teacher, found.student):
        table.add_row(one.net, f"{one.gmac:.2f}", f"{one.latency_ms:.1f}")
    ratios = found.teacher.gmac / found.student.gmac, found.teacher.latency_ms / found.student.latency_ms
    table.add_row("less", *(f"{ratio:.1f}×" for ratio in ratios), style="bold")
    return table


def flickers(clip: str, found: Sequence[tuple[str, Flicker]]) -> Table:
    """The clip itself and what each engine makes of it. The share is what compares nets of different contrast."""
    table = Table(clip, "warping error", "contrast", "share", box=None, padding=(0, 2))
    for name, one in found:
        table.add_row(name, f"{one.warping_error:.2f}", f"{one.contrast:.1f}", f"{one.share:.3f}")
    return table
