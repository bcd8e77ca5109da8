"""INT8 into the graph, as QuantizeLinear/DequantizeLinear pairs.

    x ─ Conv(w)   ⇒   int8:    x ─ Q ─ DQ ─ Conv(DQ(w as int8))
                      int8x2:  h = DQ(Q(x));  Conv(h) + Conv(DQ(Q(x - h)))        both with DQ(w as int8)

Only what a convolution reads is quantized: its input (8 bits, one scale) and its weights (int8, a scale per output
channel). Quantizing its output too, before the norm that follows, costs 10–20 dB on style nets. Where a padding stands
before the convolution, the pair goes before the padding, which then moves bytes instead of floats.

A layer whose input needs more than 8 bits gets them from a second INT8 convolution on what the first one's rounding
left: sixteen bits for twice the time, where FP32 takes four times as long.

A range with an offset c quantizes x - c. What is padded with zeros is then padded with -c, the zeros that a convolution
pads by itself are written as a padding, and its bias gets c times the sum of its weights: the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nstopt.calib.ranges import SIGNED_LEVELS, QuantParams, symmetric
from nstopt.calib.rounding import nearest
from nstopt.graph.nodes import clone, initializers, multiplying, producers

Array = NDArray[Any]
# (convolution, weight, scale that broadcasts to it) → its integers.
Round = Callable[[onnx.NodeProto, Array, Array], NDArray[np.int8]]


def to_nearest(node: onnx.NodeProto, weight: Array, scale: Array) -> NDArray[np.int8]:
    """Each weight by itself."""
    return nearest(weight, scale)


def quantized_tensors(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The tensors that get a Q/DQ pair, in graph order, with the convolutions that read them."""
    made_by = producers(graph)
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in multiplying(graph):
        tensor = node.input[0] if not (pads := _pads_before(node, made_by)) else pads[0].input[0]
        found.setdefault(tensor, []).append(node)
    return found


