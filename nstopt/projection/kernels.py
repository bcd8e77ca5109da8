"""Predict the kernels that a compiler makes of an ONNX graph with shapes.

    Conv → Mul → Add → Relu        one kernel: reads the convolution's input and weights, writes the Relu's output
    Pad → Conv                     two kernels: a reflection cannot be fused into a convolution

Rule: a pointwise operator joins the kernel that made its first large input, if nothing else reads that input. TensorRT
and OpenVINO both fuse in this way, OpenVINO sometimes more. Without fusion, as PyTorch runs a net, each operator is a
kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple

import onnx

from nstopt.graph.cost import LayerCost, costs
from nstopt.graph.nodes import CONVOLUTIONS, dequantized, groups
from nstopt.graph.work import Work

# A convolution with fewer channels in or out is narrow: it leaves most lanes of a vector unit idle.
NARROW = 16
POINTWISE = frozenset(
    {"Abs", "Add", "Cast", "Clip", "Div", "Elu", "LeakyRelu", "Max", "Min", "Mul", "Neg", "Pow", "QuantizeLinear"}
    | {"Reciprocal", "Relu", "Round", "Sigmoid", "Sqrt", "Sub", "Tanh"}
)
REDUCING = frozenset(
    {"InstanceNormalization", "ReduceMean", "ReduceSum", "ReduceSumSquare", "GlobalAveragePool", "ReduceL2"}
)
MULTIPLYING, NARROWLY, TRANSPOSED, NORMS, MOVING = (
    "convolutions",
    "narrow convolutions",
    "transposed",
    "norms",
    "moving",
)
KINDS = (MULTIPLYING, NARROWLY, TRANSPOSED, NORMS, MOVING)


class Kernel(NamedTuple):
    """One kernel: the name of its first layer, one of KINDS, its work, and the indices of the kernels it reads from."""

    name: str
    kind: str
    work: Work
    reads: frozenset[int]


def kernels(model: onnx.ModelProto, fused: bool = True) -> list[Kernel]:
    """Return the kernels of `model`, which must have inferred shapes, in graph order."""
    layers = {cost.name: cost for cost in _costs(model)}
    weights = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    weights |= {floats: weights.get(integers, ()) for floats, integers in dequantized(model.graph).items()}
    readers = Counter(name for node in model.graph.node for name in node.input)
    home: dict[str, int] = {}
    found: list[Kernel] = []
    for node in model.graph.node:
        cost = layers.get(node.name or node.output[0])
        sources = [name for name in node.input if name in home]
        if cost is None:  # it renames the same bytes, and costs nothing
            home.update((name, home[sources[0]]) for name in node.output if sources)
            continue
        reads = frozenset(home[name] for name in sources)
        if fused and node.op_type in POINTWISE and sources and readers[sources[0]] == 1:
            place = home[sources[0]]
            found[place] = _joined(found[place], cost, reads - {place})
        else:
            place = len(found)
            found.append(Kernel(cost.name, _kind(node, weights, cost), cost.work, reads))
        home.update(dict.fromkeys(node.output, place))
    return found


def _costs(model: onnx.ModelProto) -> Iterator[LayerCost]:
    """Cost of each layer as the graph states it, corrected for paddings of integers.

    Compilers move such a padding in front of the conversion to floats. So it moves a quarter of the bytes, and the
    convolution behind it multiplies integers, with or without a cast to FP16 between them.
    """
    integers = {*dequantized(model.graph)}
    nodes = {node.name or node.output[0]: node for node in model.graph.node}
    for cost in costs(model):
        node, work = nodes[cost.name], cost.work
        float_bytes = max(work.bytes_written // prod(side or 1 for side in cost.shape), 1)
        if node.op_type == "Cast" and node.input[0] in integers:
            integers.add(node.output[0])
            continue
        if node.input and node.input[0] in integers and node.op_type == "Pad":
            integers.add(node.output[0])
            work = Work(0, work.bytes_read, work.bytes_written // float_bytes)
        elif work.macs and {node.input[0], node.input[1]} <= integers and work.type != "int8":
            work = work._replace(bytes_read=work.bytes_read // float_bytes, type="int8")
        yield cost._replace(work=work)


def memory_bytes(model: onnx.ModelProto, found: Sequence[Kernel]) -> int:
    """Return a lower bound of the memory that these kernels need, without the library's workspace and context.

    It is the sum of the weights and of the tensors that are alive at the same time, at the worst moment.
    """
    last_read = {place: number for number, kernel in enumerate(found) for place in kernel.reads}
    alive = [
        sum(found[place].work.bytes_written for place in range(now + 1) if last_read.get(place, place) >= now)
        for now in range(len(found))
    ]
    weights = sum(onnx.numpy_helper.to_array(weight).nbytes for weight in model.graph.initializer)
    return max(alive, default=0) + weights


def _joined(kernel: Kernel, cost: LayerCost, reads: frozenset[int]) -> Kernel:
    """Fuse an operator into a kernel: the tensor between the two is neither written nor read any more."""
    before, added = kernel.work, cost.work
    read = before.bytes_read + max(added.bytes_read - before.bytes_written, 0)
    work = before._replace(bytes_read=read, bytes_written=added.bytes_written)
    return kernel._replace(work=work, reads=kernel.reads | reads)


def _kind(node: onnx.NodeProto, weights: Mapping[str, tuple[int, ...]], cost: LayerCost) -> str:
    if node.op_type in REDUCING:
        return NORMS
    if cost.work.macs == 0:
        return MOVING
    if node.op_type == "ConvTranspose":
        return TRANSPOSED
    narrow = node.op_type in CONVOLUTIONS and min(_channels(node, weights)) < NARROW
    return NARROWLY if narrow else MULTIPLYING


def _channels(node: onnx.NodeProto, weights: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Output and input channels per group of a convolution."""
    shape = weights.get(node.input[1]) or (NARROW, NARROW)
    return shape[0] // groups(node), shape[1]
