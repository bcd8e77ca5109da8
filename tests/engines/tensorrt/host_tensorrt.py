"""A double of the runtime classes of the `tensorrt` package on the double of CUDA, for tests without a GPU.

A plan holds an ONNX graph and the shapes of its optimization profiles. The work that `execute_async_v3` puts into a
stream runs the graph in ONNX Runtime, from the memory at the inputs' addresses to that at the outputs', so that real
pictures come out. The double refuses what TensorRT refuses: an input without shape, address or profile, a shape outside
the profile, a profile that another context uses (before 8.6), and a first run inside a capture. A context that runs
twice at a time, or after it was destroyed, is recorded as misuse. The double has only members that TensorRT has
(test_lane.py). Nothing is built or optimized: it tells nothing about TensorRT's kernels, memory or speed.
"""

from __future__ import annotations

import enum
import functools
import json
import threading
import time
from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from .host_cuda import HostCuda
from .host_device import ALIGNMENT, CudaError

MAGIC = b"plan of the host\n"
OF_NUMPY = {"tensor(uint8)": "UINT8", "tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT64"}
NUMPY = {"UINT8": np.uint8, "FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64}
Shape = tuple[int, ...]


def plan_of(model: bytes, profiles: Sequence[Shape] = ()) -> bytes:
    """Return a plan of an ONNX model; `profiles` are the shapes of its input if it is dynamic."""
    return MAGIC + json.dumps([list(profile) for profile in profiles]).encode() + b"\n" + model


@functools.lru_cache(maxsize=8)
def session_of(model: bytes) -> Any:
    """Return an ONNX Runtime session with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    INT64 = 8


class ILogger:
    """Unusable if a subclass did not call this constructor, as with pybind classes."""

    Severity = Severity

    def __init__(self) -> None:
        self._made = True


class IProfiler:
    def __init__(self) -> None:
        self._made = True


def _module() -> Any:
    module: Any = ModuleType("tensorrt")
    module.__version__ = "10.8.0"
    module.ILogger, module.IProfiler = ILogger, IProfiler
    module.DataType = DataType
    return module


class World:
    """State that all objects of one double share."""

    def __init__(self, cuda: HostCuda) -> None:
        self.cuda = cuda
        self.module = module = _module()
        module.Runtime = functools.partial(Runtime, self)

    @property
    def shares_profiles(self) -> bool:
        return not self.module.__version__.startswith("8.5")


class Runtime:
    def __init__(self, world: World, logger: Any) -> None:
        _check_made(logger, ILogger)
        self._world, self.logger = world, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not serialized_engine.startswith(MAGIC):
            self.logger.log(Severity.ERROR, "the plan is\nno plan of the host")
            return None
        profiles, model = serialized_engine[len(MAGIC) :].split(b"\n", 1)
        return ICudaEngine(self._world, self.logger, model, [tuple(one) for one in json.loads(profiles)])


class ICudaEngine:
    def __init__(self, world: World, logger: Any, model: bytes, profiles: list[Shape]) -> None:
        self._world, self._logger, self._profiles = world, logger, profiles
        self._session = session_of(model)
        tensors = (*self._session.get_inputs(), *self._session.get_outputs())
        self._tensors: dict[str, Any] = {tensor.name: tensor for tensor in tensors}
        self._layers = [node.name or node.op_type for node in onnx.load_from_string(model).graph.node]
        self._holders: dict[int, int] = {}  # handle of a context → its profile
        self._had_a_context = False
        self._handle = world.cuda.add("engine", None)

    def __del__(self) -> None:
        self._world.cuda.remove("engine", self._handle)

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._profiles))

    def get_tensor_name(self, index: int) -> str:
        return tuple(self._tensors)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return DataType[OF_NUMPY[self._tensors[name].type]]

    def get_tensor_shape(self, name: str) -> list[int]:
        return [side if isinstance(side, int) else -1 for side in self._tensors[name].shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return [list(self._profiles[profile_index])] * 3

    def create_execution_context(self) -> IExecutionContext | None:
        try:
            self._world.cuda.check("create_execution_context")
        except CudaError as failure:
            self._world.cuda.note_error(failure.error)
            return None
        return IExecutionContext(self)


class Running:
    """State of a context's runs; outlives the context, for work that is still in a stream."""

    def __init__(self) -> None:
        self.is_alive = True
        self.lock = threading.Lock()


class IExecutionContext:
    """An execution context. Only the first context of an engine starts with a profile."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._cuda = engine, engine._world.cuda
        self._handle = self._cuda.add("context", None)
        self._profiler: Any = None
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._running = Running()
        self._is_prepared = False
        self._inputs = [one.name for one in engine._session.get_inputs()]
        if not engine._had_a_context:
            engine._holders[self._handle] = 0
        engine._had_a_context = True
        if not engine._profiles:
            self._shapes = {name: tuple(engine.get_tensor_shape(name)) for name in self._inputs}

    def __del__(self) -> None:
        self._running.is_alive = False
        self._engine._holders.pop(self._handle, None)
        self._cuda.remove("context", self._handle)

    @property
    def profiler(self) -> Any:
        return self._profiler

    @profiler.setter
    def profiler(self, value: Any) -> None:
        _check_made(value, IProfiler)
        self._profiler = value

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._cuda.get("stream", stream_handle)
        others = {profile for handle, profile in self._engine._holders.items() if handle != self._handle}
        if profile_index in others and not self._engine._world.shares_profiles:
            return self._refuse(f"profile {profile_index} is used by another context")
        if profile_index >= self._engine.num_optimization_profiles:
            return self._refuse(f"there is no profile {profile_index}")
        self._engine._holders[self._handle] = profile_index
        self._shapes.clear()
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        wanted = self._engine.get_tensor_shape(name)
        if self._engine._profiles:
            if self._handle not in self._engine._holders:
                return self._refuse("the context has no profile")
            wanted = list(self._engine._profiles[self._engine._holders[self._handle]])
        if list(shape) != wanted:
            return self._refuse(f"{list(shape)} is not {wanted}")
        self._shapes[name] = tuple(shape)
        self._is_prepared = False
        return True

    def get_tensor_shape(self, name: str) -> list[int]:
        if name in self._shapes:
            return list(self._shapes[name])
        if set(self._shapes) != set(self._inputs):
            return self._engine.get_tensor_shape(name)
        zeros = {each: np.zeros(shape, self._dtype(each)) for each, shape in self._shapes.items()}
        return list(self._engine._session.run([name], zeros)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors:
            return self._refuse(f"there is no tensor '{name}'")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if set(self._shapes) != set(self._inputs) or set(self._addresses) != set(self._engine._tensors):
            return self._refuse("a shape or an address is missing")
        if any(address % ALIGNMENT for address in self._addresses.values()):
            return self._refuse("an address is not aligned")
        try:
            self._cuda.check("execute_async_v3")
            if not self._is_prepared:
                self._cuda.break_captures()
        except CudaError as failure:
            self._cuda.note_error(failure.error)
            return False
        self._is_prepared = True
        stream = self._cuda.get("stream", stream_handle)
        stream.put(self._task())
        if self._profiler is not None:
            self._report(stream)
        return True

    def _report(self, stream: Any) -> None:
        """Report an equal share of the run's time for every layer."""
        begin = time.perf_counter()
        stream.wait()
        ms = (time.perf_counter() - begin) * 1e3 / len(self._engine._layers)
        for layer in self._engine._layers:
            self._profiler.report_layer_time(layer, ms)

    def _task(self) -> Any:
        """Return a run with the current shapes and addresses. It does not keep the context alive."""
        cuda, running, session, inputs = self._cuda, self._running, self._engine._session, self._inputs
        places = {
            name: (self._addresses[name], tuple(self.get_tensor_shape(name)), np.dtype(self._dtype(name)))
            for name in self._engine._tensors
        }
        outputs = [name for name in places if name not in inputs]

        def run() -> None:
            cuda.check("kernel")
            if not running.is_alive or not running.lock.acquire(blocking=False):
                raise cuda.wrong("a context runs after it was destroyed, or twice at a time")
            try:
                arrays = {
                    name: cuda.bytes_at(address, prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
                    for name, (address, shape, dtype) in places.items()
                }
                for name in outputs:  # an engine may write outputs before it has read all inputs
                    arrays[name].fill(0)
                results = session.run(outputs, {name: arrays[name] for name in inputs})
                for name, value in zip(outputs, results, strict=True):
                    arrays[name][...] = value
            finally:
                running.lock.release()

        return run

    def _dtype(self, name: str) -> Any:
        return NUMPY[OF_NUMPY[self._engine._tensors[name].type]]

    def _refuse(self, why: str) -> bool:
        self._engine._logger.log(Severity.ERROR, why)
        return False


def _check_made(instance: Any, kind: type) -> None:
    if not isinstance(instance, kind) or not hasattr(instance, "_made"):
        raise TypeError(f"{type(instance).__name__}: not a {kind.__name__}, or its constructor was not called")
