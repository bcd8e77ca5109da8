"""Render how fast a video goes through engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from nstopt.cli.render.table import table

if TYPE_CHECKING:
    from nstopt.bench.video import VideoTiming

CAPTION = (
    "FPS of each stage alone, and of the whole. CPU: milliseconds of a frame in all stages alone, summed. Limit: the "
    "slowest stage alone, or all cores busy all the time, whichever is less."
)


def video_table(clip: str, found: Sequence[VideoTiming]) -> Table:
    """Return the stages of each engine, and how near the whole comes to its two limits."""
    made = table(
        clip,
        ">streams",
        ">decode",
        ">net",
        ">encode",
        ">whole",
        ">of slowest stage",
        ">CPU",
        ">of limit",
        caption=CAPTION,
        fold=True,
    )
    for one in found:
        limit = min(one.slowest_fps, one.cores_fps)
        made.add_row(
            one.engine,
            str(one.streams),
            *(f"{stage.fps:.1f}" for stage in (one.decode, one.net, one.encode, one.whole)),
            f"{one.whole.fps / one.slowest_fps:.0%}",
            f"{one.decode.cpu_ms + one.net.cpu_ms + one.encode.cpu_ms:.1f}",
            f"{one.whole.fps / limit:.0%}",
        )
    return made
