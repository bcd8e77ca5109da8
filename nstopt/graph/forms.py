"""Layers that have several equal forms: which ones there are, and which one is taken when nothing was measured.

`plain` leaves the layer as it is; what the others are is told by the rule of that kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import onnx

from nstopt.graph import examples
from nstopt.graph.rule import Layer
from nstopt.graph.rules import (
    few_channel_norm,
    few_inputs,
    few_outputs,
    subpixel_conv,
    transposed_conv,
    upsample_conv,
    winograd,
)


class Choice(NamedTuple):
    """The forms of one kind of layer, its default on each backend (else `plain`), and a graph to time it on. Forms for
    FP32 only have sums between their parts that INT8 would round, and FP16 too coarsely."""

    forms: tuple[str, ...]
    defaults: dict[str, str]
    example: Callable[[tuple[int, ...]], onnx.ModelProto]
    is_fp32_only: bool = False


# The defaults are what won where it was measured: see docs/performance.md. Those of TensorRT are predicted, not
# measured: docs/gpu.md says why each was chosen.
CHOICES: dict[str, Choice] = {
    upsample_conv.KIND: Choice(
        ("plain", "transposed", "phase"),
        {"openvino": "transposed", "onnxruntime": "transposed", "tensorrt": "phase"},
        examples.upsample_conv,
    ),
    transposed_conv.KIND: Choice(("plain", "phase"), {}, examples.transposed_conv),
    subpixel_conv.KIND: Choice(("plain", "transposed"), {}, examples.subpixel_conv),
    few_outputs.KIND: Choice(
        ("plain", "phase", "split"),
        {"openvino": "phase", "onnxruntime": "phase", "tensorrt": "phase"},
        examples.few_outputs,
    ),
    few_inputs.KIND: Choice(("plain", "phase"), {}, examples.few_inputs),
    winograd.KIND: Choice(("plain", "winograd"), {}, examples.wide_conv, is_fp32_only=True),
    few_channel_norm.KIND: Choice(("plain", "means"), {"openvino": "means"}, examples.few_channel_norm),
}


def default_form(layer: Layer, backend: str) -> str:
    """The form that a layer takes on a backend when nothing was measured."""
    return CHOICES[layer.kind].defaults.get(backend, "plain")
