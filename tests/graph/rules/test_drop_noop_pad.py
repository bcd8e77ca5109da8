from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from nstopt.graph.rules.drop_noop_pad import DropNoopPad

from .equivalence import Dims, Graph, applied, declined, operators


@pytest.mark.parametrize(
    ("mode", "dims"), [("constant", (1, 3, 6, 7)), ("reflect", ("N", 3, "H", "W")), ("edge", (2, 5))]
)
def test_empty_padding(mode: str, dims: Dims) -> None:
    g = Graph(dims)
    y = g.Relu(g.Pad(g.Tanh("x"), np.zeros(2 * len(dims), np.int64), mode=mode))
    assert operators(applied(g.model(y), DropNoopPad)) == ["Tanh", "Relu"]


def test_between_input_and_output() -> None:
    g = Graph((1, 3, 6, 7))
    applied(g.model(g.Pad("x", np.zeros(8, np.int64), np.float32(7))), DropNoopPad)


def test_several_with_other_readers() -> None:
    g = Graph((1, 3, 6, 7))
    first = g.Pad("x", np.zeros(8, np.int64))
    second = g.Pad(first, np.zeros(8, np.int64))
    applied(g.model(first, second, g.Relu(first)), DropNoopPad, times=2)


@pytest.mark.parametrize("amounts", [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0, -1, 0]])
def test_ignores_other_paddings(amounts: list[int]) -> None:
    g = Graph((1, 3, 6, 7))
    declined(g.model(g.Pad("x", np.array(amounts))), DropNoopPad)


def test_ignores_computed_paddings() -> None:
    g = Graph((1, 3, 6, 7))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    declined(g.model(g.Pad("x", amounts)), DropNoopPad)
