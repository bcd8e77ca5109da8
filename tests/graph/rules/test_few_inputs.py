from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.few_inputs import FewInputs

from .equivalence import (
    NO_PADS,
    Dims,
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    operators,
    random_graphs,
)


@random_graphs
@given(
    convolutions(
        inputs=st.integers(1, 4),
        kernels=st.sampled_from([(5, 5), (9, 9)]),
        pads=lambda kernel: st.sampled_from([NO_PADS, (kernel[0] // 2,) * 4]),
    )
)
def test_random_graphs(conv: RandomConv) -> None:
    height, width = conv.size
    conv = conv._replace(size=(height + height % 2, width + width % 2))
    g = Graph(conv.dims)
    after = applied(g.model(conv.add(g)), FewInputs, "phase")
    assert operators(after) == ["SpaceToDepth", "Conv", "DepthToSpace"]


def test_input_with_other_readers() -> None:
    g = Graph((1, 3, 10, 12))
    x = g.Relu("x")
    y = g.Conv(x, noise(2, 3, 5, 5))
    applied(g.model(y, x, g.Tanh(y)), FewInputs, "phase")


SIZE: Dims = (1, 3, 14, 16)


@pytest.mark.parametrize(
    ("weight", "attributes", "reason"),
    [
        ((2, 3, 5, 5), {"strides": [2, 2]}, "grouped, strided"),
        ((2, 3, 5, 5), {"dilations": [2, 1]}, "grouped, strided"),
        ((3, 1, 5, 5), {"group": 3}, "grouped, strided"),
        ((2, 3, 5, 9), {}, "not square"),
        ((2, 3, 7, 7), {"pads": [3, 3, 3, 3]}, "begin at a block"),
        ((2, 3, 6, 6), {}, "begin at a block"),
        ((2, 3, 8, 8), {"pads": [4, 4, 4, 4]}, "begin at a block"),
        ((2, 3, 5, 5), {"pads": [1, 1, 1, 1]}, "begin at a block"),
        ((2, 3, 5, 5), {"pads": [2, 2, 0, 0]}, "begin at a block"),
    ],
)
def test_declines_convolutions(weight: tuple[int, ...], attributes: dict[str, list[int]], reason: str) -> None:
    g = Graph(SIZE)
    declined(g.model(g.Conv("x", noise(*weight), **attributes)), FewInputs, reason, form="phase")


@pytest.mark.parametrize("dims", [(1, 3, 13, 16), (1, 3, 14, 15), ("N", 3, "H", "W")])
def test_declines_odd_and_free_sizes(dims: Dims) -> None:
    g = Graph(dims)
    y = g.Conv("x", noise(2, 3, 5, 5))
    declined(g.model(y), FewInputs, "phase form needs an even height and width", form="phase")


def test_ignores_other_convolutions() -> None:
    g = Graph(SIZE)
    declined(g.model(g.Conv("x", noise(2, 3, 3, 3))), FewInputs, form="phase")
    declined(g.model(g.Conv("x", noise(2, 3, 5, 5), auto_pad="SAME_UPPER")), FewInputs, form="phase")
    declined(g.model(g.Conv("x", noise(2, 3, 5, 5))), FewInputs, form="plain")
    g = Graph((1, 5, 14, 16))
    declined(g.model(g.Conv("x", noise(2, 5, 5, 5))), FewInputs, form="phase")
