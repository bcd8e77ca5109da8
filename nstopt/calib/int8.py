"""INT8 into the graph, as QuantizeLinear/DequantizeLinear pairs.

    x ─ Conv(w)   ⇒   int8:    x ─ Q ─ DQ ─ Conv(DQ(w as int8))
                      int8x2:  h = DQ(Q(x));  Conv(h) + Conv(DQ(Q(x - h)))        both with DQ(w as int8)

Only what a convolution reads is quantised: its input (8 bits, one scale) and its weights (int8, a scale per output
channel). Quantising its output too, before the norm that follows, costs 10–20 dB on style nets. Where a padding stands
before the convolution, the pair goes before the padding, which then moves bytes instead of floats.

A layer whose input needs more than 8 bits gets them from a second INT8 convolution on what the first one's rounding
left:
sixteen bits for twice the time, where FP32 takes four times as long.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nstopt.calib.ranges import SIGNED_LEVELS, Range, symmetric
from nstopt.graph.nodes import initialisers, multiplying, producers

LEVELS = ("int8", "int8x2", "fp32")


def quantised_tensors(graph: onnx.GraphProto) -> dict[str, set[str]]:
    """The tensors that get a Q/DQ pair, in graph order, with the operators of the convolutions that read them."""
    made_by = producers(graph)
    found: dict[str, set[str]] = {}
    for node in multiplying(graph):
        tensor = node.input[0] if not (pads := _pads_before(node, made_by)) else pads[0].input[0]
        found.setdefault(tensor, set()).add(node.op_type)
    return found


def _pads_before(node: onnx.NodeProto, made_by: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The paddings that a convolution reads through, in the way of the data. Repeating or mirroring values, or adding
    zeros, leaves a range that contains 0 as it is."""
    pads: list[onnx.NodeProto] = []
    while (before := made_by.get(node.input[0])) is not None and before.op_type == "Pad":
        pads.insert(0, before)
        node = before
    return pads


def quantise(
    model: onnx.ModelProto, ranges: Mapping[str, Range], levels: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """A copy of FP32 `model` in which the convolutions multiply INT8.

    `ranges` has an entry for each of `quantised_tensors`; `levels` gives the level of convolutions by name, `int8`
    where it says nothing.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    writer = _Writer(model.graph, ranges)
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
    """Writes the new node list. A tensor is quantised, and padded, once for all that read it."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._ranges = graph, ranges
        self._made_by, self._weights = producers(graph), initialisers(graph)
        self._done: set[str] = set()

    def write(self, node: onnx.NodeProto, level: str) -> None:
        if level == "fp32":
            self.nodes.append(node)
            return
        weight = self._quantised_weight(node)
        first = onnx.NodeProto()
        first.CopyFrom(node)
        first.input[0], first.input[1] = self._read(node, "dq"), weight
        self.nodes.append(first)
        if level == "int8x2":
            out = node.output[0]
            first.output[0] = f"{out}_high"
            rest = onnx.NodeProto()
            rest.CopyFrom(node)
            del rest.input[2:]  # the bias is in the first one
            rest.name, rest.output[0] = f"{node.name}#rest", f"{out}_rest"
            rest.input[0], rest.input[1] = self._read(node, "rest_dq"), weight
            self.nodes += [
                rest,
                helper.make_node("Add", [f"{out}_high", f"{out}_rest"], [out], name=f"{node.name}#sum"),
            ]

    def _read(self, node: onnx.NodeProto, kind: str) -> str:
        """The quantised tensor (`dq`), or the quantised rest of it (`rest_dq`), through the paddings before `node`."""
        pads = _pads_before(node, self._made_by)
        source = pads[0].input[0] if pads else node.input[0]
        found = self._ranges[source]
        self._pair(source, f"{source}_q", f"{source}_dq", found)
        if kind == "rest_dq" and f"{source}_rest" not in self._done:
            self._done.add(f"{source}_rest")
            self.nodes.append(
                helper.make_node("Sub", [source, f"{source}_dq"], [f"{source}_rest"], name=f"{source}_rest")
            )
            self._pair(f"{source}_rest", f"{source}_rest_q", f"{source}_rest_dq", symmetric(found.scale / 2))
        current = f"{source}_{kind}"
        for pad in pads:
            padded = f"{pad.output[0]}_{kind}"
            if padded not in self._done:
                self._done.add(padded)
                copy = onnx.NodeProto()
                copy.CopyFrom(pad)
                copy.name, copy.input[0], copy.output[0] = padded, current, padded
                self.nodes.append(copy)
            current = padded
        return current

    def _pair(self, tensor: str, quantised: str, restored: str, found: Range) -> None:
        if restored in self._done:
            return
        self._done.add(restored)
        scale, zero = f"{tensor}_scale", f"{tensor}_zero_point"
        kind = np.int8 if found.signed else np.uint8
        self._constant(np.array(found.scale, np.float32), scale)
        self._constant(np.array(found.zero_point, kind), zero)
        self.nodes += [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [quantised], name=quantised),
            helper.make_node("DequantizeLinear", [quantised, scale, zero], [restored], name=restored),
        ]

    def _quantised_weight(self, node: onnx.NodeProto) -> str:
        """int8, symmetric, a scale per output channel: axis 0 of a convolution, axis 1 of a transposed one."""
        weight: NDArray[np.float32] = self._weights[node.input[1]].astype(np.float32)
        axis = 0 if node.op_type == "Conv" else 1
        others = tuple(i for i in range(weight.ndim) if i != axis)
        peak = np.abs(weight).max(axis=others, keepdims=True)
        scale = np.where(peak > 0, peak / SIGNED_LEVELS, 1).astype(np.float32)
        integers = np.clip(np.rint(weight / scale), -SIGNED_LEVELS, SIGNED_LEVELS).astype(np.int8)
        key = f"{node.name}_weight"
        for value, suffix in ((integers, "q"), (scale.ravel(), "scale"), (np.zeros(scale.size, np.int8), "zero_point")):
            self._constant(value, f"{key}_{suffix}")
        parts = [f"{key}_{suffix}" for suffix in ("q", "scale", "zero_point")]
        self.nodes.append(helper.make_node("DequantizeLinear", parts, [f"{key}_dq"], name=f"{key}_dq", axis=axis))
        return f"{key}_dq"

    def _constant(self, array: NDArray[np.generic], name: str) -> None:
        self._graph.initializer.append(numpy_helper.from_array(array, name))


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
