from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules import winograd
from nstopt.graph.rules.winograd import Winograd

from .equivalence import (
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    none_or_inside,
    operators,
    pairs,
    random_graphs,
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)


@random_graphs
@given(convolutions(pads=none_or_inside, inputs=st.integers(1, 5), outputs=st.integers(1, 5), kernels=pairs(3, 3)))
def test_random_graphs(conv: RandomConv) -> None:
    top, left, bottom, right = conv.pads
    height, width = conv.size
    conv = conv._replace(size=(height + (height + top + bottom) % 2, width + (width + left + right) % 2))
    g = Graph(conv.dims)
    after = operators(applied(g.model(conv.add(g)), Winograd, "winograd"))
    assert (after.count("Conv"), after.count("Slice"), after.count("Pad")) == (16, 16, int(any(conv.pads)))


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"dilations": [2, 2]}, {"pads": [1, 1, 0, 0]}])
def test_ignores_strided_and_dilated_convolutions_and_odd_results(attributes: dict[str, list[int]]) -> None:
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", noise(2, 2, 3, 3), **attributes)), Winograd, None, "winograd")


def test_ignores_narrow_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 3)
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", noise(4, 2, 3, 3))), Winograd, None, "winograd")


def test_ignores_the_plain_form() -> None:
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", noise(2, 2, 3, 3))), Winograd, form="plain")
