"""Work of each layer of an ONNX graph with shapes: multiply-adds, bytes read and written.

Each layer of the graph counts by itself. A backend that fuses an activation into the convolution before it moves fewer
bytes than stated here. The numbers serve to compare two graphs, and as lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import NamedTuple

import numpy as np
import onnx

from nstopt.graph.nodes import CONVOLUTIONS, attribute, dequantized
from nstopt.graph.work import Work, convolution_macs

# Operators without cost: they rename bytes, return a number about a tensor, or are known before the graph runs.
FREE = frozenset(
    {"Constant", "ConstantOfShape", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"}
)
MATRIX_PRODUCTS = frozenset({"Gemm", "MatMul"})
# Types that are multiplied, by bytes of a number.
TYPES = {1: "int8", 2: "fp16", 4: "fp32"}


class LayerCost(NamedTuple):
    """Work of one layer. `shape` is its first output's; a free dimension is None, and counts as 1."""

    name: str
    op: str
    shape: tuple[int | None, ...]
    work: Work


class Total(NamedTuple):
    """Sums over layers, of multiply-adds and of bytes read and written."""

    layers: int
    macs: int
    bytes_moved: int


class _Tensor(NamedTuple):
    shape: tuple[int | None, ...]
    item_bytes: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(side or 1 for side in self.shape)

    @property
    def bytes(self) -> int:
        return prod(self.sizes) * self.item_bytes


def costs(model: onnx.ModelProto) -> list[LayerCost]:
    """Return the work of the layers of `model` (shapes inferred) in graph order, without layers that cost nothing.

    A layer has its node's name, or its first output's if the node has none.
    """
    graph = model.graph
    tensors = _tensors(graph)
    integers = dequantized(graph)  # a reader of a dequantized tensor reads its integers
    return [
        _cost(node, tensors, integers)
        for node in graph.node
        if node.op_type not in FREE and node.output[0] not in integers
    ]


def total(layers: Iterable[LayerCost]) -> Total:
    """Return the number of layers and the sums of their work."""
    works = [layer.work for layer in layers]
    return Total(len(works), sum(work.macs for work in works), sum(work.bytes_moved for work in works))


def _cost(node: onnx.NodeProto, tensors: Mapping[str, _Tensor], integers: Mapping[str, str]) -> LayerCost:
    names = dict.fromkeys(integers.get(name, name) for name in node.input if name)
    read = [tensors[name] for name in names if name in tensors]
    written = [tensors[name] for name in node.output if name in tensors]
    multiplied = [integers.get(name, name) for name in node.input[:2]]
    macs = _macs(node, [tensors[name].sizes for name in multiplied if name in tensors], written)
    work = Work(
        macs=macs,
        bytes_read=sum(tensor.bytes for tensor in read),
        bytes_written=sum(tensor.bytes for tensor in written),
        type=TYPES.get(max(tensors[name].item_bytes for name in multiplied), "fp32") if macs else "fp32",
    )
    shape = written[0].shape if written else ()
    return LayerCost(node.name or node.output[0], node.op_type, shape, work)


def _macs(node: onnx.NodeProto, operands: list[tuple[int, ...]], written: list[_Tensor]) -> int:
    if len(operands) < 2 or not written:
        return 0
    source, weight = operands
    if node.op_type in CONVOLUTIONS:
        return convolution_macs(weight, source, written[0].sizes, node.op_type == "ConvTranspose")
    if node.op_type in MATRIX_PRODUCTS:
        return prod(written[0].sizes) * source[-2 if attribute(node, "transA", 0) else -1]
    return 0


def _tensors(graph: onnx.GraphProto) -> dict[str, _Tensor]:
    """Return every tensor whose shape is recorded, by name."""
    found = {weight.name: _Tensor(tuple(weight.dims), _item_bytes(weight.data_type)) for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            shape = tuple(dim.dim_value or None for dim in tensor.shape.dim)
            found[value.name] = _Tensor(shape, _item_bytes(tensor.elem_type))
    return found


def _item_bytes(data_type: int) -> int:
    return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize)
