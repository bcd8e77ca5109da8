"""What a graph can be built in. Of a name with a hyphen, the first part is what convolutions multiply in, the second
what is computed in between them."""

from __future__ import annotations

from nstopt.errors import BuildError

PRECISIONS = ("fp32", "fp16", "int8", "int8-fp16")


def parts(precision: str) -> tuple[str, ...]:
    """`int8-fp16` → `int8`, `fp16`."""
    return tuple(precision.split("-"))


def is_quantized(precision: str) -> bool:
    """Whether it needs pictures to find its ranges from."""
    return "int8" in parts(precision)


def require_known(precision: str) -> None:
    """Raises BuildError for a precision that no backend has."""
    if precision not in PRECISIONS:
        raise BuildError(f"unknown precision '{precision}'; there are: {', '.join(PRECISIONS)}")
