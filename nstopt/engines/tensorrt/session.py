"""A plan of any graph as a function of its inputs by name: for tuning, searches and peaks."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nstopt.engines.base import Feed
from nstopt.engines.tensorrt.engine import deserialize
from nstopt.engines.tensorrt.lane import Lane
from nstopt.errors import DeviceError


class Session:
    """Runs a plan of fixed shapes. Raises DeviceError if TensorRT cannot load it."""

    def __init__(self, plan: bytes) -> None:
        self._lane: Lane | None = None
        self._engine, self._runtime = deserialize(plan, "the graph that it compiled")

    def __call__(self, feed: Feed) -> list[NDArray[Any]]:
        """Raises DeviceError; the next call begins anew."""
        if self._lane is None:
            self._lane = Lane(self._engine, {name: array.shape for name, array in feed.items()}, 0)
        try:
            return self._lane(feed)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Give the GPU's memory back; a further call takes it again."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def __del__(self) -> None:
        self.close()
