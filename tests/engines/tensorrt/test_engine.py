"""TensorRT's engines on doubles of the vendors' packages, which compute with ONNX Runtime."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nstopt.bench.subject import TellsCopies, Warns
from nstopt.errors import BundleError, DeviceError

from .conftest import SMALL, Host, paint
from .host_device import FRESH

Pictures = NDArray[np.uint8]
SIZES = [(24, 32), (16, 16), (20, 48)]
LAUNCH = "cudaErrorLaunchFailure"


def noise(size: tuple[int, int] = SMALL, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """What `work` gives for each number, in as many threads."""
    found: list[Any] = [None] * count

    def one(number: int) -> None:
        try:
            found[number] = work(number)
        except (DeviceError, BundleError) as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return found


def same(found: Any, picture: Pictures) -> None:
    np.testing.assert_array_equal(found, paint(picture))


def test_pictures(host: Host) -> None:
    with host.load() as engine:
        for seed in range(3):
            same(engine(noise(seed=seed)), noise(seed=seed))
        same(engine(noise()[None]), noise()[None])
        out = np.zeros((*SMALL, 3), np.uint8)
        assert engine(noise(), out=out) is out
        same(out, noise())
        picture = noise()
        assert engine(picture, out=picture) is picture
        same(picture, noise())
        assert (engine.notes, engine.warnings) == (("CUDA graph",), ())
        assert host.cuda.calls["cudaGraphLaunch"] == 6
        assert host.cuda.alive()["context"] == 1
    assert host.cuda.alive() == {}


def test_a_batch(host: Host) -> None:
    pictures = np.stack([noise(seed=seed) for seed in range(3)])
    with host.load(batch=3) as engine:
        same(engine(pictures), pictures)
        with pytest.raises(BundleError, match="not 1x24x32"):
            engine(pictures[0])


def test_without_a_graph(host: Host) -> None:
    host.cuda.fail("capture", "cudaErrorStreamCaptureUnsupported")
    with host.load() as engine:
        same(engine(noise()), noise())
        (note,) = engine.notes
        assert note.startswith("no CUDA graph: the GPU failed while capturing a CUDA graph: cudaErrorStreamCaptureUn")
        assert engine.warnings == (note,)
        assert host.cuda.calls["cudaGraphLaunch"] == 0


@pytest.mark.parametrize("count", [3, 12])
def test_threads_share_an_engine(host: Host, count: int) -> None:
    with host.load() as engine:
        for seed, found in enumerate(at_once(lambda seed: [engine(noise(seed=seed)) for _ in range(4)][-1], count)):
            same(found, noise(seed=seed))
        assert host.cuda.alive()["context"] <= 8


def test_requests_in_flight(host: Host) -> None:
    pictures = [noise(seed=seed) for seed in range(3)]
    with host.load() as engine:
        for order in ([0, 1, 2], [2, 0, 1]):
            requests = [engine.submit(picture) for picture in pictures]
            for number in order:
                same(requests[number].result(), pictures[number])
        out = np.zeros_like(pictures[0])
        request = engine.submit(pictures[0])
        with pytest.raises(BundleError, match="`out` must be a writable"):
            request.result(out=out[:, ::2])
        assert request.result(out=out) is out
        same(out, pictures[0])
        with pytest.raises(BundleError, match="taken before"):
            request.result()
        assert host.cuda.alive()["context"] == 3


def test_requests_are_sent_without_waiting(host: Host) -> None:
    with host.load() as engine:
        for request in [engine.submit(noise()), engine.submit(noise())]:
            request.result()
        with host.cuda.held():
            requests = [engine.submit(noise(seed=seed)) for seed in range(2)]
        for seed, request in enumerate(requests):
            same(request.result(), noise(seed=seed))


def test_results_that_nobody_takes(host: Host) -> None:
    with host.load() as engine:
        for seed in range(20):
            engine.submit(noise(seed=seed))
        same(engine(noise()), noise())
        assert host.cuda.alive()["context"] == 1
        request = engine.submit(noise())
        host.cuda.fail("cudaStreamSynchronize", LAUNCH)
        del request  # says nothing, and its lane is not used again
        assert "context" not in host.cuda.alive()
        same(engine(noise()), noise())


def test_results_are_taken_in_another_thread(host: Host) -> None:
    with host.load() as engine:
        requests = [engine.submit(noise(seed=seed)) for seed in range(3)]
        for seed, found in enumerate(at_once(lambda number: requests[number].result(), 3)):
            same(found, noise(seed=seed))


def test_too_many_requests(host: Host) -> None:
    with host.load() as engine:
        requests = [engine.submit(noise(seed=seed)) for seed in range(7)]
        for _ in range(3):  # a lane that a call has made is not for requests
            with pytest.raises(DeviceError, match="7 requests are in flight: take a result before the next submit"):
                engine.submit(noise())
            same(engine(noise()), noise())
        same(requests.pop().result(), noise(seed=6))
        requests.append(engine.submit(noise(seed=6)))
        for seed, request in enumerate(requests):
            same(request.result(), noise(seed=seed))


def test_requests_wait_for_calls(host: Host) -> None:
    """These end by themselves."""
    with host.load() as engine:
        for seed, found in enumerate(at_once(lambda seed: engine.submit(noise(seed=seed)).result(), 7)):
            same(found, noise(seed=seed))
        same(engine(noise()), noise())


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.1", "10.8.0"])
def test_several_sizes(host: Host, version: str) -> None:
    host.trt.__version__ = version
    with host.load(SIZES, copies=3 if version.startswith("8.5") else 1) as engine:
        for size in (*SIZES, *reversed(SIZES)):
            same(engine(noise(size)), noise(size))
        assert host.cuda.alive()["context"] == 3
        requests = [(size, engine.submit(noise(size))) for size in (*SIZES, SIZES[1])]
        for size, request in reversed(requests):
            same(request.result(), noise(size))
        with pytest.raises(BundleError, match="is built for pictures of 24x32, 16x16, 20x48, not 17x17"):
            engine(noise((17, 17)))
        for number, found in enumerate(at_once(lambda number: engine(noise(SIZES[number % 3], number)), 9)):
            same(found, noise(SIZES[number % 3], number))
    assert host.cuda.alive() == {}


def test_a_plan_without_a_profile_for_the_size(host: Host) -> None:
    bundle = host.bundle(SIZES)
    engine = host.load([SIZES[0]])
    engine.manifest = bundle.manifest
    with pytest.raises(BundleError, match=r"the plan has no profile for shape \[1, 16, 16, 3\]; build the eng"):
        engine(noise(SIZES[1]))
    engine.close()


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_profiles_that_are_not_shared(host: Host, copies: int) -> None:
    """As 8.5 is: of the requests of a size one less may be in flight than there are profiles, and calls get through."""
    host.trt.__version__ = "8.5.3.1"
    with host.load(SIZES, copies=copies) as engine:
        requests = [engine.submit(noise(seed=seed)) for seed in range(copies - 1)]
        for _ in range(2):
            with pytest.raises(DeviceError, match=f"{copies - 1} requests are in flight: take a result"):
                engine.submit(noise())
            same(engine(noise()), noise())
        for number, found in enumerate(at_once(lambda number: engine(noise(SIZES[number % 3], number)), 6)):
            same(found, noise(SIZES[number % 3], number))
        for seed, request in enumerate(requests):
            same(request.result(), noise(seed=seed))


def test_idle_lanes_make_way(host: Host) -> None:
    """For lanes of another size: where there are too many, and where memory is short."""
    with host.load(SIZES) as engine:
        for size in SIZES:
            for request in [engine.submit(noise(size, seed)) for seed in range(5)]:
                request.result()
        assert host.cuda.alive()["context"] == 8
        host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
        same(engine(noise(SIZES[0])), noise(SIZES[0]))
        assert host.cuda.alive()["context"] <= 8
        engine.close()
    with host.load(SIZES) as engine:
        engine(noise(SIZES[0]))
        host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
        same(engine(noise(SIZES[1])), noise(SIZES[1]))
        assert host.cuda.alive()["context"] == 1


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("cudaGraphLaunch", "launching a CUDA graph"),
        ("kernel", "running the engine"),
        ("cudaStreamSynchronize", "running the engine"),
    ],
)
def test_errors_of_the_device(host: Host, name: str, what: str) -> None:
    with host.load() as engine:
        same(engine(noise()), noise())
        host.cuda.fail(name, LAUNCH)
        with pytest.raises(DeviceError, match=f"while {what}: {LAUNCH}: unspecified launch failure"):
            engine(noise())
        assert "context" not in host.cuda.alive()  # its lane is not used again
        same(engine(noise()), noise())
        host.cuda.fail(name, LAUNCH)
        with pytest.raises(DeviceError, match=LAUNCH):
            engine.submit(noise()).result()
        assert "context" not in host.cuda.alive()
        same(engine.submit(noise()).result(), noise())
    assert host.cuda.alive() == {}


def test_errors_among_threads(host: Host) -> None:
    """Some calls fail, the others do not notice."""
    with host.load() as engine:
        same(engine(noise()), noise())
        host.cuda.fail("kernel", LAUNCH, skip=3, times=4)
        found = at_once(lambda seed: engine(noise(seed=seed)), 12)
        errors = [one for one in found if isinstance(one, DeviceError)]
        assert 1 <= len(errors) <= 4
        for seed, one in enumerate(found):
            if not isinstance(one, DeviceError):
                same(one, noise(seed=seed))
        same(engine(noise()), noise())


def test_no_memory_for_a_first_lane(host: Host) -> None:
    with host.load() as engine:
        host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
        with pytest.raises(DeviceError, match="while allocating 2304 bytes: cudaErrorMemoryAllocation: out of memory"):
            engine(noise())
        same(engine(noise()), noise())


def test_a_plan_that_is_damaged(host: Host) -> None:
    bundle = host.bundle()
    (bundle.path / "engine.plan").write_bytes(b"nonsense")
    with pytest.raises(DeviceError, match=r"TensorRT 10.8.0 cannot load .*painter.nst: the plan is no plan"):
        host.ours["engine"].TensorRTEngine(bundle)


def test_close_gives_everything_back(host: Host) -> None:
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
    same(found[0], noise(seed=5))
    assert left == [{}]


def test_calls_that_wait_when_it_is_closed(host: Host) -> None:
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

    for seed, found in enumerate(at_once(work, 13)[:12]):
        if isinstance(found, DeviceError):
            assert str(found) == "the engine is closed: load it again"
        else:
            same(found, noise(seed=seed))
    assert host.cuda.alive() == {}


def test_an_engine_that_is_forgotten(host: Host) -> None:
    """It gives everything back once its last request is done."""
    engine = host.load()
    request = engine.submit(noise())
    del engine
    same(request.result(), noise())
    del request
    assert host.cuda.alive() == {}


def test_parts_and_layers_are_timed(host: Host) -> None:
    with host.load() as engine:
        splits = engine.split(noise()[None], 3)
        assert len(splits) == 3
        assert min(min(split) for split in splits) > 0
        layers = {layer.name: layer for layer in engine.profile(noise()[None], 4)}
        assert layers["conv"].kind == "Convolution"
        assert layers["Clip"].kind == "?"
        assert {len(layer.samples_ms) for layer in layers.values()} == {4}
        same(engine(noise()), noise())
        host.cuda.fail("kernel", LAUNCH)
        with pytest.raises(DeviceError, match=LAUNCH):
            engine.split(noise()[None], 3)
        same(engine(noise()), noise())
        assert isinstance(engine, TellsCopies)  # so that a bench asks it
        assert isinstance(engine, Warns)


class Described:
    """Another library's array on the device, which its own stream may still be writing: __cuda_array_interface__."""

    def __init__(
        self, host: Host, picture: Pictures, version: int = 3, offset: int = 0, read_only: bool = False
    ) -> None:
        ours: Any = host.ours["cuda"]
        self.shape = picture.shape
        self._world, self._kept = host.cuda, np.ascontiguousarray(picture)
        self._memory, self._stream = ours.DeviceMemory(picture.nbytes + offset), ours.Stream()
        self.pointer = self._memory.pointer + offset
        self.handle = self._stream.handle if version >= 3 else 1
        late = host.cuda.get("stream", self.handle)
        late.put(lambda: time.sleep(0.003))
        late.put(self._write)
        stream = {"stream": self.handle} if version >= 3 else {}
        self.__cuda_array_interface__ = {
            "data": (self.pointer, read_only), "shape": self.shape, "typestr": "|u1", "version": version, **stream
        }  # fmt: skip

    def _write(self) -> None:
        self.bytes[:] = self._kept.reshape(-1)

    @property
    def bytes(self) -> Pictures:
        return self._world.bytes_at(self.pointer, self._kept.nbytes)

    def close(self) -> None:
        self._stream.synchronise()
        self._stream.close()
        self._memory.close()


