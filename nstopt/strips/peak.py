"""The memory that a graph needs at once."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

# Runtimes hold more than the tensors that are alive: copies in other layouts, and buffers that are not reused.
OVERHEAD = 1.5
BLOCK, COLORS = 16, 3


def peak_bytes(model: onnx.ModelProto) -> int:
    """Return an estimate of the bytes that a graph of fixed sizes needs for its tensors at once, without weights."""
    graph = model.graph
    sizes = {value.name: _bytes(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    last_read = {name: index for index, node in enumerate(graph.node) for name in node.input}
    kept = {value.name for value in (*graph.input, *graph.output)}
    alive = sum(sizes[name] for name in kept)
    peak = alive
    for index, node in enumerate(graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output if name not in kept)
        peak = max(peak, alive)
        alive -= sum(sizes.get(name, 0) for name in {*node.input} - kept if last_read[name] == index)
    return int(peak * OVERHEAD)


def _bytes(value: onnx.ValueInfoProto) -> int:
    """Return the size of a tensor. Runtimes hold channels in blocks, but for those of pictures."""
    tensor = value.type.tensor_type
    sides: list[int] = [dim.dim_value for dim in tensor.shape.dim]
    if len(sides) == 4 and sides[1] > COLORS:
        sides[1] = -(-sides[1] // BLOCK) * BLOCK
    return prod(sides) * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).itemsize)
