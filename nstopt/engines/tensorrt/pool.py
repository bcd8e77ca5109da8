"""The pool of an engine's lanes: assigns lanes to requests, limits their number, and closes them with the engine.

A lane is free, working for a call, or held by a submitted request whose result was not taken yet. A call ends by
itself; a submitted request ends only when its result is taken. Therefore nobody waits for submitted requests, and one
lane is always left to calls.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import tensorrt as trt

from nstopt.engines.tensorrt.flags import shares_profiles
from nstopt.engines.tensorrt.lane import Lane, Shape, is_dynamic
from nstopt.errors import BundleError, DeviceError

INPUT = "image"
MAX_LANES = 8


class Pool:
    """The lanes of one ICudaEngine. Methods may be called from any thread; a result may be taken in another thread than
    the one that submitted the request."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._is_dynamic = is_dynamic(engine)
        self._fitting: dict[Shape, tuple[int, ...]] = {}
        self._free: list[Lane] = []  # the most recently used one is last
        self._working: list[Lane] = []
        self._submitted: list[Lane] = []
        self._graph_notes: dict[str, None] = {}
        self._closed = False
        # Reentrant: a dropped request gives its lane back in whichever thread the garbage collector runs.
        self._changed = threading.Condition(threading.RLock())

    @property
    def graph_notes(self) -> tuple[str, ...]:
        """The distinct `graph_note`s of all lanes so far."""
        with self._changed:
            return tuple(self._graph_notes)

    @contextlib.contextmanager
    def borrow(self, shape: Shape, reusable: bool = True) -> Iterator[Lane]:
        """Lend a lane for pictures of `shape` (N, H, W, 3) to a call; waits while all lanes are working. The lane is
        closed afterwards if it is not `reusable`, or if the call raises anything but BundleError, after which nothing
        ran. Raises DeviceError."""
        with self._lent(self._take(shape, self._working), reusable) as lane:
            yield lane

    def submit(self, shape: Shape) -> Lane:
        """Return a lane that is held until `taken` or `drop`. Raises DeviceError if too many requests are in flight."""
        return self._take(shape, self._submitted)

    @contextlib.contextmanager
    def taken(self, lane: Lane) -> Iterator[None]:
        """Mark the lane of a submitted request as working while its result is taken. Afterwards the lane is free, or
        closed if an exception was raised. Raises DeviceError if the engine was closed."""
        with self._changed:
            if lane not in self._submitted:
                raise DeviceError("the engine was closed before the result was taken")
            self._submitted.remove(lane)
            self._working.append(lane)
        with self._lent(lane, reusable=True):
            yield

    @contextlib.contextmanager
    def _lent(self, lane: Lane, reusable: bool) -> Iterator[Lane]:
        keep = False
        try:
            yield lane
            keep = reusable
        except BundleError:
            keep = reusable
            raise
        finally:
            with self._changed:
                self._working.remove(lane)
                if keep and not self._closed:
                    self._free.append(lane)
                else:
                    lane.close()
                self._changed.notify_all()  # the waiting calls may need different profiles

    def drop(self, lane: Lane) -> None:
        """Close the lane of a submitted request whose result nobody will take."""
        with self._changed:
            if lane in self._submitted:
                self._submitted.remove(lane)
                lane.close()
                self._changed.notify_all()

    def close(self) -> None:
        """Close all lanes. Waits for calls running in other threads; results that were not taken are lost."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._submitted:
                self._submitted.pop().close()
            self._close_idle()
            while self._working:
                self._changed.wait()
            self._engine = None

    def _close_idle(self) -> None:
        while self._free:
            self._free.pop(0).close()

    def _take(self, shape: Shape, users: list[Lane]) -> Lane:
        with self._changed:
            while True:
                if self._closed:
                    raise DeviceError("the engine is closed: load it again")
                profiles, shared = self._profiles(shape)
                if users is self._submitted:
                    self._check_room(profiles, shared)
                lane = self._idle(shape) or self._new(shape, profiles, shared)
                if lane is not None:
                    users.append(lane)
                    return lane
                self._changed.wait()

    def _profiles(self, shape: Shape) -> tuple[Sequence[int], bool]:
        """Return the optimization profiles for a shape, and True if several lanes may use one of them at a time."""
        if not self._is_dynamic:
            return (0,), True
        if shape not in self._fitting:
            indices = range(self._engine.num_optimization_profiles)
            fitting = [i for i in indices if tuple(self._engine.get_tensor_profile_shape(INPUT, i)[2]) == shape]
            if not fitting:
                raise BundleError(f"the plan has no profile for shape {list(shape)}; build the engine again")
            self._fitting[shape] = tuple(fitting)
        return self._fitting[shape], shares_profiles(trt.__version__)

    def _check_room(self, profiles: Sequence[int], shared: bool) -> None:
        """Raise DeviceError if another submitted request would leave no lane to calls."""
        of_profiles = len(self._submitted) if shared else sum(lane.profile in profiles for lane in self._submitted)
        if of_profiles >= (MAX_LANES if shared else len(profiles)) - 1 or len(self._submitted) >= MAX_LANES - 1:
            raise DeviceError(f"{len(self._submitted)} requests are in flight: take a result before the next submit")

    def _idle(self, shape: Shape) -> Lane | None:
        for index in range(len(self._free) - 1, -1, -1):
            if self._free[index].shapes[INPUT] == shape:
                return self._free.pop(index)
        return None

    def _new(self, shape: Shape, profiles: Sequence[int], shared: bool) -> Lane | None:
        """Make a lane; None if as many are in use as may be. If memory is short, idle lanes of other shapes are
        closed."""
        busy = [*self._working, *self._submitted]
        taken = set() if shared else {lane.profile for lane in (*busy, *self._free)}
        profile = next((index for index in profiles if index not in taken), None)
        if profile is None or len(busy) >= MAX_LANES:
            return None
        if len(busy) + len(self._free) >= MAX_LANES:
            self._free.pop(0).close()
        try:
            lane = Lane(self._engine, {INPUT: shape}, profile)
        except DeviceError:
            if not self._free:
                raise
            self._close_idle()
            lane = Lane(self._engine, {INPUT: shape}, profile)
        self._graph_notes[lane.graph_note] = None
        return lane
