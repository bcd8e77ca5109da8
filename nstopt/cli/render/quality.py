"""Render how pictures differ: variants of INT8, two engines, frames of a video."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from rich.table import Table

from nstopt.cli.render.table import table

if TYPE_CHECKING:
    from nstopt.calib.ablation import AblationResult
    from nstopt.media.compare import PictureDifference
    from nstopt.media.flicker import Flicker
    from nstopt.media.stabilized_flicker import StabilizedFlicker

FLICKER_COLUMNS = (">warping error", ">contrast", ">share", ">E_warp", ">e_stab")


def ablation_table(found: Sequence[AblationResult]) -> Table:
    """Return the PSNR of each variant of INT8, and its difference from the first one."""
    made = table("INT8", ">dB mean", ">worst", ">against the first", fold=True)
    for one in found:
        change = one.psnr_db_mean - found[0].psnr_db_mean
        made.add_row(
            one.variant, f"{one.psnr_db_mean:.2f}", f"{one.psnr_db_worst:.2f}", f"{change:+.2f}" if change else ""
        )
    return made


def comparison_table(found: Sequence[PictureDifference]) -> Table:
    """Return the difference of each picture in the order given, and the means."""
    made = table("picture", ">dB", ">SSIM", ">gray levels", fold=True)
    for one in found:
        made.add_row(one.picture.name, f"{one.psnr_db:.2f}", f"{one.ssim:.4f}", str(one.max_gray_levels))
    mean_db, mean_ssim = fmean(one.psnr_db for one in found), fmean(one.ssim for one in found)
    made.add_row("mean", f"{mean_db:.2f}", f"{mean_ssim:.4f}", "", style="bold")
    return made


def flicker_table(clip: str, found: Sequence[tuple[str, Flicker]]) -> Table:
    """Return the flicker of the clip itself and of each engine. Nets of different contrast are compared by `share`."""
    made = table(clip, *FLICKER_COLUMNS, fold=True)
    for name, one in found:
        made.add_row(name, *_flicker_cells(one))
    return made


def stabilized_table(clip: str, found: Sequence[StabilizedFlicker]) -> Table:
    """Return the flicker of each engine at each strength, the time of a frame, and its PSNR to the ordinary frame."""
    made = table(clip, ">strength", *FLICKER_COLUMNS, ">ms", ">dB", fold=True)
    for one in found:
        distance = f"{one.psnr_db:.1f}" if one.psnr_db < 100 else "equal"
        made.add_row(one.name, f"{one.strength:g}", *_flicker_cells(one.flicker), f"{one.latency_ms:.1f}", distance)
    return made


def _flicker_cells(one: Flicker) -> tuple[str, ...]:
    return (
        f"{one.warping_error:.2f}",
        f"{one.contrast:.1f}",
        f"{one.share:.3f}",
        f"{one.e_warp:.5f}",
        f"{one.e_stab:.4f}",
    )
