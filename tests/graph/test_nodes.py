from __future__ import annotations

import numpy as np

from nstopt.graph.nodes import convolutions, initializers, multiplying, name_convolutions, producers, shapes

from .rules.equivalence import Graph, noise


def small() -> Graph:
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


def test_initializers() -> None:
    found = initializers(small().model("t2").graph)
    assert list(found) == ["c0", "c1"]
    np.testing.assert_array_equal(found["c1"], noise(2, 3, 3, 3))


def test_shapes_have_none_for_free_dimensions() -> None:
    found = shapes(small().model("t2").graph)
    assert found["x"] == (None, 3, None, 8)
    assert found["t0"] == (None, 2, None, 6)
    assert found["t2"] == (None, 3, None, 8)


def test_multiplying_leaves_out_what_only_adds_or_picks_and_what_is_computed() -> None:
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
