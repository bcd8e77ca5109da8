"""TensorRT, 8.5 to 11. The bundle holds engine.plan, which trtexec loads; what the build said, build.log and
layers.json; and the graph in TensorRT's form, graph.onnx, with what it says of its convolutions, graph.json.

    ONNX ─prepare→ TensorRT's form ─rules→ checked ─build→ a process that builds ─→ engine.plan ─engine→ pictures

Nothing native is touched where there is no GPU: TensorRT's runtime would end the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from nstopt.engines.backend import (
    NO_OPTIONS,
    Backend,
    BuildOptions,
    Built,
    Capabilities,
    CompiledModel,
    Feed,
    Source,
    take_turns,
)
from nstopt.engines.engine import Engine
from nstopt.engines.tensorrt.avoided import read_avoided
from nstopt.engines.tensorrt.forms import Forms, default_forms, forms_to_time
from nstopt.engines.tensorrt.requirements import (
    check_built_for,
    check_precision,
    check_tf32,
    check_types,
    installed,
    require_gpu,
    timing_cache_name,
)
from nstopt.errors import BuildError
from nstopt.files import cache_folder, make_folder
from nstopt.gpu.driver import GpuDevice, devices
from nstopt.gpu.facts import Architecture, architecture_of
from nstopt.manifest import InputShape, Manifest, TunedInfo
from nstopt.pictures.size import Sizes
from nstopt.precisions import is_quantized

if TYPE_CHECKING:
    from nstopt.engines.tensorrt.build import Plan

NORM = b"InstanceNormalization"
PLAN, LAYERS, GRAPH = "engine.plan", "layers.json", "graph.json"


class TensorRTBackend(Backend):
    """Builds in a process of its own and runs on the first GPU. With `own_norms`, instance norms stay TensorRT's own
    operator from version 8.6.1 on, as a user of TensorRT has them; by default they are written in basic operators."""

    name = "tensorrt"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8", "int8-fp16"}),
        files=(PLAN, LAYERS, GRAPH),
        unsigned=False,
        # Predicted, not measured: docs/gpu.md gives the reasons.
        forms={"upsample-conv": "phase", "few-outputs": "phase"},
        dynamic_sizes=False,
        several_sizes=True,
        workspace_limit=True,
        build_log=True,
        tf32=True,
        judge="onnxruntime",  # a build of TensorRT takes longer than the whole search there
        first_run=False,  # how CUDA does under a limit of memory was never seen
    )

    def __init__(self, own_norms: bool = False) -> None:
        self._own_norms = own_norms

    def require(self, precision: str, force: bool) -> None:
        check_precision(require_gpu("build an engine"), precision, force)
        check_types(str(installed()), precision)

    def require_built_for_here(self, manifest: Manifest) -> None:
        check_built_for(manifest, require_gpu(f"load {manifest.net.name}"))

    def build(
        self, source: Source, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        device, model = require_gpu("build an engine"), source.onnx.read_bytes()
        if options.tf32:
            check_tf32(device)

        def build(into: Path, forms: Forms) -> Plan:
            return self.plan(model, device, precision, shape, into, folder.parent, options, forms)

        tuned: tuple[TunedInfo, ...] = ()
        default, avoided = self._default_forms(device), read_avoided(device)
        choices = forms_to_time(str(installed()), avoided, default, precision, NORM in model) if options.tune else {}
        if len(choices) > 1:
            from nstopt.engines.tensorrt.tune_forms import fastest_forms

            plan, times = fastest_forms(build, choices, shape, folder)
            tuned = (times,)
        else:
            plan = build(folder, default)
        versions = {"tensorrt": plan.version, "cuda": device.cuda}
        return Built(plan.types.computes, device.name, versions, plan.types.differences, tuned)

    def load(self, files: Mapping[str, bytes], shape: InputShape, name: str) -> Engine:
        require_gpu(f"load {name}")
        from nstopt.engines.tensorrt.engine import TensorRTEngine

        return TensorRTEngine(files, shape, name)

    def identity(self) -> str:
        device = require_gpu("build or measure")
        without = "".join(f" without {name}" for name in sorted(read_avoided(device)))
        return f"tensorrt {installed()} {device.name} sm_{device.sm[0]}{device.sm[1]}{without}"

    def avoided(self) -> frozenset[str]:
        """The forms that failed in the smoke test of this machine's GPU."""
        gpus = devices()
        return read_avoided(gpus[0]) if gpus else frozenset()

    def forms(self, precision: str, generation: Architecture | None = None) -> Mapping[str, str]:
        """An INT8 transposed convolution is written as plain convolutions, by phases, where the GPU has no kernel for
        it."""
        gpus = devices() if generation is None else ()
        lacks = bool(gpus) and "int8-transposed" in read_avoided(gpus[0])
        generation = architecture_of(gpus[0].sm, gpus[0].name) if gpus else generation
        lacks = lacks or (generation is not None and not generation.has_int8_transposed_convolution)
        if is_quantized(precision) and lacks:
            return {**self.capabilities.forms, "transposed-conv": "phase"}
        return self.capabilities.forms

    def _default_forms(self, device: GpuDevice) -> Forms:
        return default_forms(str(installed()), read_avoided(device), self._own_norms)

    def compile(self, model: bytes, precision: str, reuse: bool = False) -> CompiledModel:
        device = require_gpu("compile a graph")
        from nstopt.engines.tensorrt.lowering import precision_of
        from nstopt.engines.tensorrt.session import Session

        make_folder(cache_folder())
        with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
            folder, fixed = Path(temporary), InputShape(None, Sizes())
            options = BuildOptions(evidence=cache_folder() / "failed-build")
            forms = self._default_forms(device)
            self.plan(model, device, precision_of(model), fixed, folder, cache_folder(), options, forms)
            return Session((folder / PLAN).read_bytes())

    def measure(self, models: Sequence[bytes], precision: str, feed: Feed, rounds: int = 10) -> list[float]:
        """Measure as any backend does. A model whose plan cannot be built, or crashes, takes infinitely long. Raises
        BuildError if that holds for all."""
        runs: dict[int, Callable[[], object]] = {}
        failed: list[BuildError] = []
        for index, model in enumerate(models):
            try:
                runs[index] = partial(self.compile(model, precision), feed)
            except BuildError as error:
                failed.append(error)
        if not runs:
            raise failed[0]
        times = dict(zip(runs, take_turns([*runs.values()], rounds), strict=True))
        return [times.get(index, inf) for index in range(len(models))]

    def plan(
        self,
        model: bytes,
        device: GpuDevice,
        precision: str,
        shape: InputShape,
        folder: Path,
        caches: Path,
        options: BuildOptions,
        forms: Forms,
    ) -> Plan:
        """Check `model` and build its plan into `folder` in these `forms`; keep tactic timings in `caches`. What was
        built is compared with the graph that has no convolution in floats instead. Raises BuildError."""
        import onnx

        from nstopt.engines.tensorrt.build import build_plan
        from nstopt.engines.tensorrt.graph_info import info_of
        from nstopt.engines.tensorrt.lowering import ready
        from nstopt.engines.tensorrt.messages import BuildRequest

        with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
            file, cache = Path(temporary) / "model.onnx", (caches / timing_cache_name(device)).resolve()
            prepared = ready(model, device.sm, forms)
            wanted = ready(model, device.sm, forms._replace(in_floats=frozenset())) if forms.in_floats else prepared
            file.write_bytes(prepared)
            is_fixed = shape.sizes.only is not None
            request = BuildRequest(
                model=str(file),
                folder=str(folder),
                precision=precision,
                graph=info_of(onnx.load_from_string(wanted)),
                sizes=() if is_fixed else tuple((shape.batch or 1, *size) for size in shape.sizes),
                workspace_mib=options.workspace_mib,
                timing_cache=str(cache),
                tf32=options.tf32,
                verbose=options.verbose,
            )
            return build_plan(request, folder, cache, options.progress, options.evidence)


BACKEND = TensorRTBackend()
# The engine that a user of TensorRT gets from the raw export: a peer in benchmarks.
WITH_OWN_NORMS = TensorRTBackend(own_norms=True)
