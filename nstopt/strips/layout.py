"""Where the rows of every tensor lie in a picture, and how the picture is divided into strips."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, lcm, prod
from typing import Any, NamedTuple

import numpy as np
import onnx

from nstopt.errors import BundleError
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.strips.reach import Reach, reaches

# Largest multiple that nets pad their pictures to.
MAX_ALIGNMENT = 256


class Strip(NamedTuple):
    """Rows `begin` to `end` of a picture, read to compute what belongs to rows `first` to `last` among them."""

    begin: int
    end: int
    first: int
    last: int


class TensorRows(NamedTuple):
    """A tensor of a picture: its `shape` and type, the dimension `axis` of its rows, and how many there are for each
    row of the picture. A strip that ends inside the picture has `extra` rows more than that."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: int
    scale: Fraction
    extra: int

    @property
    def bytes(self) -> int:
        """Size of the whole tensor."""
        return prod(self.shape) * self.dtype.itemsize


class Layout(NamedTuple):
    """The tensors with rows of a picture of `size`, in a graph that is specialized for it. Strips begin at multiples of
    `alignment`."""

    size: Size
    model: onnx.ModelProto
    tensors: Mapping[str, TensorRows]
    alignment: int

    @property
    def inner(self) -> Strip:
        """A strip that ends inside a picture, as high as this one."""
        end = -(-self.size.height // self.alignment) * self.alignment
        return Strip(0, end, 0, end)

    def rows(self, name: str, strip: Strip) -> tuple[int, int]:
        """Return the first row of a tensor that a strip reads or computes, and the row after its last."""
        tensor = self.tensors[name]
        end = tensor.shape[tensor.axis] if strip.end == self.size.height else _scaled(tensor, strip.end) + tensor.extra
        return _scaled(tensor, strip.begin), end

    def own_rows(self, name: str, strip: Strip) -> tuple[int, int]:
        """Return the first row of a tensor that only this strip gives, and the row after its last."""
        tensor = self.tensors[name]
        end = tensor.shape[tensor.axis] if strip.last == self.size.height else _scaled(tensor, strip.last)
        return _scaled(tensor, strip.first), end

    def shape(self, name: str, strip: Strip) -> tuple[int, ...]:
        """Return the shape of a tensor of a strip."""
        begin, end = self.rows(name, strip)
        shape, axis = self.tensors[name].shape, self.tensors[name].axis
        return (*shape[:axis], end - begin, *shape[axis + 1 :])


def _scaled(tensor: TensorRows, row: int) -> int:
    return int(row * tensor.scale)


def lay_out(model: onnx.ModelProto, size: Size) -> Layout:
    """Return the layout of a graph that takes pictures of any size, with its statistics open, for one of `size`.

    Raises BundleError if the graph is not the same function of every part of a picture."""
    whole, found = _reaches(model, size)
    alignment = _alignment(model, size, found)
    padded = -(-size.height // alignment) * alignment
    inner = _reaches(model, Size(padded, size.width))[1]
    types = _types(whole)
    tensors = {
        name: TensorRows(*types[name], one.axis, one.scale, inner[name].size - int(padded * one.scale))
        for name, one in found.items()
        if name in inner
    }
    return Layout(size, whole, tensors, alignment)


def divide(height: int, wanted: int, before: int, after: int, alignment: int) -> tuple[Strip, ...]:
    """Divide a picture into strips of about the same height, at most `wanted` rows if that leaves room for one of
    `alignment`. What a strip gives begins `before` rows below its upper edge and ends `after` rows above its lower edge
    where these lie inside the picture. All of these are multiples of `alignment`."""
    wanted = max(wanted, before + after + alignment)
    if height <= wanted:
        return (Strip(0, height, 0, height),)
    count = ceil((height - before - after) / (wanted - before - after))
    step = ceil((height - before - after) / (count * alignment)) * alignment
    starts = range(0, height - before - after, step)
    found = []
    for begin in starts:
        first, last = begin + before if begin else 0, begin + step + before
        if begin == starts[-1]:
            # As high as the others where it can be: then it is the same graph.
            begin, last = max(0, (height - step - before - after) // alignment * alignment), height
        found.append(Strip(begin, min(last + after, height), first, last))
    return tuple(found)


def _reaches(model: onnx.ModelProto, size: Size) -> tuple[onnx.ModelProto, dict[str, Reach]]:
    """Specialize a graph, and return the reach of its tensors if the picture went on above and below."""
    whole = specialize(model, InputShape.of(1, size))
    return whole, reaches(whole, {whole.graph.input[0].name: Reach.whole(1, Fraction(1), size.height)})


def _alignment(model: onnx.ModelProto, size: Size, found: Mapping[str, Reach]) -> int:
    """Return the number of rows by which a picture may grow so that all its tensors grow in proportion: the product of
    the strides, or a multiple of it, to which the picture is padded."""
    stride = lcm(*(one.scale.denominator for one in found.values()))
    for alignment in range(stride, MAX_ALIGNMENT + 1, stride):
        _, grown = _reaches(model, Size(size.height + alignment, size.width))
        if all(_grows(one, grown.get(name), alignment) for name, one in found.items()):
            return alignment
    raise BundleError("this net cannot be run in strips: what it does with a row depends on the height of the picture")


def _grows(one: Reach, other: Reach | None, rows: int) -> bool:
    """Return True if `other` is the same tensor with as many more rows as the picture has."""
    if other is None:
        return False
    added = one.scale * rows
    return other == one._replace(size=one.size + int(added), high=one.high + int(added))


def _types(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return the shape and the type of every tensor of a graph of fixed sizes."""
    graph = model.graph
    return {
        value.name: (
            tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
            np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
