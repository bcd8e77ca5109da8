"""Readers of onnx_ir values and nodes, for rules: constants, sizes, neighbors; convolutions, norms and paddings."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Array, Declined

# Coordinate mappings and roundings of a Resize that repeat each pixel if the scale is a whole number.
REPEATING = [
    ("asymmetric", "floor"),
    *itertools.product(("half_pixel", "pytorch_half_pixel"), ("round_prefer_floor", "round_prefer_ceil")),
]


def constant(value: ir.Value | None) -> Array | None:
    """Return the value's array if it is a constant."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def channel_factor(value: ir.Value | None) -> Array | None:
    """Return the value's array if it is a float32 constant [1, C, 1, 1]."""
    array = constant(value)
    is_factor = array is not None and array.dtype == np.float32 and array.ndim == 4 and array.size == array.shape[1]
    return array if is_factor else None


def per_channel(node: ir.Node, channels: int) -> Array | None:
    """Return the constant operand of a Mul, Add or Sub as one number per channel of NCHW, [channels].

    None if the operand is not such a constant, or if it broadcasts the other operand to further channels or dimensions.
    """
    operand, other = constant(node.inputs[1]), node.inputs[0]
    shape = None if other is None else other.shape
    if operand is None or operand.ndim > 4 or shape is None or len(shape) != 4 or shape[1] != channels:
        return None
    if operand.size == 1:
        return np.full(channels, operand.item())
    broadcast = (1,) * (4 - operand.ndim) + operand.shape
    return operand.reshape(-1) if broadcast == (1, channels, 1, 1) else None


def spatial(value: ir.Value | None) -> tuple[int, int] | None:
    """Return height and width of an NCHW value if both are known."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node that computes `value` if it is one of these ONNX operators."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.domain == "" and node.op_type in op_types else None


def only_use(value: ir.Value) -> ir.Node | None:
    """Return the only node that reads `value`; None if there are several, or if it is an output of the graph."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


class Convolution(NamedTuple):
    """Contents of a Conv or ConvTranspose node. `pads` is (top, left, bottom, right)."""

    weight: Array
    bias: Array | None
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    group: int
    is_dilated: bool

    @property
    def is_basic(self) -> bool:
        """Return True if the convolution is neither grouped, strided nor dilated."""
        return self.group == 1 and self.strides == (1, 1) and not self.is_dilated

    @property
    def by_group(self) -> Array:
        """The weights of a Conv as [groups, outputs, inputs, height, width], with outputs and inputs of each group."""
        return self.weight.reshape(self.group, -1, *self.weight.shape[1:])


def read_convolution(node: ir.Node | None) -> Convolution | None:
    """Read a convolution. None if it is not two-dimensional in float32, its weight or bias is not constant, or its
    padding is implicit (auto_pad)."""
    if node is None:
        return None
    weight = constant(node.inputs[1])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    bias_is_computed = len(node.inputs) > 2 and node.inputs[2] is not None and bias is None
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32:
        return None
    if bias_is_computed or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return None
    strides, pads = node.attributes.get_ints("strides", [1, 1]), node.attributes.get_ints("pads", [0, 0, 0, 0])
    return Convolution(
        weight,
        bias,
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        node.attributes.get_int("group", 1),
        list(node.attributes.get_ints("dilations", [1, 1])) != [1, 1],
    )


class Norm(NamedTuple):
    """Contents of an InstanceNormalization node. `scale` and `shift` are float32 [C]."""

    scale: Array
    shift: Array
    epsilon: float


def read_norm(node: ir.Node, max_channels: int | None = None) -> Norm | None:
    """Read an instance norm. None if it has more than `max_channels`.

    Raises Declined if its scale or shift is computed, or if its input is not NCHW in float32.
    """
    scale, shift, x = constant(node.inputs[1]), constant(node.inputs[2]), node.inputs[0]
    if scale is None or shift is None:
        raise Declined("its scale or shift is computed")
    if max_channels is not None and scale.size > max_channels:
        return None
    if scale.dtype != np.float32 or x is None or x.shape is None or len(x.shape) != 4:
        raise Declined("its input is not NCHW in float32")
    return Norm(scale, shift, node.attributes.get_float("epsilon", 1e-5))


class Padding(NamedTuple):
    """Contents of a Pad node over height and width. `pads` is (top, left, bottom, right)."""

    source: ir.Value
    mode: str
    pads: tuple[int, int, int, int]


def read_padding(node: ir.Node | None) -> Padding | None:
    """Read a padding. None unless its amounts are constant, not negative, and of height and width only, and its fill
    value is 0."""
    if node is None or node.op_type != "Pad":
        return None
    amounts = constant(node.inputs[1])
    fill = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(1)
    source = node.inputs[0]
    if amounts is None or amounts.size != 8 or fill is None or np.any(fill != 0) or source is None:
        return None
    begin, end = amounts[:4], amounts[4:]
    if np.any(begin[:2]) or np.any(end[:2]) or np.any(amounts < 0):
        return None
    sides = (int(begin[2]), int(begin[3]), int(end[2]), int(end[3]))
    return Padding(source, node.attributes.get_string("mode", "constant"), sides)


def repeats(resize: ir.Node) -> tuple[int, int] | None:
    """Return how many times a Resize repeats each pixel in height and width; None if it does anything else."""
    attributes = resize.attributes
    mapping = (
        attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        attributes.get_string("nearest_mode", "round_prefer_floor"),
    )
    if attributes.get_string("mode", "nearest") != "nearest" or mapping not in REPEATING:
        return None
    scales = constant(resize.inputs[2]) if len(resize.inputs) > 2 else None
    if scales is not None and scales.size == 4:
        ratio = [float(scale) for scale in scales]
    else:
        x, y = resize.inputs[0], resize.outputs[0]
        before, after = spatial(x), spatial(y)
        if before is None or after is None or x.shape[:2] != y.shape[:2]:  # type: ignore[union-attr,index]
            return None
        ratio = [1.0, 1.0, after[0] / before[0], after[1] / before[1]]
    rows, columns = ratio[2:]
    is_repetition = ratio[:2] == [1, 1] and rows.is_integer() and columns.is_integer() and min(rows, columns) >= 1
    return (int(rows), int(columns)) if is_repetition else None


def pads_before(node: ir.Node) -> list[ir.Node]:
    """Return the Pad nodes right before a convolution, the nearest first, up to one that has other readers."""
    pads: list[ir.Node] = []
    while (pad := producer(node.inputs[0], "Pad")) is not None and only_use(pad.outputs[0]) is not None:
        pads.append(pad)
        node = pad
    return pads


def pads_with_zeros(conv: Convolution, pads: list[ir.Node]) -> bool:
    """Return True if the convolution or a Pad node before it adds zeros. Raises Declined if a Pad cannot be read."""
    paddings = [read_padding(pad) for pad in pads]
    if None in paddings:
        raise Declined("a padding before it is computed, negative, not of zeros, or not of height and width")
    return any(conv.pads) or any(padding.mode == "constant" for padding in paddings if padding is not None)
