"""The precisions a graph can be built in.

A name with a hyphen has two parts: the type convolutions multiply in, and the type of everything between them.
"""

from __future__ import annotations

from nstopt.errors import BuildError

PRECISIONS = ("fp32", "fp16", "int8", "int8-fp16")


def parts(precision: str) -> tuple[str, ...]:
    """Split a precision into its parts: `int8-fp16` → `int8`, `fp16`."""
    return tuple(precision.split("-"))


def is_quantized(precision: str) -> bool:
    """Return True if a precision quantizes, and so needs calibration pictures."""
    return "int8" in parts(precision)


def require_known(precision: str) -> None:
    """Raise BuildError for a precision that no backend has."""
    if precision not in PRECISIONS:
        raise BuildError(f"unknown precision '{precision}'; there are: {', '.join(PRECISIONS)}")
