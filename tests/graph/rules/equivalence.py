"""Small graphs, and whether a rule rewrites them into equal ones.

g = Graph((1, 3, 8, 8))
y = g.Conv(g.Relu("x"), noise(4, 3, 3, 3), pads=[1, 1, 1, 1])
after = applied(g.model(y), SomeRule)         # or: declined(g.model(y), SomeRule, "the reason")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import apply
from nstopt.graph.rule import Context, Event, Layer, Rule

Array = NDArray[Any]
Dims = Sequence[int | str | None]
TOLERANCE = 1e-5
# What free dimensions are when a graph is run.
FREE = {"N": 2, "H": 7, "W": 10}

# The same graphs in every run.
random_graphs = settings(deadline=None, derandomize=True, database=None, max_examples=25)
batches = st.integers(1, 2)
channels = st.integers(1, 9)
sides = st.integers(3, 12)
biased = st.booleans()


def noise(*shape: int) -> Array:
    """Normal random numbers, the same for a shape."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def bias_or_none(wanted: bool, count: int) -> list[Array]:
    """The bias of a convolution as its last inputs."""
    return [noise(count)] if wanted else []


class Graph:
    """Builds a graph that reads `x`: `g.Relu("x")` adds a node without a name and returns its output's. Arrays become
    constants, None an input left out."""

    def __init__(self, dims: Dims, kind: int = TensorProto.FLOAT) -> None:
        self.inputs = [helper.make_tensor_value_info("x", kind, dims)]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __getattr__(self, op_type: str) -> Callable[..., str]:
        def add(*inputs: str | Array | np.generic | None, **attributes: Any) -> str:
            names = [self.constant(value) if isinstance(value, np.ndarray | np.generic) else value for value in inputs]
            output = f"t{len(self.nodes)}"
            self.nodes.append(helper.make_node(op_type, [name or "" for name in names], [output], **attributes))
            return output

        return add

    def constant(self, value: Array | np.generic) -> str:
        """A constant that several nodes may read."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def input(self, name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> str:
        """Another input."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def model(self, *outputs: str, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """What `outputs` need, as `rewrite` takes it: shapes inferred, convolutions named."""
        needed = set(outputs)
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self.nodes):
            if node.output[0] in needed:
                nodes.insert(0, node)
                needed |= set(node.input)
        results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        graph = helper.make_graph(nodes, "g", self.inputs, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        name_convolutions(model)
        return model


def run(model: onnx.ModelProto) -> list[Array]:
    """All outputs on random inputs, computed as the graph says it."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {value.name: _fed(value) for value in model.graph.input}
    return [np.asarray(result) for result in session.run(None, feeds)]


def _fed(value: onnx.ValueInfoProto) -> Array:
    tensor = value.type.tensor_type
    shape = [dim.dim_value or FREE[dim.dim_param] for dim in tensor.shape.dim]
    if tensor.elem_type == TensorProto.INT64:
        return np.ones(shape, np.int64)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return np.asarray(np.random.default_rng(9).standard_normal(shape) * 50 + 3).astype(dtype)


def rewritten(model: onnx.ModelProto, rule: type[Rule], form: str = "plain") -> tuple[onnx.ModelProto, list[Event]]:
    """The graph after the rule, which was found equal to the one before, and what the rule logged."""

    def choose(layer: Layer) -> str:
        return form

    context = Context(choose)
    after = apply(model, rule, context)
    assert_equal(run(model), run(after))
    return after, context.events


def assert_equal(expected: Sequence[Array], found: Sequence[Array]) -> None:
    assert len(expected) == len(found)
    for before, after in zip(expected, found, strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
        if before.size:
            error = np.abs(before.astype(np.float64) - after).max()
            assert error <= TOLERANCE * np.abs(before.astype(np.float64)).max(), f"error {error}"


def applied(model: onnx.ModelProto, rule: type[Rule], form: str = "plain", times: int = 1) -> onnx.ModelProto:
    """The graph after a rule that applies to so many nodes."""
    after, events = rewritten(model, rule, form)
    assert sum(event.applied for event in events) == times, events
    return after


def declined(model: onnx.ModelProto, rule: type[Rule], reason: str | None = None, form: str = "plain") -> None:
    """The rule leaves the graph as it is, and says why unless it has nothing to do with it (`reason` None)."""
    after, events = rewritten(model, rule, form)
    assert after == model
    assert not any(event.applied for event in events)
    reasons = {event.reason for event in events}
    assert (reason is None and not reasons) or any(reason is not None and reason in said for said in reasons), reasons


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]
