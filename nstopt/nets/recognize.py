"""Recognize a net by the names and shapes of its tensors, never by the file name."""

from __future__ import annotations

from nstopt.errors import CheckpointError
from nstopt.nets import adain, fast_style, johnson, reconet
from nstopt.nets.layout import Blueprint, Family, Mismatch, State, compare

FAMILIES: tuple[Family, ...] = (johnson.FAMILY, fast_style.FAMILY, reconet.FAMILY, adain.FAMILY)


def recognize(state: State, source: str = "the checkpoint") -> tuple[Family, Blueprint]:
    """Return the family whose layout `state` matches exactly, stale tensors aside, and its blueprint for `state`.

    Raises CheckpointError if no family matches. The message calls the checkpoint `source`, lists the known families,
    and says how the checkpoint differs from the nearest one.
    """
    candidates = []
    for family in FAMILIES:
        current = family.current(state)
        blueprint = family.blueprint(current)
        mismatch = compare(blueprint.shapes(), current)
        if not mismatch:
            return family, blueprint
        candidates.append((family, blueprint, mismatch))
    raise CheckpointError(_explain(source, *max(candidates, key=lambda candidate: candidate[2].likeness)))


def _explain(source: str, nearest: Family, blueprint: Blueprint, mismatch: Mismatch) -> str:
    if mismatch.likeness == 1.0:
        return f"{source} is a {nearest.name} net with tensors of wrong shapes; {mismatch.describe()}"
    known = "; ".join(f"{family.name} ({', '.join(family.blueprint({}).names[:3])}, ...)" for family in FAMILIES)
    return (
        f"{source} is not a known net. Known families: {known}. "
        f"Nearest: {nearest.name}, {mismatch.common} of {len(blueprint.names)} names in common; {mismatch.describe()}. "
        "For another architecture, name its class with --arch package.module:Class"
    )
