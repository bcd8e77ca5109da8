"""Convert a graph of any opset to opset 17, which TensorRT 8.5 … 11, ONNX Runtime and OpenVINO all read.

onnx's own converter raises opsets. It can lower few operators, so this module lowers those that image nets use: each
differs from its opset-17 form only in an argument's position, or by a new attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nstopt.errors import ExportError

OPSET = 17
REDUCTIONS = frozenset(
    f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
Constants = dict[str, NDArray[Any]]


def to_opset_17(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph in opset 17; a graph of opset 17 is returned itself.

    Raises ExportError, naming the operator, if one has no equivalent in opset 17.
    """
    version = _version(model)
    if version < OPSET:
        try:
            return onnx.version_converter.convert_version(model, OPSET)
        except RuntimeError as error:
            reason = str(error).rpartition(" failed: ")[2]  # the part before is a location in onnx's source
            raise ExportError(
                f"cannot convert the graph from opset {version} to {OPSET}: {reason}; export the net with opset {OPSET}"
            ) from error
    if version > OPSET:
        lowered = onnx.ModelProto()
        lowered.CopyFrom(model)
        model = lowered
        constants = _constants(model.graph)
        for node in model.graph.node:
            _lower(node, constants, version)
        next(entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")).version = OPSET
        model.ir_version = min(model.ir_version, 8)
    return model


def _version(model: onnx.ModelProto) -> int:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    foreign = sorted(domain for domain in versions if domain not in ("", "ai.onnx"))
    used = {node.domain for node in model.graph.node}
    if used & set(foreign):
        raise ExportError(f"the graph uses operators outside the ONNX standard ({', '.join(foreign)})")
    return int(versions.get("", versions.get("ai.onnx", 0)))


def _constants(graph: onnx.GraphProto) -> Constants:
    """Return the constant tensors by name: initializers and the outputs of Constant nodes."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            known[node.output[0]] = numpy_helper.to_array(value) if hasattr(value, "dims") else np.asarray(value)
    return known


def _lower(node: onnx.NodeProto, constants: Constants, version: int) -> None:
    since = onnx.defs.get_schema(node.op_type, version).since_version
    if since <= OPSET:
        return
    if node.op_type in SAME_MEANING:
        _drop_new_options(node, version)
        return
    if node.op_type not in RULES:
        raise ExportError(
            f"operator {node.op_type} (opset {since}) cannot be converted to opset {OPSET}; "
            f"export the net with opset {OPSET}, or replace that operator"
        )
    RULES[node.op_type](node, constants)


# After opset 17, these only gained data types (or, for Cast and Reshape, options that are off by default).
SAME_MEANING = frozenset(
    """
    Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose
    DequantizeLinear Div Elu Equal Expand Flatten Floor Gather Gemm GlobalAveragePool HardSwish Identity If
    InstanceNormalization LeakyRelu Loop LpPool MatMul Max MaxPool Min Mod Mul Neg PRelu Pow QuantizeLinear Relu Reshape
    Round Scan ScatterElements ScatterND Shape Sigmoid Size Slice Softmax Sqrt Squeeze Sub Tanh Transpose Unsqueeze
    Where
    """.split()  # noqa: SIM905
)


def _drop_new_options(node: onnx.NodeProto, version: int) -> None:
    """Drop attributes that opset 17 lacks. Raises ExportError if one is set to another value than its default."""
    known, options = (onnx.defs.get_schema(node.op_type, opset).attributes for opset in (OPSET, version))
    new = {attribute.name: attribute for attribute in node.attribute if attribute.name not in known}
    for name, attribute in new.items():
        if helper.get_attribute_value(attribute) != helper.get_attribute_value(options[name].default_value):
            raise ExportError(f"{node.op_type} '{node.name}' sets {name}, which opset {OPSET} lacks")
    _drop_attributes(node, *new)


def _drop_attributes(node: onnx.NodeProto, *names: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _pad(node: onnx.NodeProto, constants: Constants) -> None:
    """Lower Pad: opset 18 added an input for axes, opset 19 the mode wrap."""
    if len(node.input) > 3 and node.input[3]:
        raise ExportError(f"Pad '{node.name}' has an axes input, which opset {OPSET} lacks; pad all axes")
    if any(attribute.name == "mode" and attribute.s == b"wrap" for attribute in node.attribute):
        raise ExportError(f"Pad '{node.name}' has mode wrap, which opset {OPSET} lacks")


def _reduce(node: onnx.NodeProto, constants: Constants) -> None:
    """Lower Reduce*: axes are an input since opset 18, an attribute before."""
    if len(node.input) > 1 and node.input[1]:
        if node.input[1] not in constants:
            raise ExportError(f"{node.op_type} '{node.name}' has computed axes; opset {OPSET} needs constant axes")
        axes = [int(axis) for axis in constants[node.input[1]]]
        node.attribute.append(helper.make_attribute("axes", axes))
    elif any(attribute.name == "noop_with_empty_axes" and attribute.i for attribute in node.attribute):
        raise ExportError(f"{node.op_type} '{node.name}' reduces no axis, which opset {OPSET} lacks; remove it")
    del node.input[1:]
    _drop_attributes(node, "noop_with_empty_axes")


def _resize(node: onnx.NodeProto, constants: Constants) -> None:
    """Lower Resize: opset 18 added antialiasing and axes; without them it is Resize-13."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if values.get("antialias", 0) or values.get("axes"):
        raise ExportError(f"Resize '{node.name}' has antialias or axes, which opset {OPSET} lacks")
    _drop_attributes(node, "antialias", "axes", "keep_aspect_ratio_policy")


def _split(node: onnx.NodeProto, constants: Constants) -> None:
    """Lower Split: opset 18 added num_outputs; without it, it is Split-13."""
    _drop_attributes(node, "num_outputs")


RULES: dict[str, Callable[[onnx.NodeProto, Constants], None]] = {
    "Pad": _pad,
    "Resize": _resize,
    "Split": _split,
    **dict.fromkeys(REDUCTIONS, _reduce),
}
