from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.drop_bias_before_norm import DropBiasBeforeNorm

from .equivalence import (
    EPSILONS,
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    pairs,
    random_graphs,
)

biased = convolutions(["Conv", "ConvTranspose"], strides=pairs(1, 2), groups=st.integers(1, 2), has_bias=st.just(True))


@random_graphs
@given(biased, st.sampled_from(EPSILONS))
def test_random_graphs(conv: RandomConv, epsilon: dict[str, float]) -> None:
    g = Graph(conv.dims)
    y = g.InstanceNormalization(conv.add(g), noise(conv.outputs), noise(conv.outputs), **epsilon)
    after = applied(g.model(y), DropBiasBeforeNorm)
    assert [len(node.input) for node in after.graph.node] == [2, 3]


def test_computed_bias() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3), g.input("b", (2,)))
    applied(g.model(g.InstanceNormalization(y, noise(2), noise(2))), DropBiasBeforeNorm)


@pytest.mark.parametrize("bias", [[], [None]])
def test_ignores_convolutions_without_bias(bias: list[None]) -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3), *bias)
    declined(g.model(g.InstanceNormalization(y, noise(2), noise(2))), DropBiasBeforeNorm)


def test_ignores_norms_of_other_operators() -> None:
    g = Graph((1, 2, 6, 6))
    declined(g.model(g.InstanceNormalization(g.Relu("x"), noise(2), noise(2))), DropBiasBeforeNorm)


def test_declines_other_readers() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3), noise(2))
    z = g.InstanceNormalization(y, noise(2), noise(2))
    declined(g.model(z, y), DropBiasBeforeNorm, "readers besides the norm")
    declined(g.model(z, g.Relu(y)), DropBiasBeforeNorm, "readers besides the norm")
