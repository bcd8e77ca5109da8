"""An ONNX graph as a function of one array, for the parity check."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.errors import ExportError
from nstopt.ort import ORT_ERRORS, VERSION, session


class OnnxRun:
    """A graph of one input and one output in ONNX Runtime. `name` is what messages call it."""

    def __init__(self, name: str, model: onnx.ModelProto) -> None:
        """Raises ExportError if ONNX Runtime does not take the graph."""
        self._name = name
        try:
            self._session = session(model.SerializeToString())
        except ORT_ERRORS as error:
            raise ExportError(f"ONNX Runtime {VERSION} cannot load {name}: {_one_line(error)}") from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Raises ExportError if the graph fails on an array of this shape."""
        try:
            result: NDArray[Any] = self._session.run(None, {self._input: array})[0]
        except ORT_ERRORS as error:
            raise ExportError(
                f"ONNX Runtime cannot run {self._name} on an array of shape {list(array.shape)}: {_one_line(error)}; "
                "if the net takes certain sizes only, state them with --res or --multiple"
            ) from error
        return np.asarray(result)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
