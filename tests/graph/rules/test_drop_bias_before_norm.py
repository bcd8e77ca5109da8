from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.drop_bias_before_norm import DropBiasBeforeNorm

from .equivalence import Graph, applied, batches, channels, declined, noise, random_graphs, sides

EPSILONS: list[dict[str, float]] = [{}, {"epsilon": 1e-3}]


@random_graphs
@given(
    batches,
    channels,
    channels,
    st.integers(1, 3),
    sides,
    sides,
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from(EPSILONS),
)
def test_random_graphs(
    batch: int,
    inputs: int,
    outputs: int,
    kernel: int,
    height: int,
    width: int,
    stride: int,
    transposed: bool,
    epsilon: dict[str, float],
) -> None:
    g = Graph((batch, inputs, height, width))
    if transposed:
        y = g.ConvTranspose("x", noise(inputs, outputs, kernel, kernel), noise(outputs), strides=[stride, stride])
    else:
        y = g.Conv("x", noise(outputs, inputs, kernel, kernel), noise(outputs), strides=[stride, 1], pads=[0, 1, 1, 0])
    y = g.InstanceNormalization(y, noise(outputs), noise(outputs), **epsilon)
    after = applied(g.model(y), DropBiasBeforeNorm)
    assert [len(node.input) for node in after.graph.node] == [2, 3]


def test_a_computed_bias_goes_too() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3), g.input("b", (2,)))
    applied(g.model(g.InstanceNormalization(y, noise(2), noise(2))), DropBiasBeforeNorm)


@pytest.mark.parametrize("bias", [[], [None]])
def test_leaves_a_convolution_without_bias(bias: list[None]) -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3), *bias)
    declined(g.model(g.InstanceNormalization(y, noise(2), noise(2))), DropBiasBeforeNorm)


def test_leaves_a_norm_of_something_else() -> None:
    g = Graph((1, 2, 6, 6))
    declined(g.model(g.InstanceNormalization(g.Relu("x"), noise(2), noise(2))), DropBiasBeforeNorm)


def test_declines_what_others_read() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3), noise(2))
    z = g.InstanceNormalization(y, noise(2), noise(2))
    declined(g.model(z, y), DropBiasBeforeNorm, "read by more than the norm")
    declined(g.model(z, g.Relu(y)), DropBiasBeforeNorm, "read by more than the norm")
