"""How far the rows of a tensor reach into the picture: which rows of a strip are as in the whole picture.

A strip is a run of the picture's rows. Where it ends inside the picture, a graph pads it with what does not belong
there; that spoils some rows of what it computes, here those outside [low, high). Where it ends with the picture, the
padding is right. The rules are the operators' definitions in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import onnx

from nstopt.errors import BundleError
from nstopt.graph.nodes import attribute, initializers, shapes
from nstopt.graph.reading import REPEATING
from nstopt.graph.rule import Array


class Reach(NamedTuple):
    """The rows of a tensor of a strip that goes on above and below.

    They lie along dimension `axis`, `size` in all, `scale` for each row of the picture. Those in [low, high) are right;
    row i is row i + scale * y of the whole tensor, where y is the strip's first row."""

    axis: int
    scale: Fraction
    size: int
    low: int
    high: int

    @classmethod
    def whole(cls, axis: int, scale: Fraction, size: int) -> Reach:
        """All rows are right."""
        return cls(axis, scale, size, 0, size)


class _Layer(NamedTuple):
    """A node and what is known of the tensors around it."""

    node: onnx.NodeProto
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int | None, ...]]

    @property
    def outputs(self) -> int:
        """Rank of the result."""
        return len(self.shapes[self.node.output[0]])

    def refused(self, reason: str) -> BundleError:
        name = self.node.name or self.node.output[0]
        return BundleError(f"this net cannot be run in strips: layer {name} ({self.node.op_type}) {reason}")

    def constant(self, index: int) -> Array | None:
        """Return an input if it is constant, None if it is left out. Raises BundleError if it is computed."""
        if len(self.node.input) <= index or not self.node.input[index]:
            return None
        if self.node.input[index] not in self.constants:
            raise self.refused("takes amounts that depend on the picture")
        return self.constants[self.node.input[index]]

    def rows(self, name: str, axis: int) -> int:
        """Return the size of a tensor along `axis` of the result, as it broadcasts."""
        shape = self.shapes.get(name) or self.constants[name].shape
        place = axis - self.outputs + len(shape)
        return (shape[place] or 0) if place >= 0 else 1


_Rows = tuple[Fraction, int, int]  # scale, low, high


def reaches(model: onnx.ModelProto, known: Mapping[str, Reach]) -> dict[str, Reach]:
    """Return the reach of every tensor that has rows of the picture. `model` has fixed sizes, and inputs of which those
    with rows are `known`. Raises BundleError for a layer of which it is not known how far it reaches."""
    graph, found = model.graph, dict(known)
    constants, sizes = initializers(graph), shapes(graph)
    for node in graph.node:
        if found.keys().isdisjoint(node.input):
            continue
        layer = _Layer(node, constants, sizes)
        axis = _axis(layer, found)
        scale, low, high = RULES.get(node.op_type, _refuse)(layer, _joined(layer, found))
        for name in node.output:
            size = sizes[name][axis]
            assert size is not None  # the sizes are fixed
            found[name] = Reach(axis, scale, size, max(low, 0), min(high, size))
    return found


def _axis(layer: _Layer, found: Mapping[str, Reach]) -> int:
    """Return the dimension of the result's rows."""
    axis = next(found[name].axis for name in layer.node.input if name in found)
    if layer.node.op_type == "Transpose":
        return list(attribute(layer.node, "perm", list[int]())).index(axis)
    return axis


def _joined(layer: _Layer, found: Mapping[str, Reach]) -> Reach:
    """Return the reach that all inputs with rows have in common."""
    inputs = [found[name] for name in layer.node.input if name in found]
    first = inputs[0]
    if any((one.axis, one.scale, one.size) != (first.axis, first.scale, first.size) for one in inputs):
        raise layer.refused("joins tensors of different sizes")
    return first._replace(low=max(one.low for one in inputs), high=min(one.high for one in inputs))


def _refuse(layer: _Layer, x: Reach) -> _Rows:
    raise layer.refused("is not one of those that can be run on a part of the picture")


def _same(layer: _Layer, x: Reach) -> _Rows:
    """Each row of the result depends on the same row."""
    return x.scale, x.low, x.high


def _elementwise(layer: _Layer, x: Reach) -> _Rows:
    """As `_same`; no other operand may have rows of its own."""
    for name in layer.node.input:
        if name and layer.rows(name, x.axis) not in (1, x.size):
            raise layer.refused("joins tensors of different sizes")
        if name in layer.constants and layer.rows(name, x.axis) != 1:
            raise layer.refused("has constants for one size of picture")
    return _same(layer, x)