class Exchanged(Described):
    """The same with DLPack; its other interface tells no stream, as torch's."""

    def __init__(self, host: Host, picture: Pictures) -> None:
        super().__init__(host, picture)
        self._host = host
        self.__cuda_array_interface__ |= {"version": 2, "stream": None}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        cudart = self._host.cuda
        _, event = cudart.cudaEventCreate()
        cudart.cudaEventRecord(event, self.handle)
        cudart.cudaStreamWaitEvent(stream, event, 0)
        cudart.cudaEventDestroy(event)
        return self.bytes.reshape(self.shape).__dlpack__()


def old_interface(host: Host, picture: Pictures) -> Described:
    return Described(host, picture, version=2)


def downloaded(host: Host, array: Any) -> Pictures:
    described = array.__cuda_array_interface__
    flat = host.cuda.bytes_at(described["data"][0], int(np.prod(described["shape"])))
    return flat.reshape(described["shape"]).copy()


@pytest.mark.parametrize("kind", [Described, old_interface, Exchanged])
def test_arrays_on_the_device(host: Host, kind: Callable[..., Any]) -> None:
    """Are read after their owner has written them, and written where they lie."""
    with host.load() as engine:
        engine(noise())  # so that the lane is there, and the array's owner the slower one
        launched = host.cuda.calls["cudaGraphLaunch"]
        for picture in (noise(), noise(seed=1)[None]):
            array, out = kind(host, picture), kind(host, np.zeros_like(picture))
            made = engine(array)
            assert made.shape == picture.shape
            same(downloaded(host, made), picture)
            assert engine(array, out=out) is out
            same(downloaded(host, out), picture)
            same(downloaded(host, engine(made)), paint(picture))
            array.close()
            out.close()
            del made
        assert host.cuda.calls["cudaGraphLaunch"] == launched
        engine.split(noise()[None], 1)  # at the lane's own addresses again, or it would use what is freed
        same(engine(noise()), noise())
        assert host.cuda.alive()["context"] == 1


