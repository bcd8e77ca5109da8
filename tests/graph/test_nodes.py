from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from nstopt.graph.nodes import (
    attribute,
    cast_to,
    clone,
    convolutions,
    dequantized,
    groups,
    initializers,
    multiplying,
    name_convolutions,
    producers,
    read_by_norms,
    shapes,
)

from .rules.equivalence import Graph, noise


def small() -> Graph:
    """Make a graph of a Conv (t0), a Relu (t1) and a ConvTranspose (t2)."""
    g = Graph(("N", 3, "H", 8))
    g.ConvTranspose(g.Relu(g.Conv("x", noise(2, 3, 3, 3))), g.constant(noise(2, 3, 3, 3)))
    return g


def test_convolutions_and_producers() -> None:
    model = small().model("t2")
    assert [node.op_type for node in convolutions(model.graph)] == ["Conv", "ConvTranspose"]
    assert {name: node.op_type for name, node in producers(model.graph).items()} == {
        "t0": "Conv",
        "t1": "Relu",
        "t2": "ConvTranspose",
    }


def test_a_clone_shares_nothing() -> None:
    model = small().model("t2")
    copy = clone(model)
    assert copy == model
    copy.graph.node[0].name = copy.graph.initializer[0].name = "another"
    assert model == small().model("t2")


def test_attributes() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], group=3, strides=[2, 1], auto_pad="VALID")
    assert attribute(conv, "strides", [1, 1]) == [2, 1]
    assert attribute(conv, "auto_pad", b"NOTSET") == b"VALID"
    assert attribute(conv, "dilations", [1, 1]) == [1, 1]
    assert (groups(conv), groups(helper.make_node("Conv", ["x", "w"], ["y"]))) == (3, 1)
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT8)
    assert (cast_to(cast), cast_to(conv)) == (TensorProto.UINT8, 0)


def test_dequantized_tensors_through_casts() -> None:
    g = Graph((1, 3, 8, 8))
    scale, zero = g.constant(np.float32(0.5)), g.constant(np.uint8(128))
    x = g.DequantizeLinear(g.QuantizeLinear("x", scale, zero), scale, zero)
    model = g.model(g.Cast(g.Cast(x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT))
    assert dequantized(model.graph) == {"t1": "t0", "t2": "t0", "t3": "t0"}


def test_read_by_norms_leaves_out_tensors_with_other_readers() -> None:
    g = Graph((1, 3, 8, 8))
    x = g.Tanh(g.InstanceNormalization(g.Relu("x"), noise(3), noise(3)))
    model = g.model(g.Add(g.InstanceNormalization(x, noise(3), noise(3)), x))
    assert {name for name in read_by_norms(model.graph) if name.startswith("t")} == {"t0"}


def test_initializers() -> None:
    found = initializers(small().model("t2").graph)
    assert list(found) == ["c0", "c1"]
    np.testing.assert_array_equal(found["c1"], noise(2, 3, 3, 3))


def test_shapes_have_none_for_free_dimensions() -> None:
    found = shapes(small().model("t2").graph)
    assert found["x"] == (None, 3, None, 8)
    assert found["t0"] == (None, 2, None, 6)
    assert found["t2"] == (None, 3, None, 8)


def test_multiplying_leaves_out_weights_of_0_and_1_and_computed_weights() -> None:
    g = Graph((1, 3, 8, 8))
    x = g.Conv("x", noise(3, 3, 3, 3))
    x = g.Conv(x, np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1))
    x = g.Conv(x, np.ones((3, 3, 1, 1), np.float32))
    x = g.Conv(x, np.full((3, 3, 1, 1), -1, np.float32))
    x = g.Conv(x, g.input("w", (3, 3, 1, 1)))
    model = g.model(x)
    assert [node.output[0] for node in multiplying(model.graph)] == ["t0", "t3"]
    assert len(convolutions(model.graph)) == 5


def test_convolutions_are_named_after_their_weights() -> None:
    g = Graph((1, 3, 8, 8))
    x = g.Conv(g.Conv("x", g.constant(noise(3, 3, 1, 1))), "c0")
    x = g.ConvTranspose(g.Relu(x), noise(3, 3, 1, 1))
    model = g.model(x)
    model.graph.initializer[0].name = "net.res1.conv1.weight"
    for node in model.graph.node[:2]:
        node.input[1] = "net.res1.conv1.weight"
    name_convolutions(model)
    assert [node.name for node in model.graph.node] == ["res1.conv1", "res1.conv1#2", "", "c1"]
