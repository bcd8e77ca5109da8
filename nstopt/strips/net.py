"""The graph of an engine, made ready to be cut into stages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxscript import ir

from nstopt.graph.nodes import cast_to, clone
from nstopt.graph.statistics import OF_SHAPE, Opened, open_statistics

# Operators that compute sizes from sizes.
ARITHMETIC = frozenset({"Add", "Cast", "Concat", "Div", "Gather", "Mul", "ReduceProd", "Squeeze", "Sub", "Unsqueeze"})


def open_net(model: onnx.ModelProto) -> Opened:
    """Open the statistics of a lowered graph. It also gives the tensors that they are of, after the picture, so that
    each of them is still there when constants have been folded."""
    opened = open_statistics(model)
    graph = opened.model.graph
    known = {value.name: value for value in graph.value_info}
    sources = dict.fromkeys(one.source for one in opened.statistics)
    graph.output.extend(known[name] for name in sources if name in known)
    return opened


def with_counts_of(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Return a copy of `model` in which the numbers that are computed from a tensor's shape are those of the whole
    picture, whose tensors have `shapes`. An unbiased variance divides by such a number, the count of pixels less one.
    """
    model = clone(model)
    measured, counts, computed = set(), [], set()
    for node in model.graph.node:
        if node.op_type in OF_SHAPE:
            measured.add(node.input[0])
            computed.update(node.output)
        elif not computed.isdisjoint(node.input) and cast_to(node) == onnx.TensorProto.FLOAT:
            counts.append(node)
        elif not computed.isdisjoint(node.input) and node.op_type in ARITHMETIC:
            computed.update(node.output)
    if counts:
        part = ir.convenience.extract(ir.from_proto(model).graph, sorted(measured), [node.output[0] for node in counts])
        evaluator = ReferenceEvaluator(ir.to_proto(ir.Model(part, ir_version=model.ir_version)))
        values = evaluator.run(None, {name: np.broadcast_to(np.float32(0), shapes[name]) for name in measured})
        for node, value in zip(counts, values, strict=True):
            tensor = numpy_helper.from_array(np.asarray(value))
            node.CopyFrom(helper.make_node("Constant", [], [node.output[0]], value=tensor))
    return model
