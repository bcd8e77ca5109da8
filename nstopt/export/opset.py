"""Any ONNX opset → opset 17, the one that TensorRT 8.5 … 11, ONNX Runtime and OpenVINO all read.

Upwards, onnx's own converter does it. Downwards it knows few operators, so the ones that nets of pictures use are
undone here; each differs from its opset-17 form only in where an argument stands, or by an attribute that was added.
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
    """The same graph in opset 17. Raises ExportError naming the operator that has no form there."""
    version = _version(model)
    if version < OPSET:
        try:
            return onnx.version_converter.convert_version(model, OPSET)
        except RuntimeError as error:
            reason = str(error).rpartition(" failed: ")[2]  # a place in onnx's own source comes before
            raise ExportError(
                f"cannot raise the graph from opset {version} to {OPSET}: {reason}; export the net with opset {OPSET}"
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
    """Tensors known now, by name: initializers and the outputs of Constant nodes."""
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
            f"operator {node.op_type} (opset {since}) has no known form in opset {OPSET}; "
            f"export the net with opset {OPSET}, or replace that operator"
        )
    RULES[node.op_type](node, constants)


# These only gained data types (or, for Cast and Reshape, options that are off by default) after opset 17.
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
    """Attributes that opset 17 does not know may be left out where they say what is the default."""
    known, options = (onnx.defs.get_schema(node.op_type, opset).attributes for opset in (OPSET, version))
    new = {attribute.name: attribute for attribute in node.attribute if attribute.name not in known}
    for name, attribute in new.items():
        if helper.get_attribute_value(attribute) != helper.get_attribute_value(options[name].default_value):
            raise ExportError(f"{node.op_type} '{node.name}' sets {name}, which opset {OPSET} cannot")
    _drop_attributes(node, *new)


def _drop_attributes(node: onnx.NodeProto, *names: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _pad(node: onnx.NodeProto, constants: Constants) -> None:
    """Pad-18 may name its axes; opset 17 pads all of them."""
    if len(node.input) > 3 and node.input[3]:
        raise ExportError(f"Pad '{node.name}' names axes, which opset {OPSET} cannot; pad all axes")
    if any(attribute.name == "mode" and attribute.s == b"wrap" for attribute in node.attribute):
        raise ExportError(f"Pad '{node.name}' wraps around, which opset {OPSET} cannot")


def _reduce(node: onnx.NodeProto, constants: Constants) -> None:
    """Reduce*-18 takes its axes as an input, opset 17 as an attribute."""
    if len(node.input) > 1 and node.input[1]:
        if node.input[1] not in constants:
            raise ExportError(f"{node.op_type} '{node.name}' computes its axes, which opset {OPSET} cannot")
        axes = [int(axis) for axis in constants[node.input[1]]]
        node.attribute.append(helper.make_attribute("axes", axes))
    elif any(attribute.name == "noop_with_empty_axes" and attribute.i for attribute in node.attribute):
        raise ExportError(f"{node.op_type} '{node.name}' reduces nothing, which opset {OPSET} cannot say; remove it")
    del node.input[1:]
    _drop_attributes(node, "noop_with_empty_axes")


def _resize(node: onnx.NodeProto, constants: Constants) -> None:
    """Resize-18 adds antialiasing and axes; without them it is Resize-13."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if values.get("antialias", 0) or values.get("axes"):
        raise ExportError(f"Resize '{node.name}' antialiases or names axes, which opset {OPSET} cannot")
    _drop_attributes(node, "antialias", "axes", "keep_aspect_ratio_policy")


def _split(node: onnx.NodeProto, constants: Constants) -> None:
    """Split-18 may give the number of parts; without it, it is Split-13."""
    _drop_attributes(node, "num_outputs")


RULES: dict[str, Callable[[onnx.NodeProto, Constants], None]] = {
    "Pad": _pad,
    "Resize": _resize,
    "Split": _split,
    **dict.fromkeys(REDUCTIONS, _reduce),
}
