"""TorchScript on the CPU: the bundle holds model.ts, traced in the export. FP32 of any size; a reference to compare
with."""

from __future__ import annotations

import platform
import shutil
import warnings
from pathlib import Path

import torch

from nstopt.bundle import Bundle, InputShape
from nstopt.engines.base import NO_OPTIONS, Backend, BuildOptions, Built, Capabilities, Engine, Picture
from nstopt.errors import BuildError, DeviceError


class TorchScriptBackend(Backend):
    name = "torchscript"
    capabilities = Capabilities(
        precisions=frozenset({"fp32"}), free_zero_point=frozenset(), dynamic_sizes=True, takes=".ts"
    )

    def build(
        self, model: Path, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        shutil.copyfile(model, folder / "model.ts")
        try:
            _load(folder / "model.ts")
        except RuntimeError as error:
            raise BuildError(f"torch {torch.__version__} cannot load {model}: {error}") from error
        return Built("fp32", f"CPU ({platform.machine()})", {"torch": str(torch.__version__)})

    def load(self, bundle: Bundle) -> Engine:
        return TorchScriptEngine(bundle)


class TorchScriptEngine(Engine):
    """The traced module, run without gradients."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest)
        try:
            self._module = _load(bundle.file("model.ts"))
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


def _load(path: Path) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # torch.jit is deprecated as a way to write new programs; existing files still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")
    return module


BACKEND = TorchScriptBackend()
