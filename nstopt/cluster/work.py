"""Give tasks to workers: one at a time each, so that none queue up where a worker is slow, and again to another worker
where one was lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from nstopt.cluster.client import Placement, ray
from nstopt.errors import DeviceError

# A task that has lost so many workers is given up: it is likely what kills them.
TRIES = 3

T = TypeVar("T")


class Lost(NamedTuple):
    """In place of a result: the task lost TRIES workers."""

    reason: str


class _Running(NamedTuple):
    worker: Any
    task: Any
    attempt: int


def do_all(
    tasks: Iterable[T], worker: type, arguments: tuple[object, ...], placement: Placement
) -> Iterator[tuple[T, Any]]:
    """Yield each task and its result, in the order in which they are finished.

    `worker` is a class whose objects, made of `arguments`, do a task by their method `work`. Raises what that raises,
    and DeviceError if the cluster fails. The workers are ended afterwards.
    """
    actor: Any = ray.remote(worker).options(**placement.needs)
    shared = [ray.put(argument) for argument in arguments]
    queue = deque((task, 1) for task in tasks)
    idle = [actor.remote(*shared) for _ in range(min(placement.workers, len(queue)))]
    running: dict[Any, _Running] = {}
    try:
        while queue or running:
            while queue and idle:
                (task, attempt), free = queue.popleft(), idle.pop()
                running[free.work.remote(task)] = _Running(free, task, attempt)
            (finished,), _ = ray.wait(list(running), num_returns=1)
            one = running.pop(finished)
            try:
                result = ray.get(finished)
                idle.append(one.worker)
            except ray.exceptions.RayActorError as error:
                idle.append(actor.remote(*shared))
                if one.attempt < TRIES:
                    queue.appendleft((one.task, one.attempt + 1))
                    continue
                result = Lost(f"{TRIES} workers were lost at it: {_reason(error)}")
            yield one.task, result
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise DeviceError(f"the Ray cluster failed: {_reason(error)}") from error
    finally:
        for left in [*idle, *(one.worker for one in running.values())]:
            ray.kill(left)


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
