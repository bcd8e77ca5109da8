"""TensorRT, 8.5 to 11. The bundle holds engine.plan, which trtexec loads, and what the build said: build.log,
layers.json.

    ONNX ─prepare→ TensorRT's form ─rules→ checked ─build→ a process that builds ─→ engine.plan ─engine→ pictures

Nothing native is touched where there is no GPU: TensorRT's runtime would end the process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nstopt.bundle import Bundle, InputShape
from nstopt.engines.base import NO_OPTIONS, Backend, BuildOptions, Built, Capabilities, CompiledModel, Engine
from nstopt.engines.tensorrt.requirements import (
    check_built_for,
    check_precision,
    check_types,
    has_own_norm,
    installed,
    require_gpu,
    timing_cache_name,
)
from nstopt.files import cache_folder, make_folder
from nstopt.gpu.driver import GpuDevice
from nstopt.gpu.facts import architecture_of
from nstopt.precisions import PRECISIONS, is_quantized

if TYPE_CHECKING:
    from nstopt.graph.rule import Layer


class TensorRTBackend(Backend):
    name = "tensorrt"
    capabilities = Capabilities(
        precisions=frozenset(PRECISIONS),
        free_zero_point=frozenset(),
        dynamic_sizes=False,
        unsigned=False,
        several_sizes=True,
        workspace_limit=True,
    )

    def require(self, precision: str, force: bool) -> None:
        check_precision(require_gpu("build an engine"), precision, force)
        check_types(str(installed()), precision)

    def build(
        self, model: Path, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        device = require_gpu("build an engine")
        version = _plan(model.read_bytes(), device, precision, shape, folder, folder.parent, options)
        return Built(precision, device.name, {"tensorrt": version, "cuda": device.cuda})

    def load(self, bundle: Bundle) -> Engine:
        check_built_for(bundle, require_gpu(f"load {bundle.path}"))
        from nstopt.engines.tensorrt.engine import TensorRTEngine

        return TensorRTEngine(bundle)

    def identity(self) -> str:
        device = require_gpu("measure layers")
        return f"tensorrt {installed()} {device.name} sm_{device.sm[0]}{device.sm[1]}"

    def compile(self, model: bytes) -> CompiledModel:
        device = require_gpu("compile a graph")
        from nstopt.engines.tensorrt.lowering import precision_of
        from nstopt.engines.tensorrt.session import Session

        make_folder(cache_folder())
        with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
            folder, fixed = Path(temporary), InputShape(None, None, None)
            _plan(model, device, precision_of(model), fixed, folder, cache_folder(), NO_OPTIONS)
            return Session((folder / "engine.plan").read_bytes())

    def default_form(self, layer: Layer, precision: str) -> str:
        """Where there are no INT8 transposed convolutions, they are plain ones, by phases."""
        if layer.kind == "transposed-conv" and is_quantized(precision):
            generation = architecture_of(require_gpu("choose forms of layers").sm)
            if generation is not None and not generation.has_int8_transposed_convolution:
                return "phase"
        return super().default_form(layer, precision)


def _plan(
    model: bytes,
    device: GpuDevice,
    precision: str,
    shape: InputShape,
    folder: Path,
    caches: Path,
    options: BuildOptions,
) -> str:
    """Check `model`, build its plan into `folder`, keep what was measured in `caches`; TensorRT's version."""
    from nstopt.engines.tensorrt.build import build_plan
    from nstopt.engines.tensorrt.lowering import ready
    from nstopt.engines.tensorrt.messages import BuildRequest

    with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
        file, cache = Path(temporary) / "model.onnx", (caches / timing_cache_name(device)).resolve()
        own_norms = options.own_norms and has_own_norm(str(installed()))
        file.write_bytes(ready(model, device.sm, own_norms))
        request = BuildRequest(
            model=str(file),
            folder=str(folder),
            precision=precision,
            sizes=tuple((shape.batch or 1, *size) for size in shape.sizes),
            workspace_mib=options.workspace_mib,
            timing_cache=str(cache),
        )
        return build_plan(request, folder, cache, options.progress)


BACKEND = TensorRTBackend()
