"""INT8 quantization of a graph, as QuantizeLinear/DequantizeLinear (Q/DQ) pairs.

    x ─ Conv(w)   ⇒   int8:      x ─ Q ─ DQ ─ Conv(DQ(w as int8))
                      int8-out:  x ─ Q ─ DQ ─ Conv(DQ(w as int8)) ─ Q ─ DQ
                      int8x2:    h = DQ(Q(x));  Conv(h) + Conv(DQ(Q(x - h)))        both with DQ(w as int8)

The inputs of convolutions are quantized: activations (8 bits, one scale) and weights (int8, a scale per output
channel). A Q/DQ pair goes before the paddings of a convolution, which then move bytes instead of floats.

A layer may write INT8 too (`int8-out`), if only a norm reads it (sums.py).

A layer whose input needs more than 8 bits (`int8x2`) gets a second INT8 convolution on the rounding error of the first
one's input: 16 bits for twice the time, where FP32 takes four times as long.

A range with an offset c quantizes x - c. A zero padding then pads with -c, a convolution's own zero padding becomes a
Pad, and the bias gets c times the sum of the weights: the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxscript import ir
from onnxscript.ir.passes.common import RemoveUnusedNodesPass

from nstopt.calib.ranges import SIGNED_LEVELS, QuantParams, symmetric
from nstopt.calib.rounding import nearest
from nstopt.graph.nodes import attribute, clone, initializers, multiplying, producers

Array = NDArray[Any]
# Levels of a quantized convolution: one INT8 convolution, one that writes INT8 too, or two.
INT8_OUT = "int8-out"
INT8_LEVELS = ("int8", INT8_OUT, "int8x2")
# (convolution, weight, scale that broadcasts to it) → integers of the weight's shape.
RoundWeight = Callable[[onnx.NodeProto, Array, Array], NDArray[np.int8]]


def to_nearest(node: onnx.NodeProto, weight: Array, scale: Array) -> NDArray[np.int8]:
    """Round each weight of a convolution to the nearest integer."""
    return nearest(weight, scale)


def quantized_tensors(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the tensors that get a Q/DQ pair, in graph order, with the convolutions that read them."""
    made_by = producers(graph)
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in multiplying(graph):
        tensor = node.input[0] if not (pads := _pads_before(node, made_by)) else pads[0].input[0]
        found.setdefault(tensor, []).append(node)
    return found