def _pads_before(node: onnx.NodeProto, made_by: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The paddings that a convolution reads through, in the way of the data. Repeating or mirroring values, or adding
    zeros, leaves a range that contains 0 as it is."""
    pads: list[onnx.NodeProto] = []
    while (before := made_by.get(node.input[0])) is not None and before.op_type == "Pad":
        pads.insert(0, before)
        node = before
    return pads


def quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, QuantParams],
    levels: Mapping[str, str] | None = None,
    round_weight: Round = to_nearest,
) -> onnx.ModelProto:
    """A copy of FP32 `model` in which the convolutions multiply INT8.

    `ranges` has an entry for each of `quantized_tensors`; `levels` gives the level of convolutions by name, one of
    int8, int8x2, fp32; `int8` where it says nothing. `round_weight` makes the integers of a convolution's weights.
    """
    model = clone(model)
    writer = _Writer(model.graph, ranges, round_weight)
    weighted = {node.name for node in multiplying(model.graph)}
    for node in list(model.graph.node):
        level = (levels or {}).get(node.name, "int8") if node.name in weighted else "fp32"
        writer.write(node, level)
    del model.graph.node[:]
    model.graph.node.extend(_alive(writer.nodes, {value.name for value in model.graph.output}))
    _drop_unread(model.graph)
    onnx.checker.check_model(model)
    return model


class _Writer:
    """Writes the new node list. A tensor is quantized, and padded, once for all that read it."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, QuantParams], round_weight: Round) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._ranges, self._round = graph, ranges, round_weight
        self._made_by, self._constants = producers(graph), initializers(graph)
        self._done: set[str] = set()

    def write(self, node: onnx.NodeProto, level: str) -> None:
        if level == "fp32":
            self.nodes.append(node)
            return
        pads = _pads_before(node, self._made_by)
        source = pads[0].input[0] if pads else node.input[0]
        found = self._ranges[source]
        weight, sums = self._quantized_weight(node)
        first = _copy(node)
        shifted = self._shift(source, found.offset)
        self._pair(shifted, source, found)
        first.input[0], first.input[1] = self._pad(pads, f"{source}_dq", -found.offset), weight
        if found.offset:
            self._give_back(first, found.offset, sums)
        self.nodes.append(first)
        if level == "int8x2":
            self._write_rest(node, first, pads, shifted, source)

    def _write_rest(
        self, node: onnx.NodeProto, first: onnx.NodeProto, pads: list[onnx.NodeProto], shifted: str, source: str
    ) -> None:
        """A second convolution, on what rounding left of the input. A padding's value is exact: it leaves 0."""
        if f"{source}_rest" not in self._done:
            self._done.add(f"{source}_rest")
            self._add("Sub", [shifted, f"{source}_dq"], f"{source}_rest")
            self._pair(f"{source}_rest", f"{source}_rest", symmetric(self._ranges[source].scale / 2))
        rest, out = _copy(node), node.output[0]
        del rest.input[2:]  # the bias is in the first one
        rest.name, rest.output[0], first.output[0] = f"{node.name}#rest", f"{out}_rest", f"{out}_high"
        rest.input[0], rest.input[1] = self._pad(pads, f"{source}_rest_dq", 0.0), first.input[1]
        self.nodes.append(rest)
        self._add("Add", [f"{out}_high", f"{out}_rest"], out, f"{node.name}#sum")

    def _shift(self, tensor: str, offset: float) -> str:
        """The tensor less a constant."""
        if offset == 0:
            return tensor
        shifted = f"{tensor}_shifted"
        if shifted not in self._done:
            self._done.add(shifted)
            self._add("Sub", [tensor, self._constant(np.array(offset, np.float32), f"{tensor}_offset")], shifted)
        return shifted

    def _pad(self, pads: list[onnx.NodeProto], current: str, value: float) -> str:
        """A quantized tensor through the paddings that its convolution reads it through. Those that add a constant
        add `value` to it, which is what a zero has become."""
        for pad in pads:
            padded = f"{pad.output[0]}_of_{current}"
            if padded not in self._done:
                self._done.add(padded)
                copy = _copy(pad)
                copy.name, copy.input[0], copy.output[0] = padded, current, padded
                if value and _mode(pad) == b"constant":
                    inputs = [*copy.input, ""]
                    own: Array = self._constants.get(inputs[2], np.zeros(()))
                    inputs[2] = self._constant((own + value).astype(np.float32), f"{padded}_value")
                    del copy.input[:]
                    copy.input.extend(name for name in inputs if name)
                self.nodes.append(copy)
            current = padded
        return current

    def _give_back(self, node: onnx.NodeProto, offset: float, sums: Array) -> None:
        """What the offset took off the output goes into the bias; zeros that the node pads are written as -offset."""
        attributes = {attribute.name: attribute for attribute in node.attribute}
        own = list(attributes["pads"].ints) if "pads" in attributes else []
        if any(own):
            amounts = np.array([0, 0, *own[:2], 0, 0, *own[2:]], np.int64)
            value = self._constant(np.array(-offset, np.float32), f"{node.name}_padding")
            padded = f"{node.name}_padded"
            self._add("Pad", [node.input[0], self._constant(amounts, f"{node.name}_pads"), value], padded)
            node.input[0] = padded
            attributes["pads"].ints[:] = [0] * len(own)
        bias: Array = self._constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(())
        del node.input[2:]
        node.input.append(self._constant((bias + offset * sums).astype(np.float32), f"{node.name}_bias"))

    def _pair(self, tensor: str, name: str, found: QuantParams) -> None:
        """`tensor` → `name`_q → `name`_dq."""
        if f"{name}_dq" in self._done:
            return
        self._done.add(f"{name}_dq")
        scale = self._constant(np.array(found.scale, np.float32), f"{name}_scale")
        kind = np.int8 if found.signed else np.uint8
        zero = self._constant(np.array(found.zero_point, kind), f"{name}_zero_point")
        self._add("QuantizeLinear", [tensor, scale, zero], f"{name}_q")
        self._add("DequantizeLinear", [f"{name}_q", scale, zero], f"{name}_dq")

    def _quantized_weight(self, node: onnx.NodeProto) -> tuple[str, Array]:
        """int8, symmetric, a scale per output channel: axis 0 of a convolution, axis 1 of a transposed one. Also the
        sum of each output channel's weights as they are after rounding."""
        weight: NDArray[np.float32] = self._constants[node.input[1]].astype(np.float32)
        axis = 0 if node.op_type == "Conv" else 1
        others = tuple(i for i in range(weight.ndim) if i != axis)
        peak = np.abs(weight).max(axis=others, keepdims=True)
        scale = np.where(peak > 0, peak / SIGNED_LEVELS, 1).astype(np.float32)
        integers = self._round(node, weight, scale)
        key = f"{node.name}_weight"
        parts = [
            self._constant(value, f"{key}_{suffix}")
            for value, suffix in (
                (integers, "q"),
                (scale.ravel(), "scale"),
                (np.zeros(scale.size, np.int8), "zero_point"),
            )
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


def _mode(pad: onnx.NodeProto) -> bytes:
    return next((attribute.s for attribute in pad.attribute if attribute.name == "mode"), b"constant")


def _alive(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Without the nodes whose results nothing reads: paddings of a tensor that is now padded as bytes."""
    read = set(outputs)
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if read & set(node.output):
            read.update(node.input)
            kept.append(node)
    return kept[::-1]


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Float weights that nothing reads any more."""
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
