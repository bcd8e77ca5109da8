"""Recognizes a net by the names and shapes of its tensors, never by a file's name."""

from __future__ import annotations

from nstopt.errors import CheckpointError
from nstopt.nets import adain, fast_style, johnson, reconet
from nstopt.nets.layout import Blueprint, Family, Mismatch, State, compare

FAMILIES: tuple[Family, ...] = (johnson.FAMILY, fast_style.FAMILY, reconet.FAMILY, adain.FAMILY)


def recognize(state: State, source: str = "the checkpoint") -> tuple[Family, Blueprint]:
    """The family whose layout `state` has exactly, stale tensors aside, and its plan at the widths and blocks found.

    `source` names the checkpoint in the message of the CheckpointError that is raised if no family fits: which were
    looked for, and how the checkpoint differs from the nearest.
    """
    candidates = []
    for family in FAMILIES:
        current = family.current(state)
        plan = family.plan(current)
        mismatch = compare(plan.shapes(), current)
        if not mismatch:
            return family, plan
        candidates.append((family, plan, mismatch))
    raise CheckpointError(_explain(source, *max(candidates, key=lambda candidate: candidate[2].likeness)))


def _explain(source: str, nearest: Family, plan: Blueprint, mismatch: Mismatch) -> str:
    if mismatch.likeness == 1.0:
        return f"{source} is a {nearest.name} net whose tensors do not fit together; {mismatch.describe()}"
    looked_for = "; ".join(f"{family.name} ({', '.join(family.plan({}).names[:3])}, ...)" for family in FAMILIES)
    return (
        f"{source} is no net that is known. Looked for: {looked_for}. "
        f"Nearest: {nearest.name}, {mismatch.common} of {len(plan.names)} names in common; {mismatch.describe()}. "
        "For another architecture, name its class with --arch package.module:Class"
    )
