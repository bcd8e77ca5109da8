"""What a user can change while it runs. Every change that arrives from outside is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from nstopt.errors import NstoptError
from nstopt.live.governor import SCALES

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, Meta(ge=1.0, le=240.0)]
Scale = Annotated[float, Meta(ge=SCALES[-1], le=1.0)]


class Controls(msgspec.Struct, frozen=True):
    """`style`: name of the engine. `strength`: 1 shows its picture, 0 the camera's, between them a blend. `split`: the
    share of the width, from the left, that shows the camera's picture. `fps`: the rate that the governor holds; None
    without one. `scale`: side of the net's picture over that of the camera's, while no governor chooses it."""

    style: str
    strength: Share = 1.0
    split: Share = 0.0
    fps: Rate | None = None
    scale: Scale = 1.0


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="change"):
    """New values of some of the controls."""

    style: str | UnsetType = UNSET
    strength: Share | UnsetType = UNSET
    split: Share | UnsetType = UNSET
    fps: Rate | UnsetType | None = UNSET
    scale: Scale | UnsetType = UNSET


def changed(controls: Controls, change: Change, any_size: dict[str, bool]) -> Controls:
    """Return the controls after a change. `any_size` says of each style whether its engine takes any size.

    Raises NstoptError for an unknown style, and for a governor or a scale where the engine has a fixed size."""
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
    new = msgspec.structs.replace(controls, **given)
    if new.style not in any_size:
        raise NstoptError(f"there is no style '{new.style[:60]}'; there are: {', '.join(any_size)}")
    if (new.fps or new.scale != 1.0) and not any_size[new.style]:
        if "style" not in given:
            raise NstoptError(f"{new.style} {FIXED}")
        new = msgspec.structs.replace(new, fps=None, scale=1.0)
    return new


FIXED = "has an engine of fixed size, so the size cannot follow the frame rate: build one with --dynamic"


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, those that occurred before with a number."""
    return [
        name if names.index(name) == position else f"{name} {names[: position + 1].count(name)}"
        for position, name in enumerate(names)
    ]
