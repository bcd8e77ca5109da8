"""Run an ONNX graph in ONNX Runtime, for the parity check."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.errors import ExportError, first_line
from nstopt.ort import ORT_ERRORS, VERSION, session


class OnnxRun:
    """A graph of one input and one output in ONNX Runtime, as a function of one array. Messages call it `name`."""

    def __init__(self, name: str, model: onnx.ModelProto) -> None:
        """Raises ExportError if ONNX Runtime cannot load the graph."""
        self._name = name
        try:
            self._session = session(model.SerializeToString())
        except ORT_ERRORS as error:
            raise ExportError(f"ONNX Runtime {VERSION} cannot load {name}: {first_line(error)}") from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Run the graph on `array`. Raises ExportError if it fails, such as on an array of this shape."""
        try:
            result: NDArray[Any] = self._session.run(None, {self._input: array})[0]
        except ORT_ERRORS as error:
            raise ExportError(
                f"ONNX Runtime cannot run {self._name} on an array of shape {list(array.shape)}: {first_line(error)}; "
                "if the net takes certain sizes only, state them with --res or --multiple"
            ) from error
        return np.asarray(result)
