"""OpenVINO: the default on a CPU. The bundle holds model.xml and model.bin, which any OpenVINO program can load."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import openvino as ov

from nstopt.bundle import Bundle, ShapeInfo
from nstopt.engines.base import Backend, Built, Capabilities, Engine, Picture
from nstopt.errors import BuildError, DeviceError

# Without this hint OpenVINO computes in BF16 where the CPU has it, which is not what was asked for.
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVINOBackend(Backend):
    name = "openvino"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}), free_zero_point=frozenset({"Conv"}), dynamic_sizes=True
    )

    def build(self, model: Path, shape: ShapeInfo, precision: str, folder: Path) -> Built:
        core = ov.Core()
        try:
            graph = core.read_model(model)
            core.compile_model(graph, "CPU", CONFIG)
            ov.save_model(graph, folder / "model.xml", compress_to_fp16=False)
        except RuntimeError as error:
            raise BuildError(f"OpenVINO {ov.__version__} cannot compile {model.name}: {_reason(error)}") from error
        device = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        return Built("int8" if precision == "int8" else "fp32", device, {"openvino": ov.__version__.split("-")[0]})

    def load(self, bundle: Bundle) -> Engine:
        return OpenVINOEngine(bundle)


class OpenVINOEngine(Engine):
    """One compiled model and one infer request, which reads and writes the caller's arrays in place."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest)
        try:
            core = ov.Core()
            self._model = core.compile_model(core.read_model(bundle.file("model.xml")), "CPU", CONFIG)
            self._request: Any = self._model.create_infer_request()
        except RuntimeError as error:
            raise DeviceError(
                f"OpenVINO on {platform.machine()} cannot load {bundle.path}: {_reason(error)}"
            ) from error

    def _infer(self, images: Picture, out: Picture) -> None:
        self._request.set_input_tensor(ov.Tensor(images, shared_memory=True))
        self._request.set_output_tensor(ov.Tensor(out, shared_memory=True))
        try:
            self._request.infer()
        except RuntimeError as error:
            raise DeviceError(f"OpenVINO failed on pictures of shape {list(images.shape)}: {_reason(error)}") from error

    def close(self) -> None:
        del self._request, self._model


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's message: the ones before it are its own source lines."""
    return str(error).strip().splitlines()[-1]


BACKEND = OpenVINOBackend()