def _pads_before(node: onnx.NodeProto, made_by: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the Pads between a convolution and the tensor to quantize, in order of execution.

    Repeating or mirroring values, or adding zeros, does not change a range that contains 0.
    """
    pads: list[onnx.NodeProto] = []
    while (before := made_by.get(node.input[0])) is not None and before.op_type == "Pad":
        pads.insert(0, before)
        node = before
    return pads


def quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, QuantParams],
    levels: Mapping[str, str] | None = None,
    round_weight: RoundWeight = to_nearest,
) -> onnx.ModelProto:
    """Return a copy of FP32 `model` whose convolutions multiply in INT8.

    `ranges` has an entry for each of `quantized_tensors`, and for what layers of `int8-out` write. `levels` maps
    convolutions by name to one of INT8_LEVELS, by default int8, or to another type, which leaves the convolution as it
    is. `round_weight` rounds the weights of a convolution.
    """
    model = clone(model)
    writer = _Writer(model.graph, ranges, round_weight)
    weighted = {node.name for node in multiplying(model.graph)}
    for node in list(model.graph.node):
        if node.name in weighted and (level := (levels or {}).get(node.name, "int8")) in INT8_LEVELS:
            writer.write_quantized(node, level)
        else:
            writer.write_plain(node)
    del model.graph.node[:]
    model.graph.node.extend(writer.nodes)
    graph = ir.from_proto(model)
    RemoveUnusedNodesPass()(graph)  # float weights, and the Pads whose copies now pad bytes
    quantized: onnx.ModelProto = ir.to_proto(graph)
    onnx.checker.check_model(quantized)
    return quantized


class _Writer:
    """Writer of the quantized node list. A tensor is quantized and padded once for all its readers."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, QuantParams], round_weight: RoundWeight) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._ranges, self._round = graph, ranges, round_weight
        self._made_by, self._constants = producers(graph), initializers(graph)
        self._done: set[str] = set()
        self._rounded: dict[str, str] = {}  # what layers of `int8-out` write → its name once it is dequantized

    def write_plain(self, node: onnx.NodeProto) -> None:
        """Add a node that is not quantized."""
        copy = _copy(node)
        copy.input[:] = [self._rounded.get(name, name) for name in node.input]
        self.nodes.append(copy)

    def write_quantized(self, node: onnx.NodeProto, level: str) -> None:
        """Add a convolution at one of INT8_LEVELS."""
        pads = _pads_before(node, self._made_by)
        source = pads[0].input[0] if pads else node.input[0]
        params = self._ranges[source]
        weight, sums = self._quantized_weight(node)
        first = _copy(node)
        shifted = self._shift(source, params.offset)
        self._pair(shifted, source, params)
        first.input[0], first.input[1] = self._pad(pads, f"{source}_dq", -params.offset), weight
        if params.offset:
            self._absorb_offset(first, params.offset, sums)
        self.nodes.append(first)
        if level == "int8x2":
            self._write_residual(node, first, pads, shifted, source)
        elif level == INT8_OUT:
            (written,) = node.output
            self._pair(written, written, self._ranges[written])
            self._rounded[written] = f"{written}_dq"

    def _write_residual(
        self, node: onnx.NodeProto, first: onnx.NodeProto, pads: list[onnx.NodeProto], shifted: str, source: str
    ) -> None:
        """Add a second convolution on the rounding error of the input. The padded constant has no error, so the error
        is padded with 0."""
        if f"{source}_rest" not in self._done:
            self._done.add(f"{source}_rest")
            self._add("Sub", [shifted, f"{source}_dq"], f"{source}_rest")
            self._pair(f"{source}_rest", f"{source}_rest", symmetric(self._ranges[source].scale / 2))
        rest, out = _copy(node), node.output[0]
        del rest.input[2:]  # the bias is in the first one
        rest.name, rest.output[0], first.output[0] = f"{node.name}#rest", f"{out}_low", f"{out}_high"
        rest.input[0], rest.input[1] = self._pad(pads, f"{source}_rest_dq", 0.0), first.input[1]
        self.nodes.append(rest)
        self._add("Add", [f"{out}_high", f"{out}_low"], out, f"{node.name}#sum")

    def _shift(self, tensor: str, offset: float) -> str:
        """Return the name of the tensor minus the offset."""
        if offset == 0:
            return tensor
        shifted = f"{tensor}_shifted"
        if shifted not in self._done:
            self._done.add(shifted)
            self._add("Sub", [tensor, self._constant(np.array(offset, np.float32), f"{tensor}_offset")], shifted)
        return shifted

    def _pad(self, pads: list[onnx.NodeProto], current: str, value: float) -> str:
        """Apply copies of the Pads to the quantized tensor `current` and return the name of the result.

        Constant Pads add `value`, the shifted zero, to their constant.
        """
        for pad in pads:
            padded = f"{pad.output[0]}_of_{current}"
            if padded not in self._done:
                self._done.add(padded)
                copy = _copy(pad)
                copy.name, copy.input[0], copy.output[0] = padded, current, padded
                if value and attribute(pad, "mode", b"constant") == b"constant":
                    inputs = [*copy.input, ""]
                    own: Array = self._constants.get(inputs[2], np.zeros(()))
                    inputs[2] = self._constant((own + value).astype(np.float32), f"{padded}_value")
                    copy.input[:] = [name for name in inputs if name]
                self.nodes.append(copy)
            current = padded
        return current

    def _absorb_offset(self, node: onnx.NodeProto, offset: float, sums: Array) -> None:
        """Add offset * weight sums to the bias of a convolution that reads x - offset, and write its own zero padding
        as a Pad with -offset."""
        own = attribute(node, "pads", [0, 0, 0, 0])
        if any(own):
            amounts = np.array([0, 0, *own[:2], 0, 0, *own[2:]], np.int64)
            value = self._constant(np.array(-offset, np.float32), f"{node.name}_padding")
            padded = f"{node.name}_padded"
            self._add("Pad", [node.input[0], self._constant(amounts, f"{node.name}_pads"), value], padded)
            node.input[0] = padded
            next(a for a in node.attribute if a.name == "pads").ints[:] = [0] * len(own)
        bias: Array = self._constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(())
        del node.input[2:]
        node.input.append(self._constant((bias + offset * sums).astype(np.float32), f"{node.name}_bias"))

    def _pair(self, tensor: str, name: str, params: QuantParams) -> None:
        """Add a Q/DQ pair: `tensor` → `name`_q → `name`_dq."""
        if f"{name}_dq" in self._done:
            return
        self._done.add(f"{name}_dq")
        scale = self._constant(np.array(params.scale, np.float32), f"{name}_scale")
        kind = np.int8 if params.signed else np.uint8
        zero = self._constant(np.array(params.zero_point, kind), f"{name}_zero_point")
        self._add("QuantizeLinear", [tensor, scale, zero], f"{name}_q")
        self._add("DequantizeLinear", [f"{name}_q", scale, zero], f"{name}_dq")

    def _quantized_weight(self, node: onnx.NodeProto) -> tuple[str, Array]:
        """Add the weights as symmetric int8 with a scale per output channel: axis 0 of a convolution, axis 1 of a
        transposed one.

        Returns the name of the dequantized weights and the sum of each output channel's rounded weights [C].
        """
        weight: NDArray[np.float32] = self._constants[node.input[1]].astype(np.float32)
        axis = 0 if node.op_type == "Conv" else 1
        others = tuple(i for i in range(weight.ndim) if i != axis)
        peak = np.abs(weight).max(axis=others, keepdims=True)
        scale = np.where(peak > 0, peak / SIGNED_LEVELS, 1).astype(np.float32)
        integers = self._round(node, weight, scale)
        key = f"{node.name}_weight"
        parts = [
            self._constant(integers, f"{key}_q"),
            self._constant(scale.ravel(), f"{key}_scale"),
            self._constant(np.zeros(scale.size, np.int8), f"{key}_zero_point"),
        ]
        self._add("DequantizeLinear", parts, f"{key}_dq", axis=axis)
        return f"{key}_dq", integers.sum(axis=others, dtype=np.int64) * scale.ravel().astype(np.float64)

    def _add(self, operator: str, inputs: list[str], output: str, name: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name or output, **attributes))

    def _constant(self, array: Array, name: str) -> str:
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
