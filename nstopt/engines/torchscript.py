"""TorchScript on the CPU, FP32, any size: a reference to compare with. The bundle holds model.ts, as the export traced
it."""

from __future__ import annotations

import io
import platform
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import torch

from nstopt.engines.backend import NO_OPTIONS, Backend, BuildOptions, Built, Capabilities, Source
from nstopt.engines.engine import Engine
from nstopt.errors import BuildError, BundleError, DeviceError, first_line
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture
from nstopt.pictures.size import MIN_SIDE, Size

MODEL = "model.ts"
LEAST = Size(MIN_SIDE, MIN_SIDE)
# torch raises RuntimeError, its interpreter torch.jit.Error, and its binding built-in errors for other types.
TORCH_ERRORS = (RuntimeError, torch.jit.Error, ValueError, TypeError, IndexError)


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
        except TORCH_ERRORS as error:
            raise BuildError(
                f"torch {torch.__version__} cannot load {source.torchscript}: {first_line(error)}"
            ) from error
        return Built("fp32", f"CPU ({platform.machine()})", {"torch": str(torch.__version__)})

    def load(self, files: Mapping[str, bytes], shape: InputShape, name: str) -> Engine:
        return TorchScriptEngine(files[MODEL], shape, name)

    def identity(self) -> str:
        return f"torchscript {torch.__version__} {platform.machine()}"


class TorchScriptEngine(Engine):
    """The traced module, run without gradients."""

    def __init__(self, program: bytes, shape: InputShape, name: str) -> None:
        """Raises DeviceError if torch cannot load the program, BundleError if it does not give pictures."""
        super().__init__(shape, name)
        try:
            self._module = _load(io.BytesIO(program))
        except TORCH_ERRORS as error:
            raise DeviceError(f"torch {torch.__version__} cannot load {name}: {first_line(error)}") from error
        # A program does not state what it takes and gives: run it once.
        try:
            self(np.zeros((shape.batch or 1, *(shape.sizes.only or LEAST), 3), np.uint8))
        except DeviceError as error:
            raise BundleError(f"{error}: not the engine that its manifest states; build the engine again") from error

    def _infer(self, images: Picture, out: Picture) -> None:
        try:
            with torch.inference_mode():
                result = self._module(torch.from_numpy(images))
        except TORCH_ERRORS as error:
            raise self._failed(images, first_line(error)) from error
        if not isinstance(result, torch.Tensor) or (result.dtype, result.shape) != (torch.uint8, images.shape):
            found = f"{result.dtype} {list(result.shape)}" if isinstance(result, torch.Tensor) else f"a {type(result)}"
            raise self._failed(images, f"it gave {found}")
        torch.from_numpy(out).copy_(result)

    def _failed(self, images: Picture, reason: str) -> DeviceError:
        return DeviceError(f"{self.name}: torch failed on uint8 pictures of shape {list(images.shape)}: {reason}")

    def close(self) -> None:
        del self._module


def _load(program: Path | IO[bytes]) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # torch.jit is deprecated for new programs; existing files still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module: torch.jit.ScriptModule = torch.jit.load(program, map_location="cpu")
    return module


BACKEND = TorchScriptBackend()
