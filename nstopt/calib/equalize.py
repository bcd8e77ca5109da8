"""Exact channel equalization: what one channel gains in range, the next convolution's weights give back.

    norm(scale γ, shift β) ─ ReLU ─ Conv(w)   ⇒   norm(γ / s, β / s) ─ ReLU ─ Conv(w · s)        s per channel

ReLU, padding, upsampling and the sum of a residual stream pass a positive factor through, and so does a thresholded
linear unit whose threshold is divided too; a whole stream, with all that writes to it and all that reads it, takes
one s. A channel of small range then no longer shares its 256 levels with one of large range. (Nagel et al. 2019,
arXiv:1906.04721, section 4.1, equalize pairs of layers; here it is the norm that absorbs the factor.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nstopt.calib.observe import Histogram
from nstopt.graph.nodes import CONVOLUTIONS, clone, groups, initializers

Array = NDArray[Any]
Factors = NDArray[np.float64]
# Operators that a positive factor per channel passes through. Those of the second group may add or compare a constant
# per channel, which is then divided too.
UNARY = ("Relu", "LeakyRelu", "Pad", "Resize", "MaxPool", "Identity")
BINARY = ("Add", "Sub", "Max")
# Channels that are never active, or never read, keep their scale.
NEGLIGIBLE = 1e-9


@dataclass
class ChannelStream:
    """Tensors that share one factor per channel, the nodes that write to and read from them, and the constants within
    (shifts and thresholds, by node and position)."""

    tensors: set[str] = field(default_factory=set)
    writers: list[onnx.NodeProto] = field(default_factory=list)
    readers: list[onnx.NodeProto] = field(default_factory=list)
    within: list[tuple[onnx.NodeProto, int]] = field(default_factory=list)
    is_closed: bool = True


def streams(graph: onnx.GraphProto) -> list[ChannelStream]:
    """The streams whose every writer can absorb a factor and whose every reader is a convolution, in graph order."""
    known = initializers(graph)
    joined = _join(graph, known)
    found: dict[str, ChannelStream] = {}
    for node in graph.node:
        through = _passes(node, known)
        for position, name in enumerate(node.input):
            if not name or (name in known and not through):
                continue
            if name in known:
                if node.op_type in BINARY:
                    found.setdefault(joined[node.output[0]], ChannelStream()).within.append((node, position))
                continue
            stream = found.setdefault(joined[name], ChannelStream())
            stream.tensors.add(name)
            if not through and _reads(node, position, known):
                stream.readers.append(node)
            elif not through:
                stream.is_closed = False
        for name in node.output:
            stream = found.setdefault(joined[name], ChannelStream())
            stream.tensors.add(name)
            if not through and _absorbs(node, known):
                stream.writers.append(node)
            elif not through:
                stream.is_closed = False
    ends = {value.name for value in (*graph.input, *graph.output)}
    return [s for s in found.values() if s.is_closed and s.writers and s.readers and not s.tensors & ends]


def _join(graph: onnx.GraphProto, known: Mapping[str, Array]) -> dict[str, str]:
    """Each tensor's stream, named by one of its tensors: operators that pass a factor through join input and output."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for node in graph.node:
        if _passes(node, known):
            moving = node.input[:1] if node.op_type in UNARY else node.input
            for name in moving:
                if name not in known:
                    parent[root(name)] = root(node.output[0])
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    return {name: root(name) for name in names}


