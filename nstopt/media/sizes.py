"""Choose sizes that several engines take."""

from __future__ import annotations

from collections.abc import Iterable

from nstopt.engines.engine import Engine
from nstopt.errors import BundleError
from nstopt.pictures.size import Sizes


def common_sizes(engines: Iterable[Engine]) -> Sizes:
    """Return the sizes that all of the engines take. Raises BundleError if there is none."""
    limited = [engine for engine in engines if not engine.shape.sizes.is_any]
    if not limited:
        return Sizes()
    first, *others = limited
    common = [size for size in first.shape.sizes if all(size in other.shape.sizes for other in others)]
    if not common:
        taken = ", ".join(f"{engine.name} {engine.shape.sizes}" for engine in limited)
        raise BundleError(f"cannot compare engines without a common size ({taken}): build them for one size")
    return Sizes(*common)
