"""The process that builds a plan: ONNX file → engine.plan. Started by build.py as

    python -m nstopt.engines.tensorrt.worker REQUEST.json

A process of its own can be ended at any moment, which TensorRT's builder itself cannot before version 10; a crash of
the vendor's library becomes an error message, and the memory that the builder took is free afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import tensorrt as trt

from nstopt.engines.tensorrt.flags import flags_for, mask, shares_profiles
from nstopt.engines.tensorrt.messages import Answer, BuildRequest, Failed, Finished, Phase

MIB = 1 << 20
# Where each request in flight needs an optimization profile of its own: two that were submitted, and a call.
PROFILES_PER_SIZE = 3
NO_TYPE_OF_ITS_OWN = frozenset({"CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE", "IDENTITY"})


class BuildLog(trt.ILogger):  # type: ignore[misc]
    """Writes to build.log; keeps what was an error."""

    def __init__(self, path: Path) -> None:
        trt.ILogger.__init__(self)
        self._file = path.open("w", buffering=1)
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity == trt.ILogger.Severity.VERBOSE:
            return
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(message)
        self._file.write(f"[{severity.name}] {message}\n")


def build(request: BuildRequest, log: BuildLog) -> None:
    """Write the plan and what belongs to it. Raises RuntimeError with the reason where TensorRT gives no plan."""
    folder = Path(request.folder)
    builder = trt.Builder(log)
    network, _parser = parse(builder, request, log)
    config = configure(builder, request)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError(log.errors[-1] if log.errors else "it built no engine and gave no reason")
    serialized = bytes(plan)
    (folder / "engine.plan").write_bytes(serialized)
    cache = config.get_timing_cache()
    if cache is not None:
        (folder / "timing.cache").write_bytes(bytes(cache.serialize()))
    (folder / "layers.json").write_text(_layers(serialized, log))


def parse(builder: Any, request: BuildRequest, log: Any) -> tuple[Any, Any]:
    """(network, its parser, which must outlive it) of the request's model, its FP32 layers pinned where types are not
    those of the graph. Raises RuntimeError."""
    flags = flags_for(trt, request.precision)
    network = builder.create_network(mask(trt.NetworkDefinitionCreationFlag, flags.network))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(request.model):
        found = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise RuntimeError(f"its parser refuses the graph: {'; '.join(found[:3])}")
    if flags.pin_fp32:
        _pin_fp32(network)
    return network, parser


def configure(builder: Any, request: BuildRequest) -> Any:
    """The builder's configuration: flags, limits, timing cache, sizes, and someone to tell the progress to."""
    flags = flags_for(trt, request.precision)
    config = builder.create_builder_config()
    for name in flags.enable:
        config.set_flag(getattr(trt.BuilderFlag, name))
    for name in flags.disable:
        config.clear_flag(getattr(trt.BuilderFlag, name))
    config.set_tactic_sources(mask(trt.TacticSource, flags.tactic_sources))
    for name in flags.preview:
        config.set_preview_feature(getattr(trt.PreviewFeature, name), True)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib * MIB)
    known = Path(request.timing_cache)
    cache = config.create_timing_cache(known.read_bytes() if known.is_file() else b"")
    cache = cache or config.create_timing_cache(b"")  # a damaged one is measured again
    config.set_timing_cache(cache, ignore_mismatch=False)
    copies = 1 if shares_profiles(trt.__version__) else PROFILES_PER_SIZE
    for size in [size for size in request.sizes for _ in range(copies)]:
        profile = builder.create_optimization_profile()
        shape = (*size, 3)
        profile.set_shape("image", shape, shape, shape)
        config.add_optimization_profile(profile)
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor()
    return config


def _pin_fp32(network: Any) -> None:
    """Tell each layer whose result is FP32 in the graph to stay in FP32."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        outputs = [layer.get_output(number) for number in range(layer.num_outputs)]
        if layer.type.name not in NO_TYPE_OF_ITS_OWN and all(out.dtype == trt.DataType.FLOAT for out in outputs):
            layer.precision = trt.DataType.FLOAT
            for number in range(layer.num_outputs):
                layer.set_output_type(number, trt.DataType.FLOAT)


def _monitor() -> Any:
    """Reports TensorRT's outermost phases; it has one from version 10 on."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._totals[phase_name] = num_steps
                tell(Phase(phase_name, 0, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._totals:
                tell(Phase(phase_name, step, self._totals[phase_name]))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._totals.pop(phase_name, None)

    return Monitor()


def _layers(plan: bytes, log: BuildLog) -> str:
    """TensorRT's own report of the engine's layers, as JSON."""
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError("it cannot load the engine that it built")
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def tell(answer: Answer) -> None:
    """One line to the process that waits."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main(path: str) -> None:
    """Build what the request in the file `path` asks for, and say how it ended."""
    request = msgspec.json.decode(Path(path).read_bytes(), type=BuildRequest)
    log = BuildLog(Path(request.folder) / "build.log")
    try:
        build(request, log)
    except Exception as error:  # TensorRT's bindings raise many kinds, TypeError for a failed constructor among them
        reasons = dict.fromkeys([str(error) or type(error).__name__, *log.errors[-1:]])
        tell(Failed(" ".join(": ".join(reasons).split())))
    else:
        tell(Finished(trt.__version__))


if __name__ == "__main__":
    main(sys.argv[1])
