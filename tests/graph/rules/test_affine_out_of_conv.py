from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.affine_out_of_conv import AffineOutOfConv

from .equivalence import (
    Graph,
    applied,
    batches,
    bias_or_none,
    biased,
    channels,
    declined,
    noise,
    operators,
    random_graphs,
    sides,
)
from .test_affine_into_conv import LAYOUTS


@random_graphs
@given(
    batches,
    channels,
    channels,
    st.integers(1, 3),
    sides,
    sides,
    biased,
    st.lists(
        st.tuples(st.sampled_from(["Mul", "Add", "Sub"]), st.sampled_from(sorted(LAYOUTS))), min_size=1, max_size=3
    ),
)
def test_random_graphs(
    batch: int,
    inputs: int,
    outputs: int,
    group: int,
    height: int,
    width: int,
    bias: bool,
    affine: list[tuple[str, str]],
) -> None:
    outputs *= group
    g = Graph((batch, inputs * group, height, width))
    w = noise(outputs, inputs, 3, 3)
    y = g.Conv("x", w, *bias_or_none(bias, outputs), group=group, pads=[1, 0, 2, 1], dilations=[1, 1])
    for kind, layout in affine:
        y = getattr(g, kind)(y, LAYOUTS[layout](outputs))
    assert operators(applied(g.model(y), AffineOutOfConv, times=len(affine))) == ["Conv"]


def test_a_dilated_strided_convolution_of_any_size_with_implicit_bias() -> None:
    g = Graph(("N", 2, "H", "W"))
    y = g.Mul(g.Conv("x", noise(3, 2, 3, 3), None, strides=[2, 1], dilations=[1, 2]), noise(3, 1, 1))
    assert operators(applied(g.model(y), AffineOutOfConv)) == ["Conv"]


def test_leaves_what_others_read() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3))
    z = g.Mul(y, np.float32(3))
    declined(g.model(z, y), AffineOutOfConv)
    declined(g.model(z, g.Relu(y)), AffineOutOfConv)
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3))
    declined(g.model(g.Mul(y, y)), AffineOutOfConv)


def test_leaves_what_is_not_one_number_a_channel() -> None:
    for operand in (noise(2, 2, 1, 1), noise(4), noise(1, 2, 4, 1), noise(1, 1, 1, 1, 1), noise(1, 1, 2, 1, 1)):
        g = Graph((2, 3, 6, 6))
        declined(g.model(g.Mul(g.Conv("x", noise(2, 3, 3, 3)), operand)), AffineOutOfConv)
    g = Graph((2, 3, 6, 6))  # one channel becomes three
    declined(g.model(g.Add(g.Conv("x", noise(1, 3, 3, 3)), noise(1, 3, 1, 1))), AffineOutOfConv)
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Add(g.Conv("x", noise(2, 3, 3, 3)), g.input("s", (1, 2, 1, 1)))), AffineOutOfConv)
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Sub(np.float32(1), g.Conv("x", noise(2, 3, 3, 3)))), AffineOutOfConv)


def test_leaves_convolutions_that_it_cannot_read() -> None:
    g = Graph((1, 3, 6, 6))
    declined(g.model(g.Mul(g.Conv("x", g.input("w", (2, 3, 3, 3))), np.float32(2))), AffineOutOfConv)
    g = Graph((1, 3, 6, 6))
    declined(g.model(g.Mul(g.Conv("x", noise(2, 3, 3, 3), g.input("b", (2,))), np.float32(2))), AffineOutOfConv)
    g = Graph((1, 3, 6))
    declined(g.model(g.Mul(g.Conv("x", noise(2, 3, 3)), np.float32(2))), AffineOutOfConv)
    g = Graph((1, 3, 6, 6))
    declined(g.model(g.Mul(g.ConvTranspose("x", noise(3, 2, 3, 3)), np.float32(2))), AffineOutOfConv)
