from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.few_outputs import FewOutputs

from .equivalence import (
    Dims,
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    operators,
    pairs,
    random_graphs,
    rewritten,
)


@random_graphs
@given(
    convolutions(inputs=st.integers(8, 11), outputs=st.integers(1, 4), kernels=pairs(3, 9)),
    st.sampled_from(["phase", "split"]),
)
def test_random_graphs(conv: RandomConv, form: str) -> None:
    g = Graph(conv.dims)
    after, events = rewritten(g.model(conv.add(g)), FewOutputs, form)
    is_odd = any((conv.size[i] - conv.kernel[i] + 1 + conv.pads[i] + conv.pads[i + 2]) % 2 for i in (0, 1))
    if form == "phase" and is_odd:
        assert events[0].reason.startswith("phase form needs an even height and width")
        assert operators(after) == ["Conv"]
    else:
        assert operators(after) == (["Conv", "DepthToSpace"] if form == "phase" else ["Conv", "Conv"])


def test_any_size() -> None:
    g = Graph(("N", 8, "H", "W"))
    y = g.Conv("x", noise(3, 8, 5, 3), noise(3), pads=[2, 1, 2, 1])
    assert operators(applied(g.model(y, g.Relu(y)), FewOutputs, "split")) == ["Conv", "Conv", "Relu"]
    declined(g.model(y), FewOutputs, "needs an even height and width, not any", form="phase")


SIZE: Dims = (1, 8, 12, 12)


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((2, 8, 3, 3), {"strides": [2, 2]}),
        ((2, 8, 3, 3), {"dilations": [1, 2]}),
        ((2, 8, 2, 3), {}),
        ((2, 8, 3, 1), {}),
    ],
)
def test_declines_convolutions(weight: tuple[int, ...], attributes: dict[str, list[int]]) -> None:
    g = Graph(SIZE)
    y = g.Conv("x", noise(*weight), **attributes)
    declined(g.model(y), FewOutputs, "grouped, strided, dilated, or its kernel is narrow", form="split")


def test_declines_groups() -> None:
    g = Graph((1, 16, 12, 12))
    declined(g.model(g.Conv("x", noise(2, 8, 3, 3), group=2)), FewOutputs, "grouped", form="split")


def test_ignores_other_convolutions() -> None:
    g = Graph(SIZE)
    declined(g.model(g.Conv("x", noise(5, 8, 3, 3))), FewOutputs, form="split")
    declined(g.model(g.Conv("x", noise(2, 8, 3, 3))), FewOutputs, form="plain")
    declined(g.model(g.Conv("x", noise(2, 8, 3, 3), auto_pad="SAME_UPPER")), FewOutputs, form="split")
    g = Graph((1, 7, 12, 12))
    declined(g.model(g.Conv("x", noise(2, 7, 3, 3))), FewOutputs, form="split")
