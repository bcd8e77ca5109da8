"""Small and random graphs, and checks that a rule rewrites them into equal ones.

g = Graph((1, 3, 8, 8))
y = g.Conv(g.Relu("x"), noise(4, 3, 3, 3), pads=[1, 1, 1, 1])
after = applied(g.model(y), SomeRule)         # or: declined(g.model(y), SomeRule, "the reason")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir

from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import apply
from nstopt.graph.rule import Context, Event, Rule

Array = NDArray[Any]
Dims = Sequence[int | str | None]
TOLERANCE = 1e-5
# Values of free dimensions when a graph is run.
FREE = {"N": 2, "H": 7, "W": 10}
NO_PADS = (0, 0, 0, 0)
# Amounts of a Pad over height and width, different at each side.
SPATIAL_PADS = np.array([0, 0, 1, 2, 0, 0, 2, 0])
# The second is a tenth of the inputs' variance, so that it changes the result.
EPSILONS: list[dict[str, float]] = [{}, {"epsilon": 250.0}]

# The same graphs in every run.
random_graphs = settings(derandomize=True, database=None, max_examples=20)
batches = st.integers(1, 2)
channels = st.integers(1, 9)
sides = st.integers(3, 12)
shapes = st.tuples(batches, channels, sides, sides)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two numbers in low..high, for height and width."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


def noise(*shape: int) -> Array:
    """Normal random numbers, float32, the same in each call."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


# One number, or one number per channel, in all shapes that broadcast to NCHW.
PER_CHANNEL: dict[str, Callable[[int], Array | np.float32]] = {
    "number": lambda count: np.float32(1.7),
    "one": lambda count: np.full(1, -0.3, np.float32),
    "four-dimensional": lambda count: noise(1, 1, 1, 1),
    "column": lambda count: noise(count, 1, 1),
    "channels": lambda count: noise(1, count, 1, 1),
}
affine = st.tuples(st.sampled_from(["Mul", "Add", "Sub"]), st.sampled_from(sorted(PER_CHANNEL)))


class RandomConv(NamedTuple):
    """A convolution with random weights. `size` is (height, width) of its input, `pads` (top, left, bottom, right)."""

    operator: str
    batch: int
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    size: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, ...]
    group: int
    has_bias: bool
    output_padding: tuple[int, int] = (0, 0)

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of the input, NCHW."""
        return (self.batch, self.inputs, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        if self.operator == "Conv":
            return (self.outputs, self.inputs // self.group, *self.kernel)
        return (self.inputs, self.outputs // self.group, *self.kernel)

    def add(self, g: Graph, x: str = "x", weight: str | None = None, bias: Array | None = None) -> str:
        """Add the convolution of `x` to the graph, with noise for a weight or bias that is not given."""
        inputs = [noise(*self.weight_shape) if weight is None else weight]
        if self.has_bias:
            inputs.append(noise(self.outputs) if bias is None else bias)
        attributes: dict[str, Any] = {"strides": self.strides, "pads": self.pads, "group": self.group}
        if self.operator == "ConvTranspose":
            attributes["output_padding"] = self.output_padding
        return getattr(g, self.operator)(x, *inputs, **attributes)  # type: ignore[no-any-return]


def inside(kernel: tuple[int, int]) -> st.SearchStrategy[tuple[int, ...]]:
    """Pads that are smaller than the kernel."""
    return st.tuples(*(st.integers(0, side - 1) for side in kernel * 2))


def none_or_inside(kernel: tuple[int, int]) -> st.SearchStrategy[tuple[int, ...]]:
    """No pads in half of the examples."""
    return st.just(NO_PADS) | inside(kernel)


@st.composite
def convolutions(
    draw: st.DrawFn,
    operators: Sequence[str] = ("Conv",),
    inputs: st.SearchStrategy[int] = channels,
    outputs: st.SearchStrategy[int] = channels,
    kernels: st.SearchStrategy[tuple[int, int]] = pairs(1, 4),  # noqa: B008 - strategies do not change
    strides: st.SearchStrategy[tuple[int, int]] = pairs(1, 1),  # noqa: B008
    pads: Callable[[tuple[int, int]], st.SearchStrategy[tuple[int, ...]]] = inside,
    groups: st.SearchStrategy[int] = st.just(1),  # noqa: B008
    has_bias: st.SearchStrategy[bool] = st.booleans(),  # noqa: B008
) -> RandomConv:
    """Convolutions whose kernel fits into the input. `inputs` and `outputs` are channels per group."""
    kernel, group = draw(kernels), draw(groups)
    height, width = draw(pairs(2, 11))
    return RandomConv(
        operator=draw(st.sampled_from(operators)),
        batch=draw(batches),
        inputs=draw(inputs) * group,
        outputs=draw(outputs) * group,
        kernel=kernel,
        size=(height + kernel[0], width + kernel[1]),
        strides=draw(strides),
        pads=draw(pads(kernel)),
        group=group,
        has_bias=draw(has_bias),
    )


class Graph:
    """Builds a graph that reads `x`. `g.Relu("x")` adds a node without a name and returns its output's name. Arrays
    become constants; None stands for an input left out."""

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
        """Add a constant, which several nodes may read."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def input(self, name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> str:
        """Add another input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def model(self, *outputs: str, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """Make a model of the nodes that `outputs` need, as `rewrite` takes it: shapes inferred, convolutions named."""
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
    """Compute all outputs on random inputs, without optimizations of the runtime."""
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
    """Apply the rule, check that the graph computes the same, and return it and the log."""
    context = Context(lambda layer: form)
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
    """Apply the rule, check that it applies to `times` nodes, and return the graph."""
    after, events = rewritten(model, rule, form)
    assert sum(event.applied for event in events) == times, events
    return after


def declined(model: onnx.ModelProto, rule: type[Rule], reason: str | None = None, form: str = "plain") -> None:
    """Check that the rule leaves the graph unchanged and logs `reason`, or nothing if `reason` is None."""
    after, events = rewritten(model, rule, form)
    assert after == model
    assert not any(event.applied for event in events)
    if reason is None:
        assert events == []
    else:
        assert any(reason in event.reason for event in events), events


def nodes_of(g: Graph, *outputs: str) -> list[ir.Node]:
    """Return the nodes that `outputs` need as onnx_ir nodes, in graph order."""
    return list(ir.from_proto(g.model(*outputs)).graph)


def operators(model: onnx.ModelProto) -> list[str]:
    """Return the operators of all nodes, in graph order."""
    return [node.op_type for node in model.graph.node]
