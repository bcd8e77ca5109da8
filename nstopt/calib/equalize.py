"""Exact channel equalization: a channel is divided by a factor, and the next convolution's weights multiply it back.

    norm(scale γ, shift β) ─ ReLU ─ Conv(w)   ⇒   norm(γ / s, β / s) ─ ReLU ─ Conv(w · s)        s per channel

ReLU, padding, upsampling and the sum of a residual stream commute with a positive factor, and so does a thresholded
linear unit whose threshold is divided too. All tensors between the nodes that write a stream and the nodes that read it
share one s. A channel of small range then no longer shares its 256 levels with one of large range. (Nagel et al. 2019,
arXiv:1906.04721, section 4.1, equalize pairs of layers; here the norm absorbs the factor.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.cluster.hierarchy import DisjointSet

from nstopt.calib.observe import Histogram
from nstopt.graph.nodes import CONVOLUTIONS, clone, groups, initializers

Array = NDArray[Any]
Factors = NDArray[np.float64]
# Operators that commute with a positive factor per channel. Binary ones may have a constant operand with one number per
# channel, which is then divided too.
UNARY = ("Relu", "LeakyRelu", "Pad", "Resize", "MaxPool", "Identity")
BINARY = ("Add", "Sub", "Max")
# Channels whose activations or weights never exceed this keep their scale.
NEGLIGIBLE = 1e-9


@dataclass
class ChannelStream:
    """Tensors that share one factor per channel.

    `writers` divide by the factor, `readers` multiply by it; `constants` (shifts and thresholds, as node and input
    position) are divided too. The stream is not closed if another node reads or writes one of its tensors.
    """

    tensors: set[str] = field(default_factory=set)
    writers: list[onnx.NodeProto] = field(default_factory=list)
    readers: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[tuple[onnx.NodeProto, int]] = field(default_factory=list)
    is_closed: bool = True


def streams(graph: onnx.GraphProto) -> list[ChannelStream]:
    """Return the streams, in graph order, whose every writer can absorb a factor and whose every reader is a
    convolution."""
    known = initializers(graph)
    joined = _join(graph, known)
    found: dict[str, ChannelStream] = {}

    def stream_of(name: str) -> ChannelStream:
        stream = found.setdefault(joined[name], ChannelStream())
        stream.tensors.add(name)
        return stream

    for node in graph.node:
        variable = [(position, name) for position, name in enumerate(node.input) if name and name not in known]
        if _commutes(node, known):
            for name in (*(name for _, name in variable), *node.output):
                stream = stream_of(name)
            if node.op_type in BINARY:
                stream.constants += [(node, i) for i, name in enumerate(node.input) if name in known]
            continue
        for position, name in variable:
            stream = stream_of(name)
            if position == 0 and _is_plain_convolution(node, known):
                stream.readers.append(node)
            else:
                stream.is_closed = False
        for name in node.output:
            stream = stream_of(name)
            if _is_scaled_by_constants(node, known):
                stream.writers.append(node)
            else:
                stream.is_closed = False
    ends = {value.name for value in (*graph.input, *graph.output)}
    return [s for s in found.values() if s.is_closed and s.writers and s.readers and not s.tensors & ends]


def _join(graph: onnx.GraphProto, known: Mapping[str, Array]) -> DisjointSet:
    """Map each tensor to its stream, named by one of its tensors. Operators that commute with a factor join their
    inputs and outputs."""
    joined = DisjointSet(name for node in graph.node for name in (*node.input, *node.output))
    for node in graph.node:
        if _commutes(node, known):
            for name in node.input[:1] if node.op_type in UNARY else node.input:
                if name not in known:
                    joined.merge(name, node.output[0])
    return joined


def _commutes(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Return True if the node commutes with a positive factor per channel."""
    constants = [known[name] for name in node.input if name in known]
    if node.op_type == "Pad":
        return not np.any(known.get(node.input[2], 0) if len(node.input) > 2 and node.input[2] else 0)
    return node.op_type in UNARY or (node.op_type in BINARY and all(map(_is_per_channel, constants)))