def test_device_memory_that_overlaps_or_is_not_aligned(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        assert engine(array, out=array) is array
        same(downloaded(host, array), noise())
        read, written = Described(host, noise(), offset=3), Described(host, noise(seed=1), offset=5)
        engine(read, out=written)
        same(downloaded(host, written), noise())
        for one in (array, read, written):
            one.close()


def test_device_arrays_that_do_not_fit(host: Host) -> None:
    with host.load() as engine:
        array, small = Described(host, noise()), Described(host, noise((16, 16)))
        fixed = Described(host, noise(), read_only=True)
        for arguments, message in (
            ((small,), "not 1x16x16"),
            ((array, small), r"`out` must be a writable uint8 device array of shape \[24, 32, 3\]"),
            ((array, fixed), "must be a writable"),
            ((array, noise()), "must both lie on the GPU, or both in the host's memory"),
            ((noise(), array), "must both lie on the GPU"),
        ):
            with pytest.raises(BundleError, match=message):
                engine(*arguments)
        with pytest.raises(BundleError, match="only pictures in the host's memory can be submitted"):
            engine.submit(array)
        flat: Any = Described(host, noise())
        flat.__cuda_array_interface__["shape"] = (24 * 32 * 3,)
        with pytest.raises(BundleError, match=r"engine takes uint8 RGB arrays .* not \[2304\]"):
            engine(flat)
        assert host.cuda.alive()["context"] == 1  # which goes on being used
        for one in (array, small, fixed, flat):
            one.close()


def test_errors_with_device_arrays(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        same(downloaded(host, engine(array)), noise())
        for name in ("cudaMalloc", "cudaEventRecord", "execute_async_v3", "kernel"):
            host.cuda.fail(name, LAUNCH)
            with pytest.raises(DeviceError, match=LAUNCH):
                engine(array)
            same(downloaded(host, engine(array)), noise())
        same(engine(noise()), noise())
        array.close()


def test_fresh_memory_is_no_picture(host: Host) -> None:
    """What the tests above rely on: who reads too early sees it."""
    memory = host.ours["cuda"].DeviceMemory(8)
    assert set(host.cuda.bytes_at(memory.pointer, 8)) == {FRESH}
    memory.close()