def _passes(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    constants = [known[name] for name in node.input if name in known]
    if node.op_type == "Pad":
        return not np.any(known.get(node.input[2], 0) if len(node.input) > 2 and node.input[2] else 0)
    return node.op_type in UNARY or (node.op_type in BINARY and all(map(_is_per_channel, constants)))


def _is_per_channel(array: Array) -> bool:
    """Whether an operand holds one number per channel of NCHW."""
    shape = (1,) * (4 - array.ndim) + array.shape
    return len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1 and shape[1] > 1


def _is_plain_convolution(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Of one group, or depthwise, with constant weights."""
    if node.op_type not in CONVOLUTIONS or not all(name in known for name in node.input[1:] if name):
        return False
    return groups(node) == 1 or _is_depthwise(node, known)


def _is_depthwise(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """One filter a channel, so that its weights [C, 1, H, W] are both what reads and what writes a channel."""
    return groups(node) > 1 and known[node.input[1]].shape[:2] == (groups(node), 1)


def _input_axis(node: onnx.NodeProto, known: Mapping[str, Array]) -> int:
    """The axis of a convolution's weights that its input channels lie along."""
    return 0 if node.op_type == "ConvTranspose" or _is_depthwise(node, known) else 1


def _output_axis(node: onnx.NodeProto, known: Mapping[str, Array]) -> int:
    return 0 if node.op_type == "Conv" or _is_depthwise(node, known) else 1


def _reads(node: onnx.NodeProto, position: int, known: Mapping[str, Array]) -> bool:
    return position == 0 and _is_plain_convolution(node, known)


def _absorbs(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """A norm, a convolution, or a product with a constant per channel can divide what it writes."""
    if node.op_type == "InstanceNormalization":
        return all(name in known for name in node.input[1:])
    if node.op_type == "Mul":
        return sum(name in known and _is_per_channel(known[name]) for name in node.input) == 1
    return _is_plain_convolution(node, known)


def factors(
    graph: onnx.GraphProto, stream: ChannelStream, seen: Mapping[str, Histogram], exponent: float
) -> Factors | None:
    """s = activation range ^ exponent / weight range ^ (1 - exponent) per channel, of geometric mean 1.

    Ranges are largest magnitudes, over the tensors of the stream that `seen` has and over the readers' weights. None if
    `seen` has none of them.
    """
    known = initializers(graph)
    peaks = [np.maximum(-seen[name].low, seen[name].high) for name in stream.tensors if name in seen]
    if not peaks:
        return None
    activations = np.maximum.reduce(peaks)
    weights = np.maximum.reduce([_input_peaks(node, known) for node in stream.readers])
    alive = (activations > NEGLIGIBLE) & (weights > NEGLIGIBLE)
    s = np.ones(len(activations))
    s[alive] = activations[alive] ** exponent / weights[alive] ** (1 - exponent)
    if alive.any():
        s[alive] /= np.exp(np.log(s[alive]).mean())
    return s


def _input_peaks(node: onnx.NodeProto, known: Mapping[str, Array]) -> Factors:
    """Largest weight that reads each input channel."""
    axis = _input_axis(node, known)
    weight = np.abs(known[node.input[1]])
    return np.asarray(weight.max(axis=tuple(i for i in range(weight.ndim) if i != axis)), np.float64)


def equalize(model: onnx.ModelProto, chosen: Iterable[tuple[ChannelStream, Factors]]) -> onnx.ModelProto:
    """A copy of `model` that computes the same, each stream divided by its factors. The streams are those of
    `streams(model.graph)`."""
    copy = clone(model)
    nodes = {node.output[0]: node for node in copy.graph.node}
    known = {name: array.astype(np.float64) for name, array in initializers(copy.graph).items()}
    changed: dict[tuple[str, int], NDArray[np.float64]] = {}

    def scale(node: onnx.NodeProto, position: int, factor: Factors, axis: int) -> None:
        key = (node.output[0], position)
        array = changed.get(key, known[node.input[position]])
        shape = [1] * array.ndim
        shape[axis] = -1
        changed[key] = array * factor.reshape(shape)

    for stream, s in chosen:
        for node in stream.writers:
            for position, axis in _written(node, known):
                scale(node, position, 1 / s, axis)
        for node, position in stream.within:
            scale(node, position, 1 / s, known[node.input[position]].ndim - 3)
        for node in stream.readers:
            scale(node, 1, s, _input_axis(node, known))
    for (output, position), array in changed.items():
        node = nodes[output]
        name = f"{output}.equalized.{position}"  # a constant may be shared with a node that keeps it
        copy.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        node.input[position] = name
    return copy


def _written(node: onnx.NodeProto, known: Mapping[str, NDArray[np.float64]]) -> list[tuple[int, int]]:
    """(position, channel axis) of the constants by which a writer scales what it writes."""
    if node.op_type == "InstanceNormalization":
        return [(1, 0), (2, 0)]
    if node.op_type == "Mul":
        return [(i, known[name].ndim - 3) for i, name in enumerate(node.input) if name in known]
    return [(1, _output_axis(node, known)), *([(2, 0)] if len(node.input) > 2 and node.input[2] else [])]