def _is_per_channel(array: Array) -> bool:
    """Return True if an operand has one number per channel of NCHW."""
    shape = (1,) * (4 - array.ndim) + array.shape
    return len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1 and shape[1] > 1


def _is_plain_convolution(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Return True for a convolution of one group or a depthwise one, with constant weights."""
    if node.op_type not in CONVOLUTIONS or not all(name in known for name in node.input[1:] if name):
        return False
    return groups(node) == 1 or _is_depthwise(node, known)


def _is_depthwise(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Return True for a depthwise convolution: weights [C, 1, H, W], whose first axis is both the input and the output
    channel."""
    return groups(node) > 1 and known[node.input[1]].shape[:2] == (groups(node), 1)


def _input_axis(node: onnx.NodeProto, known: Mapping[str, Array]) -> int:
    """Input channel axis of a convolution's weights."""
    return 0 if node.op_type == "ConvTranspose" or _is_depthwise(node, known) else 1


def _output_axis(node: onnx.NodeProto, known: Mapping[str, Array]) -> int:
    """Output channel axis of a convolution's weights."""
    return 0 if node.op_type == "Conv" or _is_depthwise(node, known) else 1


def _is_scaled_by_constants(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Return True if constants of the node scale its output: a norm, a convolution, or a product with a constant per
    channel."""
    if node.op_type == "InstanceNormalization":
        return all(name in known for name in node.input[1:])
    if node.op_type == "Mul":
        return sum(name in known and _is_per_channel(known[name]) for name in node.input) == 1
    return _is_plain_convolution(node, known)


def factors(
    graph: onnx.GraphProto, stream: ChannelStream, histograms: Mapping[str, Histogram], exponent: float
) -> Factors | None:
    """Return s = activation range ^ exponent / weight range ^ (1 - exponent) per channel [C], of geometric mean 1.

    Ranges are the largest magnitudes over the stream's tensors in `histograms` and over the readers' weights. Returns
    None if `histograms` has no tensor of the stream.
    """
    known = initializers(graph)
    streamed = (histograms[name] for name in stream.tensors if name in histograms)
    peaks = [np.maximum(-histogram.low, histogram.high) for histogram in streamed]
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
    """Return the largest weight magnitude of each input channel, [C]."""
    axis = _input_axis(node, known)
    weight = np.abs(known[node.input[1]])
    return np.asarray(weight.max(axis=tuple(i for i in range(weight.ndim) if i != axis)), np.float64)


def equalize(model: onnx.ModelProto, chosen: Iterable[tuple[ChannelStream, Factors]]) -> onnx.ModelProto:
    """Return a copy of `model` that computes the same function with each stream divided by its factors [C].

    The streams are those of `streams(model.graph)`.
    """
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
            for position, axis in _scaling_constants(node, known):
                scale(node, position, 1 / s, axis)
        for node, position in stream.constants:
            scale(node, position, 1 / s, known[node.input[position]].ndim - 3)
        for node in stream.readers:
            scale(node, 1, s, _input_axis(node, known))
    for (output, position), array in changed.items():
        node = nodes[output]
        name = f"{output}.equalized.{position}"  # a constant may be shared with a node that keeps it
        copy.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        node.input[position] = name
    return copy


def _scaling_constants(node: onnx.NodeProto, known: Mapping[str, NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Return (input position, channel axis) of the constants by which a writer scales its output."""
    if node.op_type == "InstanceNormalization":
        return [(1, 0), (2, 0)]
    if node.op_type == "Mul":
        return [(i, known[name].ndim - 3) for i, name in enumerate(node.input) if name in known]
    return [(1, _output_axis(node, known)), *([(2, 0)] if len(node.input) > 2 and node.input[2] else [])]
