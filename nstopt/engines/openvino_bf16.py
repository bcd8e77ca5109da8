"""BF16 in OpenVINO: whether this CPU has it, and what stays in FP32 for the picture's sake.

With the hint `bf16`, OpenVINO multiplies in BF16 and writes BF16 between layers. Sums, scales, shifts and the
statistics of norms are FP32 by themselves, and so is everything behind the last convolution. What remains is the sum
that a convolution rounds to BF16 before its norm: half of the error. So convolutions pass FP32 on to their norm: the
last one, and those that write few pixels, where the larger tensor costs little time.
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
# A tensor is small if it has at most this share of the picture's pixels. FP32 sums of a fast-style net cost 9% of its
# time where they are small, and 25% everywhere (docs/performance.md).
SMALL = 1 / 16
# Sides of the picture that shares are computed for where the model takes any size.
NOMINAL = (1, 256, 256, 3)
# OpenVINO keeps the type of a layer that has this entry.
KEEP_TYPE = "precise_0"


def is_native(core: ov.Core) -> bool:
    """Return True if this CPU multiplies in BF16 (AVX512-BF16 or AMX). OpenVINO then takes it without being asked; on
    other CPUs, it would emulate it."""
    return bool(core.get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16)


def keep_sums(model: ov.Model) -> None:
    """Mark the convolutions of an FP32 model that are to write FP32 in spite of the hint.

    A convolution writes the type of the last operator that is fused into it. So it gets an operator that changes
    nothing, a clamp to all finite numbers, which keeps its type, as does the norm that reads it."""
    shares = dict(_shares_of_picture(model))
    inner = _before_convolutions(model)
    for node in model.get_ordered_ops():
        if node.get_type_name() not in CONVOLUTIONS:
            continue
        readers = list(node.output(0).get_target_inputs())
        norms = [reader.get_node() for reader in readers if reader.get_node().get_type_name() == NORM]
        feeds_norms = len(norms) == len(readers) and shares[node.get_friendly_name()] <= SMALL
        if feeds_norms or node.get_friendly_name() not in inner:
            largest = float(np.finfo(np.float32).max)
            clamp = opset13.clamp(node, -largest, largest)
            for one in (clamp, *norms):
                one.get_rt_info()[KEEP_TYPE] = ""
            for reader in readers:
                reader.replace_source_output(clamp.output(0))


def _shares_of_picture(model: ov.Model) -> Iterator[tuple[str, float]]:
    """Yield each convolution's name and the pixels that it writes, as a share of the picture's."""
    if model.is_dynamic():
        model = model.clone()
        model.reshape(list(NOMINAL))
    _, height, width, _ = model.input(0).get_shape()
    for node in model.get_ordered_ops():
        if node.get_type_name() in CONVOLUTIONS:
            yield node.get_friendly_name(), prod(node.get_output_shape(0)[2:]) / (height * width)


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
