"""Pins the layers of a network that is not strongly typed (TensorRT 8) to the types of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Layers whose precision cannot be set.
UNTYPED_LAYERS = frozenset({"CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE", "IDENTITY"})
NAMES = {"fp32": "FLOAT", "fp16": "HALF"}


def pin(network: Any, trt: Any, types: Mapping[str, str]) -> None:
    """Set precision and output types of the layers of a network as `types` has them by tensor name.

    TensorRT's own types are no guide: a tensor is kFLOAT until somebody sets its type. The parser names the last tensor
    of a node after the node's output; those before it, inside the node, get the same type.
    """
    wanted = None
    for index in reversed(range(network.num_layers)):
        layer = network.get_layer(index)
        outputs = [layer.get_output(number) for number in range(layer.num_outputs)]
        wanted = next((types[out.name] for out in outputs if out.name in types), wanted)
        if wanted not in NAMES or layer.type.name in UNTYPED_LAYERS:
            continue
        kind = getattr(trt.DataType, NAMES[wanted])
        for number, out in enumerate(outputs):
            if out.dtype in (trt.DataType.FLOAT, trt.DataType.HALF):
                layer.precision = kind
                layer.set_output_type(number, kind)