def _along_other(layer: _Layer, x: Reach) -> _Rows:
    """As `_same`, for operators along one dimension."""
    if attribute(layer.node, "axis", 0) % layer.outputs == x.axis:
        raise layer.refused("works along the height")
    return _same(layer, x)


def _window(layer: _Layer, x: Reach) -> _Rows:
    """Row i of the result reads the rows from i * stride - pad on."""
    stride, pad, span = _kernel(layer, x)
    return x.scale / stride, ceil(Fraction(x.low + pad, stride)), (x.high - 1 + pad - span) // stride + 1


def _transposed(layer: _Layer, x: Reach) -> _Rows:
    """Row i adds to the rows from i * stride - pad on."""
    stride, pad, span = _kernel(layer, x)
    if attribute(layer.node, "output_shape", list[int]()):
        raise layer.refused("has a fixed size")
    return x.scale * stride, (x.low - 1) * stride + span - pad + 1, x.high * stride - pad


def _kernel(layer: _Layer, x: Reach) -> tuple[int, int, int]:
    """Return the stride, the padding above, and the rows from the kernel's first to its last."""
    node, along = layer.node, x.axis - 2
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or along not in (0, 1):
        raise layer.refused("has an implicit padding")
    weight = layer.shapes.get(node.input[1]) or layer.constants[node.input[1]].shape if len(node.input) > 1 else ()
    kernel = attribute(node, "kernel_shape", [side or 0 for side in weight[2:]])[along]
    stride, dilation = (attribute(node, name, [1, 1])[along] for name in ("strides", "dilations"))
    return stride, attribute(node, "pads", [0] * 4)[along], (kernel - 1) * dilation


def _pad(layer: _Layer, x: Reach) -> _Rows:
    amounts = layer.constant(1)
    assert amounts is not None  # opset 17 requires them
    above = int(amounts[x.axis])
    return x.scale, x.low + above, x.high + above


def _slice(layer: _Layer, x: Reach) -> _Rows:
    starts, axes, steps = layer.constant(1), layer.constant(3), layer.constant(4)
    assert starts is not None
    along = range(len(starts)) if axes is None else [int(axis) % layer.outputs for axis in axes]
    for index, axis in enumerate(along):
        if axis == x.axis:
            start, step = int(starts[index]), 1 if steps is None else int(steps[index])
            if start < 0 or step < 1:
                raise layer.refused("counts from the lower edge")
            return x.scale / step, ceil(Fraction(x.low - start, step)), (x.high - 1 - start) // step + 1
    return _same(layer, x)


def _resize(layer: _Layer, x: Reach) -> _Rows:
    """A row of the result reads at most two rows beyond the one that it lies in; one that only repeats, none."""
    node, mapping = layer.node, attribute(layer.node, "coordinate_transformation_mode", b"half_pixel")
    ratio = Fraction(layer.rows(node.output[0], x.axis), x.size)
    if mapping not in (b"half_pixel", b"pytorch_half_pixel", b"asymmetric"):
        raise layer.refused(f"maps pixels by {mapping.decode()}")
    rounding = attribute(node, "nearest_mode", b"round_prefer_floor")
    repeats = attribute(node, "mode", b"nearest") == b"nearest" and (mapping.decode(), rounding.decode()) in REPEATING
    around = 0 if repeats and ratio.denominator == 1 else 2
    return x.scale * ratio, ceil((x.low + around) * ratio), floor((x.high - around) * ratio)


def _depth_to_space(layer: _Layer, x: Reach) -> _Rows:
    block = attribute(layer.node, "blocksize", 1)
    return x.scale * block, x.low * block, x.high * block


def _space_to_depth(layer: _Layer, x: Reach) -> _Rows:
    block = attribute(layer.node, "blocksize", 1)
    return x.scale / block, ceil(Fraction(x.low, block)), x.high // block


ELEMENTWISE = (
    *(
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "HardSwish",
        "Identity",
    ),
    *("LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid"),
    *("Sign", "Softplus", "Sqrt", "Sub", "Sum", "Tanh", "Where"),
)
RULES: dict[str, Callable[[_Layer, Reach], _Rows]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(("BatchNormalization", "DequantizeLinear", "QuantizeLinear", "Transpose"), _same),
    **dict.fromkeys(("Concat", "Softmax", "Split"), _along_other),
    **dict.fromkeys(("AveragePool", "Conv", "MaxPool"), _window),
    "ConvTranspose": _transposed,
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
}
