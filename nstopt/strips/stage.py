"""The graph of one stage for a strip of the picture, and what it needs: margins and memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import onnx

from nstopt.errors import BundleError
from nstopt.graph.cost import costs, total
from nstopt.graph.specialize import part_of
from nstopt.strips.layout import Layout, Strip
from nstopt.strips.peak import peak_bytes
from nstopt.strips.plan import MACS_PER_BYTE, Stage
from nstopt.strips.reach import Reach, reaches

# Suffix of the names of tensors [1, H, W, C] that are [1, C, H, W] in the net.
BY_ROWS = ".rows"


class Needs(NamedTuple):
    """What a strip of a stage needs: rows of the picture `before` and `after` its own, multiples of the alignment; and
    bytes of memory for each of its rows. `work` is about what the whole stage costs, in multiply-adds."""

    before: int
    after: int
    bytes_per_row: float
    work: int


class StageGraph(NamedTuple):
    """A stage of `model`, which takes pictures of any size and whose statistics are open."""

    model: onnx.ModelProto
    layout: Layout
    stage: Stage

    def of(self, strip: Strip, by_rows: bool = True) -> onnx.ModelProto:
        """Return the stage's graph for the rows of a strip. With `by_rows`, its inputs and outputs with rows of the
        picture are [1, H, W, C]; the names of those that are otherwise in the net end in BY_ROWS. OpenVINO computes in
        that order, so that it costs no copy. Raises BundleError if a tensor has another shape than its part of the
        whole picture's."""
        part = self._part(strip)
        graph = part.graph
        if not by_rows:
            return part
        before = [_turned(value, (0, 3, 1, 2)) for value in graph.input if self._is_turned(value)]
        after = [_turned(value, (0, 2, 3, 1)) for value in graph.output if self._is_turned(value)]
        nodes = [*before, *graph.node, *after]
        del graph.node[:]
        graph.node.extend(nodes)
        return part

    def _is_turned(self, value: onnx.ValueInfoProto) -> bool:
        """Return True for a tensor that has rows of the picture in its third dimension."""
        tensor = self.layout.tensors.get(value.name)
        return tensor is not None and tensor.axis == 2

    def _part(self, strip: Strip) -> onnx.ModelProto:
        inputs = {value.name: _sizes(value) for value in self.model.graph.input}
        inputs |= {
            name: self.layout.shape(name, strip) for name in (self.model.graph.input[0].name, *self.stage.inputs)
        }
        part = part_of(self.model, inputs, self.stage.outputs)
        for value in part.graph.output:
            if _sizes(value) != self.layout.shape(value.name, strip):
                raise BundleError(
                    f"this net cannot be run in strips: {value.name} has the shape {_sizes(value)} in a strip, not "
                    f"{self.layout.shape(value.name, strip)}"
                )
        return part

    def needs(self) -> Needs:
        """Return what strips need that end inside the picture."""
        layout, strip = self.layout, self.layout.inner
        part = self._part(strip)
        found = reaches(part, {name: self._whole(name, strip) for name in self.stage.inputs})
        spoiled = [self._spoiled(found[name], strip.end) for name in self.stage.outputs]
        before, after = (_aligned(max(rows), layout.alignment) for rows in zip(*spoiled, strict=True))
        return Needs(before, after, peak_bytes(part) / strip.end, _work(part))

    def _whole(self, name: str, strip: Strip) -> Reach:
        tensor, (begin, end) = self.layout.tensors[name], self.layout.rows(name, strip)
        return Reach.whole(tensor.axis, tensor.scale, end - begin)

    @staticmethod
    def _spoiled(reach: Reach, height: int) -> tuple[int, int]:
        """Return the rows of the picture that are spoiled above and below in a strip of `height` rows."""
        return ceil(reach.low / reach.scale), ceil(height - reach.high / reach.scale)


def _turned(value: onnx.ValueInfoProto, order: tuple[int, ...]) -> onnx.NodeProto:
    """Turn an input or output [N, C, H, W] into one by rows; return the node between it and the tensor. `order` is that
    of the node."""
    name, sizes = value.name, _sizes(value)
    value.name += BY_ROWS
    for dim, index in zip(value.type.tensor_type.shape.dim, (0, 2, 3, 1), strict=True):
        dim.dim_value = sizes[index]
    ends = (value.name, name) if order == (0, 3, 1, 2) else (name, value.name)
    return onnx.helper.make_node("Transpose", [ends[0]], [ends[1]], perm=order)


def _work(part: onnx.ModelProto) -> int:
    whole = total(costs(part))
    return whole.macs + MACS_PER_BYTE * whole.bytes_moved


def _aligned(rows: int, alignment: int) -> int:
    return -(-max(rows, 0) // alignment) * alignment


def _sizes(value: onnx.ValueInfoProto) -> Sequence[int]:
    """Return the shape of an input or output; a free batch is 1."""
    return tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
