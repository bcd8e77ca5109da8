"""TorchScript on the CPU, FP32, any size: a reference to compare with. The bundle holds model.ts, as the export traced
it."""

from __future__ import annotations

import platform
import shutil
import warnings
from pathlib import Path

import torch

from nstopt.engines.base import NO_OPTIONS, Backend, BuildOptions, Built, Capabilities, Engine, Source
from nstopt.errors import BuildError, DeviceError
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture

MODEL = "model.ts"


class TorchScriptBackend(Backend):
    name = "torchscript"
    capabilities = Capabilities(precisions=frozenset({"fp32"}), files=(MODEL,), compiles_onnx=False)

    def build(
        self, source: Source, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        if source.torchscript is None:
            raise BuildError("the torchscript backend needs a TorchScript file")
        shutil.copyfile(source.torchscript, folder / MODEL)
        try:
            _load(folder / MODEL)
        except RuntimeError as error:
            raise BuildError(f"torch {torch.__version__} cannot load {source.torchscript}: {error}") from error
        return Built("fp32", f"CPU ({platform.machine()})", {"torch": str(torch.__version__)})

    def load(self, folder: Path, shape: InputShape) -> Engine:
        return TorchScriptEngine(folder / MODEL, shape)

    def identity(self) -> str:
        return f"torchscript {torch.__version__} {platform.machine()}"


class TorchScriptEngine(Engine):
    """The traced module, run without gradients."""

    def __init__(self, path: Path, shape: InputShape) -> None:
        super().__init__(shape)
        try:
            self._module = _load(path)
        except RuntimeError as error:
            raise DeviceError(f"torch {torch.__version__} cannot load {path}: {error}") from error

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
        # torch.jit is deprecated for new programs; existing files still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")
    return module


BACKEND = TorchScriptBackend()
