"""Conversion of graphs of other opsets to opset 17: the results stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nstopt.errors import ExportError
from nstopt.export.opset import REDUCTIONS, RULES, to_opset_17

from .graphs import Array, Dims, model_of, run

X: Array = (np.random.default_rng(0).random((2, 3, 8, 6)) + 0.1).astype(np.float32)
FREE: Dims = [None] * 4


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def node(kind: str, *more: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *more], list(outputs), name="this", **attributes)


def graph(nodes: list[onnx.NodeProto], opset: int = 18, **constants: Array) -> onnx.ModelProto:
    model = model_of(nodes, constants, opset, out_dims=FREE)
    model.ir_version = 10
    return model


def check_same(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    lowered = to_opset_17(model)
    assert model.SerializeToString() == before
    assert [entry.version for entry in lowered.opset_import] == [17]
    assert lowered.ir_version <= 8
    onnx.checker.check_model(lowered, full_check=True)
    np.testing.assert_allclose(run(lowered, X), run(model, X), rtol=1e-6)


@pytest.mark.parametrize("kind", sorted(REDUCTIONS))
@pytest.mark.parametrize("axes", [(), (2, 3), (-1,)])
def test_reductions(kind: str, axes: tuple[int, ...]) -> None:
    if axes:
        check_same(graph([node(kind, "axes", keepdims=1)], axes=ints(*axes)))
    else:
        check_same(graph([node(kind, noop_with_empty_axes=0)]))


def test_axes_from_a_constant_node() -> None:
    axes = helper.make_node("Constant", [], ["axes"], value=onnx.numpy_helper.from_array(ints(1)))
    check_same(graph([axes, node("ReduceMean", "axes")]))
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[2, 3])
    check_same(graph([axes, node("ReduceMean", "axes")]))


@pytest.mark.parametrize("mode", ["reflect", "constant", "edge"])
def test_pad(mode: str) -> None:
    pads, value = ints(0, 0, 2, 1, 0, 0, 3, 0), np.array(0.5, np.float32)
    check_same(graph([node("Pad", "pads", "value", mode=mode)], pads=pads, value=value))


@pytest.mark.parametrize("opset", [18, 19])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize(mode: str, opset: int) -> None:
    scales = np.array([1, 1, 2, 1.5], np.float32)
    check_same(graph([node("Resize", "", "scales", mode=mode, antialias=0)], opset, scales=scales))
    resize = node("Resize", "", "", "sizes", mode=mode, keep_aspect_ratio_policy="stretch")
    check_same(graph([resize], opset, sizes=ints(2, 3, 5, 9)))


def test_split() -> None:
    def parts(*more: str, **attributes: Any) -> list[onnx.NodeProto]:
        join = helper.make_node("Concat", ["b", "a"], ["y"], axis=2)
        return [node("Split", *more, outputs=("a", "b"), axis=2, **attributes), join]

    check_same(graph(parts("sizes"), sizes=ints(3, 5)))
    check_same(graph(parts(num_outputs=2)))


def test_every_rule_is_tested_above() -> None:
    assert set(RULES) == REDUCTIONS | {"Pad", "Resize", "Split"}


def test_attributes_at_their_default_are_dropped() -> None:
    there = node("Cast", outputs=("i",), to=TensorProto.INT32, saturate=1)
    back = helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT, saturate=1)
    check_same(graph([there, back], 19))
    cast = helper.make_node("Cast", ["x"], ["y"], name="this", to=TensorProto.FLOAT, saturate=0)
    with pytest.raises(ExportError, match="Cast 'this' sets saturate, which opset 17 lacks"):
        to_opset_17(graph([cast], 19))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graph([node("Pad", "p", "", "a")], p=ints(1, 1), a=ints(3)), "Pad 'this' has an axes input"),
        (graph([node("Pad", "p", mode="wrap")], 19, p=ints(0, 0, 1, 1, 0, 0, 1, 1)), "Pad 'this' has mode wrap"),
        (graph([node("ReduceMax", noop_with_empty_axes=1)]), "ReduceMax 'this' reduces no axis"),
        (
            graph([node("Shape", outputs=("a",), start=0, end=1), node("ReduceMin", "a")]),
            "ReduceMin 'this' has computed axes",
        ),
        (
            graph([node("Resize", "", "s", mode="linear", antialias=1)], s=np.ones(4, np.float32)),
            "Resize 'this' has antialias or axes",
        ),
        (
            graph([node("Resize", "", "s", axes=[2, 3])], s=np.ones(2, np.float32)),
            "Resize 'this' has antialias or axes",
        ),
        (graph([node("Gelu")], 20), r"operator Gelu \(opset 20\) cannot be converted to opset 17; export the net with"),
    ],
)
def test_operators_without_an_opset_17_form_are_refused(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        to_opset_17(model)


def test_operators_outside_the_standard_are_refused() -> None:
    model = graph([helper.make_node("Magic", ["x"], ["y"], domain="com.example")])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ExportError, match=r"operators outside the ONNX standard \(com\.example\)"):
        to_opset_17(model)


def test_a_graph_of_opset_17_is_returned_itself() -> None:
    model = graph([node("Relu")], 17)
    assert to_opset_17(model) is model


def old_style_net(opset: int, ir_version: int) -> onnx.ModelProto:
    """Make a graph as PyTorch wrote in 2019: pads as attributes, Upsample, and weights listed among the inputs."""
    rng = np.random.default_rng(1)
    weights: dict[str, Array] = {
        "w": rng.standard_normal((3, 3, 3, 3)).astype(np.float32),
        "gain": np.array([1, 2, 3], np.float32),
        "bias": np.array([0.1, 0.2, 0.3], np.float32),
        "twice": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        helper.make_node("Pad", ["x"], ["p"], mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        helper.make_node("Conv", ["p", "w"], ["c"], strides=[2, 2]),
        helper.make_node("InstanceNormalization", ["c", "gain", "bias"], ["n"]),
        helper.make_node("Upsample", ["n", "twice"], ["y"], mode="nearest"),
    ]
    model = model_of(nodes, weights, opset)
    model.ir_version = ir_version
    if ir_version < 4:
        for name, value in weights.items():
            model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    return model


@pytest.mark.parametrize(("opset", "ir_version"), [(9, 3), (9, 4)])
def test_old_nets_are_converted(opset: int, ir_version: int) -> None:
    model = old_style_net(opset, ir_version)
    raised = to_opset_17(model)
    assert [entry.version for entry in raised.opset_import] == [17]
    np.testing.assert_allclose(run(raised, X), run(model, X), rtol=1e-5, atol=1e-5)


def test_a_graph_of_opset_13_is_converted() -> None:
    model = graph([node("ReduceMean", axes=[2, 3])], 13)
    np.testing.assert_allclose(run(to_opset_17(model), X), X.mean(axis=(2, 3), keepdims=True), rtol=1e-6)


def test_an_operator_that_onnx_cannot_convert() -> None:
    model = graph([node("LpPool", kernel_shape=[2, 2])], 1)
    with pytest.raises(ExportError, match=r"^cannot convert the graph from opset 1 to 17: No Adapter .* for LpPool; e"):
        to_opset_17(model)
