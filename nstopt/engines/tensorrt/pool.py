"""Which lane serves which request of an engine: how many there are, who waits for one, what happens to them when the
engine is closed.

A lane is free, at work for a call, or holds a request that was submitted and whose result was not taken yet. Calls end
by themselves, submitted requests do not; so nobody waits for these, and one place is always left to calls.
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
    """The lanes of one engine. Its methods may be called from any thread; results of submitted requests, too, may be
    taken in another than the one that submitted them."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._is_dynamic = is_dynamic(engine)
        self._fitting: dict[Shape, tuple[int, ...]] = {}
        self._free: list[Lane] = []  # the one used last at the end
        self._working: list[Lane] = []
        self._submitted: list[Lane] = []
        self._graph_notes: dict[str, None] = {}
        self._closed = False
        # Reentrant: a request that is dropped gives its lane back wherever the garbage collector happens to run.
        self._changed = threading.Condition(threading.RLock())

    @property
    def graph_notes(self) -> tuple[str, ...]:
        """The different `graph_note`s of the lanes that there were."""
        with self._changed:
            return tuple(self._graph_notes)

    @contextlib.contextmanager
    def borrow(self, shape: Shape, reusable: bool = True) -> Iterator[Lane]:
        """A lane for pictures of this shape, for as long as a call lasts; waits while all are at work. It is not used
        again if it is not `reusable`, or anything but a BundleError (nothing ran) comes out. Raises DeviceError."""
        with self._lent(self._take(shape, self._working), reusable) as lane:
            yield lane

    def submit(self, shape: Shape) -> Lane:
        """A lane that is kept until `taken` or `drop`. Raises DeviceError if too many are."""
        return self._take(shape, self._submitted)

    @contextlib.contextmanager
    def taken(self, lane: Lane) -> Iterator[None]:
        """While the result of a submitted request is taken; its lane is free afterwards, or not used again if anything
        goes wrong. Raises DeviceError if the engine was closed."""
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
                self._changed.notify_all()  # they may wait for different profiles

    def drop(self, lane: Lane) -> None:
        """Do not use this lane of a submitted request again."""
        with self._changed:
            if lane in self._submitted:
                self._submitted.remove(lane)
                lane.close()
                self._changed.notify_all()

    def close(self) -> None:
        """Give everything back; waits for calls that are at work in other threads. Results that were not taken are
        lost."""
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
        """(the optimization profiles for a shape, whether several lanes may use one at a time)."""
        if not self._is_dynamic:
            return (0,), True
        if shape not in self._fitting:
            every = range(self._engine.num_optimization_profiles)
            fitting = [i for i in every if tuple(self._engine.get_tensor_profile_shape(INPUT, i)[2]) == shape]
            if not fitting:
                raise BundleError(f"the plan has no profile for shape {list(shape)}; build the engine again")
            self._fitting[shape] = tuple(fitting)
        return self._fitting[shape], shares_profiles(trt.__version__)

    def _check_room(self, profiles: Sequence[int], shared: bool) -> None:
        """Raise DeviceError if a further submitted request would leave no lane to calls."""
        alike = len(self._submitted) if shared else sum(lane.profile in profiles for lane in self._submitted)
        if alike >= (MAX_LANES if shared else len(profiles)) - 1 or len(self._submitted) >= MAX_LANES - 1:
            raise DeviceError(f"{len(self._submitted)} requests are in flight: take a result before the next submit")

    def _idle(self, shape: Shape) -> Lane | None:
        for index in range(len(self._free) - 1, -1, -1):
            if self._free[index].shapes[INPUT] == shape:
                return self._free.pop(index)
        return None

    def _new(self, shape: Shape, profiles: Sequence[int], shared: bool) -> Lane | None:
        """None while all are at work that there may be at a time. If there is not enough memory, what idle lanes of
        other shapes hold is given back."""
        busy = [*self._working, *self._submitted]
        taken = set() if shared else {lane.profile for lane in (*busy, *self._free)}
        profile = next((one for one in profiles if one not in taken), None)
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
