"""Runs the plan of any graph on inputs by name: for tuning, searches and peak rates."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nstopt.engines.backend import Feed
from nstopt.engines.tensorrt.engine import deserialize
from nstopt.engines.tensorrt.lane import Lane
from nstopt.errors import DeviceError


class Session:
    """Runs a plan of static shapes. Raises DeviceError if TensorRT cannot load it."""

    def __init__(self, plan: bytes) -> None:
        self._lane: Lane | None = None
        self._engine, self._runtime = deserialize(plan, "the plan that it built")

    def __call__(self, feed: Feed) -> list[NDArray[Any]]:
        """Return the outputs for the inputs `feed`. Raises DeviceError; the next call then makes a new lane."""
        if self._lane is None:
            self._lane = Lane(self._engine, {name: array.shape for name, array in feed.items()}, 0)
        try:
            return self._lane(feed)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Free the lane's GPU memory; another call allocates it again."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def __del__(self) -> None:
        self.close()
