"""BF16 in OpenVINO: whether this CPU has it, and what stays in FP32 for the picture's sake.

With the hint `bf16`, OpenVINO multiplies in BF16 and writes BF16 between layers. Sums, scales, shifts and the
statistics of norms are FP32 by themselves, and so is everything behind the last convolution. What remains is the sum
that a convolution rounds to BF16 before its norm: half of the error. So convolutions pass FP32 on to their norm: the
last one always, and others as far as the build asks for it, since the larger tensors cost time.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13

CONVOLUTIONS = ("Convolution", "GroupConvolution")
TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
NORM = "MVN"
# What a bias is before OpenVINO folds constants.
BIASES = ("Constant", "Reshape")
# Pictures that sizes are compared for where the model takes any.
NOMINAL = (1, 256, 256, 3)
# OpenVINO keeps the type of a layer that has this entry.
KEEP_TYPE = "precise_0"


def is_native(core: ov.Core) -> bool:
    """Return True if this CPU multiplies in BF16 (AVX512-BF16 or AMX). OpenVINO then takes it without being asked; on
    other CPUs, it would emulate it."""
    return bool(core.get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16)


def keep_sums(model: ov.Model, count: int) -> None:
    """Mark the convolutions of an FP32 model that are to write FP32 in spite of the hint: the last one, and `count` of
    those that norms read, first those that write the fewest numbers.

    A convolution writes the type of the last operator that is fused into it. So it gets an operator that changes
    nothing, a clamp to all finite numbers, which keeps its type, as does the norm that reads it."""
    sums = [_sum_of(node) for node in model.get_ordered_ops() if node.get_type_name() in CONVOLUTIONS]
    inner, sizes = _before_convolutions(model), dict(_sizes(model))
    normed = [node for node in sums if all(one.get_type_name() == NORM for one in _readers(node))]
    smallest = sorted(normed, key=lambda node: sizes[node.get_friendly_name()])[:count]
    last = [node for node in sums if node.get_friendly_name() not in inner]
    for node in (*smallest, *(one for one in last if one not in smallest)):
        norms = [reader for reader in _readers(node) if reader.get_type_name() == NORM]
        for one in (_clamp(node), *norms):
            one.get_rt_info()[KEEP_TYPE] = ""


def write_bf16(model: ov.Model) -> None:
    """Let the INT8 transposed convolutions of a model write BF16. By themselves they write FP32, which OpenVINO then
    converts in a pass of its own; a fused operator gives its type to what they write."""
    for node in model.get_ordered_ops():
        if node.get_type_name() in TRANSPOSED and node.input_value(1).get_node().get_type_name() != "Constant":
            _clamp(node)


def _clamp(node: Any) -> Any:
    """Put an operator that changes nothing behind a node, a clamp to all finite numbers, and return it."""
    ports = list(node.output(0).get_target_inputs())
    largest = float(np.finfo(np.float32).max)
    clamp = opset13.clamp(node, -largest, largest)
    for port in ports:
        port.replace_source_output(clamp.output(0))
    return clamp


def _sum_of(convolution: Any) -> Any:
    """Return the node that gives the whole sum of a convolution: the addition of its bias, or the convolution."""
    readers = _readers(convolution)
    if len(readers) == 1 and readers[0].get_type_name() == "Add":
        others = {port.get_node().get_type_name() for port in readers[0].input_values()}
        return readers[0] if others <= {*BIASES, *CONVOLUTIONS} else convolution
    return convolution


def _readers(node: Any) -> list[Any]:
    """Return the nodes that read a node's numbers, not only their shape."""
    readers = (port.get_node() for port in node.output(0).get_target_inputs())
    return [reader for reader in readers if reader.get_type_name() != "ShapeOf"]


def _sizes(model: ov.Model) -> Iterator[tuple[str, int]]:
    """Yield the name of each convolution's sum and its count of numbers."""
    if model.is_dynamic():
        model = model.clone()
        model.reshape(list(NOMINAL))
    for node in model.get_ordered_ops():
        if node.get_type_name() in CONVOLUTIONS:
            yield _sum_of(node).get_friendly_name(), prod(node.get_output_shape(0))


def _before_convolutions(model: ov.Model) -> set[str]:
    """Return the names of all nodes that a convolution depends on."""
    found: set[str] = set()
    waiting: list[Any] = [node for node in model.get_ops() if node.get_type_name() in (*CONVOLUTIONS, *TRANSPOSED)]
    while waiting:
        for port in waiting.pop().input_values():
            before = port.get_node()
            if before.get_friendly_name() not in found:
                found.add(before.get_friendly_name())
                waiting.append(before)
    return found
