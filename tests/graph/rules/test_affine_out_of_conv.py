from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.affine_out_of_conv import AffineOutOfConv

from .equivalence import (
    PER_CHANNEL,
    Graph,
    RandomConv,
    affine,
    applied,
    convolutions,
    declined,
    noise,
    operators,
    pairs,
    random_graphs,
)


@random_graphs
@given(convolutions(strides=pairs(1, 2), groups=st.integers(1, 3)), st.lists(affine, min_size=1, max_size=3))
def test_random_graphs(conv: RandomConv, steps: list[tuple[str, str]]) -> None:
    g = Graph(conv.dims)
    y = conv.add(g)
    for kind, shape in steps:
        y = getattr(g, kind)(y, PER_CHANNEL[shape](conv.outputs))
    assert operators(applied(g.model(y), AffineOutOfConv, times=len(steps))) == ["Conv"]


def test_dilated_convolution_of_any_size_with_an_empty_bias() -> None:
    g = Graph(("N", 2, "H", "W"))
    y = g.Mul(g.Conv("x", noise(3, 2, 3, 3), None, strides=[2, 1], dilations=[1, 2]), noise(3, 1, 1))
    assert operators(applied(g.model(y), AffineOutOfConv)) == ["Conv"]


def test_ignores_outputs_with_other_readers() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3))
    z = g.Mul(y, np.float32(3))
    declined(g.model(z, y), AffineOutOfConv)
    declined(g.model(z, g.Relu(y)), AffineOutOfConv)
    declined(g.model(g.Mul(y, y)), AffineOutOfConv)


@pytest.mark.parametrize(
    "operand",
    [noise(2, 2, 1, 1), noise(4), noise(1, 2, 4, 1), noise(1, 1, 1, 1, 1), noise(1, 1, 2, 1, 1)],
    ids=np.shape,
)
def test_ignores_operands_that_are_not_per_channel(operand: np.ndarray) -> None:
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Mul(g.Conv("x", noise(2, 3, 3, 3)), operand)), AffineOutOfConv)


def test_ignores_operands_that_add_channels() -> None:
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Add(g.Conv("x", noise(1, 3, 3, 3)), noise(1, 3, 1, 1))), AffineOutOfConv)


def test_ignores_computed_and_swapped_operands() -> None:
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Add(g.Conv("x", noise(2, 3, 3, 3)), g.input("s", (1, 2, 1, 1)))), AffineOutOfConv)
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Sub(np.float32(1), g.Conv("x", noise(2, 3, 3, 3)))), AffineOutOfConv)


def test_ignores_unreadable_and_transposed_convolutions() -> None:
    g = Graph((1, 3, 6, 6))
    declined(g.model(g.Mul(g.Conv("x", g.input("w", (2, 3, 3, 3))), np.float32(2))), AffineOutOfConv)
    g = Graph((1, 3, 6, 6))
    declined(g.model(g.Mul(g.ConvTranspose("x", noise(3, 2, 3, 3)), np.float32(2))), AffineOutOfConv)
