"""The build process: ONNX file → engine.plan. Started by build.py as

    python -m nstopt.engines.tensorrt.worker REQUEST.json

A separate process can be killed at any moment, while TensorRT's builder cannot be interrupted before version 10. A
crash of TensorRT becomes an error message, and the builder's memory is freed with the process.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tensorrt as trt

from nstopt.engines.tensorrt.flags import flags_for, mask, profiles_per_size
from nstopt.engines.tensorrt.messages import Answer, BuildRequest, Failed, Finished, Phase
from nstopt.engines.tensorrt.pins import pin

MIB = 1 << 20
# Errors of the parser that a message lists.
MAX_LISTED = 3


class BuildLog(trt.ILogger):  # type: ignore[misc]
    """Writes TensorRT's messages to build.log, verbose ones if asked to, and keeps the errors."""

    def __init__(self, path: Path, verbose: bool) -> None:
        trt.ILogger.__init__(self)
        self._file, self._verbose = path.open("w", buffering=1), verbose
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity == trt.ILogger.Severity.VERBOSE and not self._verbose:
            return
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(message)
        self._file.write(f"[{severity.name}] {message}\n")


def build(request: BuildRequest, log: BuildLog) -> None:
    """Write engine.plan, timing.cache and layers.json into the request's folder, and run the plan once: if it crashes,
    it ends only this process. Raises RuntimeError with the reason if TensorRT builds no plan, DeviceError if the plan
    does not run."""
    folder = Path(request.folder)
    builder = trt.Builder(log)
    network, _parser = parse(builder, request, log)
    config = configure(builder, request)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError(log.errors[0] if log.errors else "it built no engine and gave no reason")
    serialized = bytes(plan)
    (folder / "engine.plan").write_bytes(serialized)
    cache = config.get_timing_cache()
    if cache is not None:
        (folder / "timing.cache").write_bytes(bytes(cache.serialize()))
    (folder / "layers.json").write_text(_layer_report(serialized, log))
    ports = [network.get_input(index) for index in range(network.num_inputs)]
    first = (*request.sizes[0], 3) if request.sizes else None
    run_once(serialized, {port.name: first or tuple(port.shape) for port in ports})


def parse(builder: Any, request: BuildRequest, log: Any) -> tuple[Any, Any]:
    """Parse the request's model. Return the network and its parser, which must outlive it. Layers are pinned to
    the graph's types if the network is not strongly typed. Raises RuntimeError if the parser refuses the graph."""
    flags = flags_for(trt, request.precision)
    network = builder.create_network(mask(trt.NetworkDefinitionCreationFlag, flags.network))
    parser = trt.OnnxParser(network, log)
    if hasattr(trt, "OnnxParserFlag"):  # from 8.6.1 on; set by default from 10 on
        parser.set_flag(trt.OnnxParserFlag.NATIVE_INSTANCENORM)
    if not parser.parse_from_file(request.model):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise RuntimeError(f"its parser refuses the graph: {'; '.join(errors[:MAX_LISTED])}")
    if flags.pins_types:
        pin(network, trt, request.graph.tensors)
    return network, parser


def configure(builder: Any, request: BuildRequest) -> Any:
    """Return the builder configuration: flags, workspace limit, timing cache, optimization profiles and progress
    monitor."""
    flags = flags_for(trt, request.precision, request.tf32)
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
    file = Path(request.timing_cache)
    cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    cache = cache or config.create_timing_cache(b"")  # a damaged cache is replaced by an empty one
    config.set_timing_cache(cache, ignore_mismatch=False)
    for size in request.sizes:
        for _ in range(profiles_per_size(trt.__version__)):
            profile = builder.create_optimization_profile()
            shape = (*size, 3)
            profile.set_shape("image", shape, shape, shape)
            config.add_optimization_profile(profile)
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor()
    return config


def _monitor() -> Any:
    """Return a progress monitor that reports TensorRT's outermost phases. TensorRT has monitors since version 10."""

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


def _layer_report(plan: bytes, log: BuildLog) -> str:
    """Return the JSON report of TensorRT's engine inspector on the layers of a plan."""
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError("it cannot load the engine that it built")
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def run_once(plan: bytes, shapes: Mapping[str, Sequence[int]]) -> None:
    """Run a plan on zeros, inputs of these shapes. Raises DeviceError."""
    from nstopt.engines.tensorrt.session import Session  # imports CUDA, which parsing does not need

    Session(plan)({name: np.zeros(shape, np.uint8) for name, shape in shapes.items()})


def tell(answer: Answer) -> None:
    """Send one JSON line to the waiting process."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main(path: str) -> None:
    """Build the request in the file `path` and send Finished or Failed."""
    request = msgspec.json.decode(Path(path).read_bytes(), type=BuildRequest)
    log = BuildLog(Path(request.folder) / "build.log", request.verbose)
    try:
        build(request, log)
    except Exception as error:  # TensorRT's bindings raise many types, such as TypeError for a failed constructor
        reasons = dict.fromkeys([str(error) or type(error).__name__, *log.errors[:1]])
        tell(Failed(" ".join(": ".join(reasons).split())))
    else:
        tell(Finished(trt.__version__))


if __name__ == "__main__":
    main(sys.argv[1])
