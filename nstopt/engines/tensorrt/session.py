"""A plan of any graph as a function of its inputs by name: for tuning, searches and peaks."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nstopt.engines.base import Feed
from nstopt.engines.tensorrt.engine import deserialise
from nstopt.engines.tensorrt.lane import Lane


class Session:
    """Runs a plan of fixed shapes. Raises DeviceError if TensorRT cannot load it."""

    def __init__(self, plan: bytes) -> None:
        self._engine, self._runtime = deserialise(plan, "the graph that it compiled")
        self._lane: Lane | None = None

    def __call__(self, feed: Feed) -> list[NDArray[Any]]:
        if self._lane is None:
            self._lane = Lane(self._engine, {name: array.shape for name, array in feed.items()}, 0)
        return self._lane(feed)

    def __del__(self) -> None:
        if self._lane is not None:
            self._lane.close()
