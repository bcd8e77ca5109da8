"""The one import of Ray, and connecting to a cluster.

Ray reports its use to its makers by default. nstopt turns that off where it imports Ray first; on a cluster that runs
already, the setting of its head node counts (`ray start --head --disable-usage-stats`).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from nstopt.errors import DeviceError, first_line

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray as ray  # from here, for the other modules of this room

TIMEOUT_S = 10


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to the cluster at `address`, such as 10.0.0.5:6379, `auto` for the one of this machine, or `local` to
    start one here. A program that is connected already stays so.

    Raises DeviceError if there is no cluster.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _reach(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise DeviceError(
            f"no Ray cluster at {address}: {first_line(error)}; begin one with: ray start --head. If one "
            "runs there, it may ask for its token: set RAY_AUTH_MODE=token (docs/cluster.md)"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Connect to HOST:PORT and part again. Raises OSError if nobody answers, for which Ray would wait without end."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), TIMEOUT_S).close()


class Placement(NamedTuple):
    """Where workers run: their number, and what each needs, as options of an actor."""

    workers: int
    needs: dict[str, Any]


def place(backend: str) -> Placement:
    """One worker a GPU for TensorRT; for other backends one a machine, since an engine uses all of a CPU's cores.

    Raises DeviceError if the cluster has none.
    """
    if backend == "tensorrt":
        found = Placement(int(ray.cluster_resources().get("GPU", 0)), {"num_gpus": 1})
    else:
        machines = sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())
        found = Placement(machines, {"num_cpus": 1, "scheduling_strategy": "SPREAD"})
    if not found.workers:
        raise DeviceError(f"the Ray cluster has no {'GPU' if backend == 'tensorrt' else 'machine with a free CPU'}")
    return found
