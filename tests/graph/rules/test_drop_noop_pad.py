from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from nstopt.graph.rules.drop_noop_pad import DropNoopPad

from .equivalence import Dims, Graph, applied, declined, operators


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("dims", [(1, 3, 6, 7), ("N", 3, "H", "W"), (2, 5)])
def test_padding_by_nothing(mode: str, dims: Dims) -> None:
    g = Graph(dims)
    y = g.Relu(g.Pad(g.Tanh("x"), np.zeros(2 * len(dims), np.int64), mode=mode))
    assert operators(applied(g.model(y), DropNoopPad)) == ["Tanh", "Relu"]


def test_between_input_and_output() -> None:
    g = Graph((1, 3, 6, 7))
    applied(g.model(g.Pad("x", np.zeros(8, np.int64), np.float32(7))), DropNoopPad)


def test_several_that_others_read_too() -> None:
    g = Graph((1, 3, 6, 7))
    first = g.Pad("x", np.zeros(8, np.int64))
    second = g.Pad(first, np.zeros(8, np.int64))
    applied(g.model(first, second, g.Relu(first)), DropNoopPad, times=2)


def test_leaves_other_paddings() -> None:
    for amounts in ([0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0, -1, 0]):
        g = Graph((1, 3, 6, 7))
        declined(g.model(g.Pad("x", np.array(amounts))), DropNoopPad)
    g = Graph((1, 3, 6, 7))
    computed = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    declined(g.model(g.Pad("x", computed)), DropNoopPad)
