"""TorchScript on the CPU: the bundle holds model.ts, traced in the export. FP32 of any size; a reference to compare
with."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import torch

from nstopt.bundle import Bundle, ShapeInfo
from nstopt.engines.base import Backend, Built, Capabilities, Engine, Picture
from nstopt.errors import BuildError, DeviceError


class TorchScriptBackend(Backend):
    name = "torchscript"
    capabilities = Capabilities(
        precisions=frozenset({"fp32"}), symmetric_activations=False, dynamic_sizes=True, takes=".ts"
    )

    def build(self, model: Path, shape: ShapeInfo, precision: str, folder: Path) -> Built:
        shutil.copyfile(model, folder / "model.ts")
        try:
            torch.jit.load(folder / "model.ts", map_location="cpu")
        except RuntimeError as error:
            raise BuildError(f"torch {torch.__version__} cannot load {model}: {error}") from error
        return Built("fp32", f"CPU ({platform.machine()})", {"torch": torch.__version__})

    def load(self, bundle: Bundle) -> Engine:
        return TorchScriptEngine(bundle)


class TorchScriptEngine(Engine):
    """The traced module, run without gradients."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest)
        try:
            self._module = torch.jit.load(bundle.file("model.ts"), map_location="cpu")
        except RuntimeError as error:
            raise DeviceError(f"torch {torch.__version__} cannot load {bundle.path}: {error}") from error

    def _infer(self, images: Picture, out: Picture) -> None:
        try:
            with torch.inference_mode():
                torch.from_numpy(out).copy_(self._module(torch.from_numpy(images)))
        except RuntimeError as error:
            raise DeviceError(f"torch failed on pictures of shape {list(images.shape)}: {error}") from error

    def close(self) -> None:
        del self._module


BACKEND = TorchScriptBackend()
