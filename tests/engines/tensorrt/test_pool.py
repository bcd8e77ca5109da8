"""Requests, threads, sizes and closing of an engine, on doubles of cuda-python and tensorrt."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from nstopt.errors import BundleError, DeviceError

from .conftest import LAUNCH, SIZES, Host, Pictures, assert_stylized, in_threads, noise


@pytest.mark.parametrize("count", [3, 12])
def test_threads_share_an_engine(host: Host, count: int) -> None:
    with host.load() as engine:
        for seed, found in enumerate(in_threads(lambda seed: [engine(noise(seed=seed)) for _ in range(4)][-1], count)):
            assert_stylized(found, noise(seed=seed))
        assert host.cuda.alive()["context"] <= 8


def test_requests_in_flight(host: Host) -> None:
    pictures = [noise(seed=seed) for seed in range(3)]
    with host.load() as engine:
        for order in ([0, 1, 2], [2, 0, 1]):
            requests = [engine.submit(picture) for picture in pictures]
            for number in order:
                assert_stylized(requests[number].result(), pictures[number])
        out = np.zeros_like(pictures[0])
        request = engine.submit(pictures[0])
        with pytest.raises(BundleError, match="`out` must be a writable"):
            request.result(out=out[:, ::2])
        assert request.result(out=out) is out
        assert_stylized(out, pictures[0])
        with pytest.raises(BundleError, match="taken before"):
            request.result()
        assert host.cuda.alive()["context"] == 3


def test_submit_does_not_wait(host: Host) -> None:
    with host.load() as engine:
        for request in [engine.submit(noise()), engine.submit(noise())]:
            request.result()
        with host.cuda.held():
            requests = [engine.submit(noise(seed=seed)) for seed in range(2)]
        for seed, request in enumerate(requests):
            assert_stylized(request.result(), noise(seed=seed))


def test_results_that_are_never_taken(host: Host) -> None:
    with host.load() as engine:
        for seed in range(20):
            engine.submit(noise(seed=seed))
        assert_stylized(engine(noise()), noise())
        assert host.cuda.alive()["context"] == 1
        request = engine.submit(noise())
        host.cuda.fail("cudaStreamSynchronize", LAUNCH)
        del request  # raises nothing, and its lane is closed
        assert "context" not in host.cuda.alive()
        assert_stylized(engine(noise()), noise())


def test_results_are_taken_in_another_thread(host: Host) -> None:
    with host.load() as engine:
        requests = [engine.submit(noise(seed=seed)) for seed in range(3)]
        for seed, found in enumerate(in_threads(lambda number: requests[number].result(), 3)):
            assert_stylized(found, noise(seed=seed))


def test_too_many_requests(host: Host) -> None:
    with host.load() as engine:
        requests = [engine.submit(noise(seed=seed)) for seed in range(7)]
        for _ in range(3):  # the lane that the call makes is not lent to requests
            with pytest.raises(DeviceError, match="7 requests are in flight: take a result before the next submit"):
                engine.submit(noise())
            assert_stylized(engine(noise()), noise())
        assert_stylized(requests.pop().result(), noise(seed=6))
        requests.append(engine.submit(noise(seed=6)))
        for seed, request in enumerate(requests):
            assert_stylized(request.result(), noise(seed=seed))


def test_submit_waits_for_calls(host: Host) -> None:
    """Calls end by themselves, so waiting for their lanes is safe."""
    with host.load() as engine:
        for seed, found in enumerate(in_threads(lambda seed: engine.submit(noise(seed=seed)).result(), 7)):
            assert_stylized(found, noise(seed=seed))
        assert_stylized(engine(noise()), noise())


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.1", "10.8.0"])
def test_several_sizes(host: Host, version: str) -> None:
    host.trt.__version__ = version
    with host.load(SIZES, copies=3 if version.startswith("8.5") else 1) as engine:
        for size in (*SIZES, *reversed(SIZES)):
            assert_stylized(engine(noise(size)), noise(size))
        assert host.cuda.alive()["context"] == 3
        requests = [(size, engine.submit(noise(size))) for size in (*SIZES, SIZES[1])]
        for size, request in reversed(requests):
            assert_stylized(request.result(), noise(size))
        with pytest.raises(
            BundleError,
            match=r"is built for pictures of \(batch x height x width\) 1x24x32, 16x16, 20x48, not 1x17x17",
        ):
            engine(noise((17, 17)))
        for number, found in enumerate(in_threads(lambda number: engine(noise(SIZES[number % 3], number)), 9)):
            assert_stylized(found, noise(SIZES[number % 3], number))
    assert host.cuda.alive() == {}


def test_a_plan_without_a_profile_for_the_size(host: Host) -> None:
    engine = host.load([SIZES[0], (32, 16)])
    _, engine.shape = host.write(SIZES)
    with pytest.raises(BundleError, match=r"the plan has no profile for shape \[1, 16, 16, 3\]; build the eng"):
        engine(noise(SIZES[1]))
    engine.close()


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_profiles_that_are_not_shared(host: Host, copies: int) -> None:
    """On 8.5, one submitted request fewer than profiles of a size may be in flight, and calls still run."""
    host.trt.__version__ = "8.5.3.1"
    with host.load(SIZES, copies=copies) as engine:
        requests = [engine.submit(noise(seed=seed)) for seed in range(copies - 1)]
        for _ in range(2):
            with pytest.raises(DeviceError, match=f"{copies - 1} requests are in flight: take a result"):
                engine.submit(noise())
            assert_stylized(engine(noise()), noise())
        for number, found in enumerate(in_threads(lambda number: engine(noise(SIZES[number % 3], number)), 6)):
            assert_stylized(found, noise(SIZES[number % 3], number))
        for seed, request in enumerate(requests):
            assert_stylized(request.result(), noise(seed=seed))


def test_idle_lanes_are_closed_for_other_sizes(host: Host) -> None:
    """Idle lanes are closed if there are too many lanes, or if memory is short."""
    with host.load(SIZES) as engine:
        for size in SIZES:
            for request in [engine.submit(noise(size, seed)) for seed in range(5)]:
                request.result()
        assert host.cuda.alive()["context"] == 8
        host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
        assert_stylized(engine(noise(SIZES[0])), noise(SIZES[0]))
        assert host.cuda.alive()["context"] <= 8
        engine.close()
    with host.load(SIZES) as engine:
        engine(noise(SIZES[0]))
        host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
        assert_stylized(engine(noise(SIZES[1])), noise(SIZES[1]))
        assert host.cuda.alive()["context"] == 1


def test_errors_among_threads(host: Host) -> None:
    """A failed call does not affect the others."""
    with host.load() as engine:
        assert_stylized(engine(noise()), noise())
        host.cuda.fail("kernel", LAUNCH, skip=3, times=4)
        found = in_threads(lambda seed: engine(noise(seed=seed)), 12)
        errors = [one for one in found if isinstance(one, DeviceError)]
        assert 1 <= len(errors) <= 4
        for seed, one in enumerate(found):
            if not isinstance(one, DeviceError):
                assert_stylized(one, noise(seed=seed))
        assert_stylized(engine(noise()), noise())


def test_close_frees_everything(host: Host) -> None:
    engine = host.load()
    engine(noise())
    first, second = engine.submit(noise()), engine.submit(noise())
    engine.close()
    engine.close()
    assert host.cuda.alive() == {}
    with pytest.raises(DeviceError, match="the engine was closed before the result was taken"):
        first.result()
    del second
    for use in (engine, engine.submit):
        with pytest.raises(DeviceError, match="the engine is closed: load it again"):
            use(noise())
    assert engine.notes == ()


def test_close_waits_for_calls(host: Host) -> None:
    engine = host.load()
    engine(noise())
    found: list[Pictures] = []
    with host.cuda.held():
        calling = threading.Thread(target=lambda: found.append(engine(noise(seed=5))))
        calling.start()
        while host.cuda.calls["cudaGraphLaunch"] < 2:
            time.sleep(0.0005)
        left: list[dict[str, int]] = []

        def close() -> None:
            engine.close()
            left.append(host.cuda.alive())

        closing = threading.Thread(target=close)
        closing.start()
    for thread in (calling, closing):
        thread.join(20)
    assert_stylized(found[0], noise(seed=5))
    assert left == [{}]


def test_close_while_calls_wait(host: Host) -> None:
    engine = host.load()
    requests = [engine.submit(noise()) for _ in range(7)]
    engine(noise())  # on an eighth lane
    for request in requests:
        request.result()
    host.cuda.gate.clear()

    def work(number: int) -> Any:
        if number < 12:
            return engine(noise(seed=number))
        while host.cuda.calls["cudaGraphLaunch"] < 16:
            time.sleep(0.0005)
        threading.Timer(0.005, host.cuda.gate.set).start()
        return engine.close()

    for seed, found in enumerate(in_threads(work, 13)[:12]):
        if isinstance(found, DeviceError):
            assert str(found) == "the engine is closed: load it again"
        else:
            assert_stylized(found, noise(seed=seed))
    assert host.cuda.alive() == {}


def test_an_engine_without_references(host: Host) -> None:
    """It is freed with its last request."""
    engine = host.load()
    request = engine.submit(noise())
    del engine
    assert_stylized(request.result(), noise())
    del request
    assert host.cuda.alive() == {}
