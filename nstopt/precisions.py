"""The precisions a graph can be built in.

A name with a hyphen has two parts: the type convolutions multiply in, and the type of everything between them.
"""

from __future__ import annotations

from nstopt.errors import BuildError

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "int8-bf16", "int8-fp16")

# Those that only CPU backends build.
CPU_ONLY = ("bf16", "int8-bf16")


def parts(precision: str) -> tuple[str, ...]:
    """Split a precision into its parts: `int8-fp16` → `int8`, `fp16`."""
    return tuple(precision.split("-"))


def is_quantized(precision: str) -> bool:
    """Return True if a precision quantizes, and so needs calibration pictures."""
    return "int8" in parts(precision)


def between(precision: str) -> str:
    """Return the type between quantized convolutions: `int8-fp16` → `fp16`, `int8` → `fp32`."""
    return parts(precision)[1] if len(parts(precision)) > 1 else "fp32"


def require_known(precision: str) -> None:
    """Raise BuildError for a precision that no backend has."""
    if precision not in PRECISIONS:
        raise BuildError(f"unknown precision '{precision}'; there are: {', '.join(PRECISIONS)}")
