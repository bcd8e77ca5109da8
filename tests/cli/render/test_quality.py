"""Tables of flicker."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from nstopt.cli.render.quality import flicker_table, stabilized_table
from nstopt.media.flicker import Flicker
from nstopt.media.stabilized_flicker import StabilizedFlicker

FOUND = Flicker(warping_error=12.345, contrast=50.0, e_warp=0.00234, e_stab=0.0481)


def lines(table: Table) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def test_flicker_has_all_measures() -> None:
    head, row = lines(flicker_table("clip.mp4", [("net", FOUND)]))
    assert head == ["clip.mp4", "warping", "error", "contrast", "share", "E_warp", "e_stab"]
    assert row == ["net", "12.35", "50.0", "0.247", "0.00234", "0.0481"]


def test_stabilized_frames_have_a_time_and_a_distance() -> None:
    none, half = StabilizedFlicker("net", 0, FOUND, 20.04, 100.0), StabilizedFlicker("net", 0.5, FOUND, 31.5, 35.123)
    head, *rows = lines(stabilized_table("clip.mp4", [none, half]))
    assert (head[1], head[-2:]) == ("strength", ["ms", "dB"])
    assert [(row[1], row[-2], row[-1]) for row in rows] == [("0", "20.0", "equal"), ("0.5", "31.5", "35.1")]
