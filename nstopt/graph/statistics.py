"""Find the global statistics of a graph, and open them: the graph then takes them as inputs.

    x ─ InstanceNormalization   ⇒   g = scale / sqrt(variance + epsilon);  x * g + (shift - mean * g)
    x ─ ReduceMean(height, width) ─ …   ⇒   mean ─ …

A statistic is a number per picture and channel that depends on every pixel of a tensor: the mean and the variance of an
instance norm, the mean of squares of a filter response norm. Nothing else in these nets joins distant parts of a
picture. A graph that takes its statistics can be run on one part of a picture after the other, or with statistics that
change slowly from frame to frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import onnx
from onnx import TensorProto, helper

from nstopt.errors import RewriteError
from nstopt.graph.nodes import attribute, clone, initializers
from nstopt.graph.rule import Array

NORM = "InstanceNormalization"
# Reductions of [N, C, H, W] over height and width whose result follows from mean, variance and the number of pixels.
REDUCTIONS = frozenset({"GlobalAveragePool", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare"})
# Operators that read the shape of a tensor, not its values.
OF_SHAPE = frozenset({"Shape", "Size"})


class Statistic(NamedTuple):
    """What one layer needs to know of the whole tensor `source`, [N, C, H, W].

    `operator` is the layer's. `inputs` names the inputs that stand for it in the opened graph, all float32: for an
    InstanceNormalization the mean and the (biased) variance, [N, C, 1, 1]; for any other operator its result."""

    operator: str
    source: str
    inputs: tuple[str, ...]

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the picture's own statistics, one for each of `inputs`, where the graph gives them."""
        return tuple(f"{name}.measured" for name in self.inputs)


class Opened(NamedTuple):
    """A graph that takes the inputs of `statistics` after the picture. A statistic depends on earlier ones only."""

    model: onnx.ModelProto
    statistics: tuple[Statistic, ...]


def open_statistics(model: onnx.ModelProto, measure: bool = False) -> Opened:
    """Open the statistics of a lowered graph, which stays unchanged.

    With `measure`, the opened graph also gives the picture's own statistics, after the picture. They are those of its
    tensors as they are with the statistics that were fed; the first one is therefore always the picture's own, and all
    are if what is fed is what is measured. Raises RewriteError if a statistic is not of a float32 tensor."""
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph, constants = model.graph, initializers(model.graph)
    infos = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    spatial, statistics, nodes = {graph.input[0].name}, [], []
    for node in graph.node:
        if node.op_type in OF_SHAPE or spatial.isdisjoint(node.input):
            nodes.append(node)
        elif node.op_type == NORM:
            statistics.append(Statistic(NORM, node.input[0], _names(node)))
            nodes += [*(_moments(node) if measure else ()), *_affine(node)]
            spatial.add(node.output[0])
        elif _is_over_picture(node, constants):
            statistics.append(Statistic(node.op_type, node.input[0], (node.output[0],)))
            nodes += [_renamed(node)] if measure else []
        else:
            nodes.append(node)
            spatial.update(node.output)
    added = [_info(name, statistic, infos) for statistic in statistics for name in statistic.inputs]
    return Opened(_rebuilt(model, nodes, added, measure), tuple(statistics))


def _names(norm: onnx.NodeProto) -> tuple[str, str]:
    """Return the names of a norm's mean and variance."""
    return f"{norm.output[0]}.mean", f"{norm.output[0]}.variance"


def _is_over_picture(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    """Return True if a node reduces [N, C, H, W] over height and width, and over nothing else."""
    if node.op_type not in REDUCTIONS:
        return False
    axes = list(constants.get(node.input[1], ())) if len(node.input) > 1 else attribute(node, "axes", list[int]())
    return node.op_type == "GlobalAveragePool" or sorted(axis % 4 for axis in axes) == [2, 3]


def _affine(norm: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that compute a norm from its statistics.

    Gain and offset are computed as [N, C]: runtimes that fuse whatever is multiplied and added would else compute them
    anew for each pixel.
    """
    (x, scale, shift), y, (mean, variance) = norm.input, norm.output[0], _names(norm)
    epsilon = helper.make_tensor("", TensorProto.FLOAT, (), [attribute(norm, "epsilon", 1e-5)])
    return [
        helper.make_node("Constant", [], [f"{y}.epsilon"], value=epsilon),
        helper.make_node("Constant", [], [f"{y}.row"], value_ints=[0, -1]),
        helper.make_node("Constant", [], [f"{y}.column"], value_ints=[0, -1, 1, 1]),
        helper.make_node("Reshape", [mean, f"{y}.row"], [f"{y}.means"]),
        helper.make_node("Reshape", [variance, f"{y}.row"], [f"{y}.variances"]),
        helper.make_node("Add", [f"{y}.variances", f"{y}.epsilon"], [f"{y}.positive"]),
        helper.make_node("Sqrt", [f"{y}.positive"], [f"{y}.deviation"]),
        helper.make_node("Div", [scale, f"{y}.deviation"], [f"{y}.gains"]),
        helper.make_node("Mul", [f"{y}.means", f"{y}.gains"], [f"{y}.centers"]),
        helper.make_node("Sub", [shift, f"{y}.centers"], [f"{y}.offsets"]),
        helper.make_node("Reshape", [f"{y}.gains", f"{y}.column"], [f"{y}.gain"]),
        helper.make_node("Reshape", [f"{y}.offsets", f"{y}.column"], [f"{y}.offset"]),
        helper.make_node("Mul", [x, f"{y}.gain"], [f"{y}.scaled"]),
        helper.make_node("Add", [f"{y}.scaled", f"{y}.offset"], [y], norm.name),
    ]


def _moments(norm: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that measure a norm's statistics. The variance is of the differences from the measured mean."""
    x, y, (mean, variance) = norm.input[0], norm.output[0], Statistic(NORM, norm.input[0], _names(norm)).measured
    return [
        helper.make_node("ReduceMean", [x], [mean], axes=[2, 3]),
        helper.make_node("Sub", [x, mean], [f"{y}.centered"]),
        helper.make_node("Mul", [f"{y}.centered", f"{y}.centered"], [f"{y}.squares"]),
        helper.make_node("ReduceMean", [f"{y}.squares"], [variance], axes=[2, 3]),
    ]


def _renamed(reduction: onnx.NodeProto) -> onnx.NodeProto:
    """Return a reduction whose result has the name of a measured statistic."""
    node = onnx.NodeProto()
    node.CopyFrom(reduction)
    node.output[0] += ".measured"
    return node


def _info(name: str, statistic: Statistic, infos: Mapping[str, onnx.ValueInfoProto]) -> onnx.ValueInfoProto:
    """Describe an input: a norm's has the batch and the channels of its source."""
    info = onnx.ValueInfoProto()
    info.CopyFrom(infos[statistic.source if statistic.operator == NORM else name])
    info.name = name
    if info.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise RewriteError(f"{statistic.operator} of {statistic.source}: only statistics of float32 can be opened")
    if statistic.operator == NORM:
        for side in info.type.tensor_type.shape.dim[2:]:
            side.Clear()
            side.dim_value = 1
    return info


def _rebuilt(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], added: list[onnx.ValueInfoProto], measure: bool
) -> onnx.ModelProto:
    """Return a copy of `model` with other nodes and the inputs `added`, which are measured as well if asked for."""
    model = clone(model)
    graph = model.graph
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.extend(added)
    for info in added if measure else ():
        graph.output.add().CopyFrom(info)
        graph.output[-1].name += ".measured"
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model)
    return model
