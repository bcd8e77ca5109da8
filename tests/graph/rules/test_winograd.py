from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules import winograd
from nstopt.graph.rules.winograd import Winograd

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
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)


@random_graphs
@given(batches, channels, channels, st.integers(1, 5), st.integers(1, 5), biased, st.data())
def test_random_graphs(
    batch: int, inputs: int, outputs: int, rows: int, columns: int, bias: bool, data: st.DataObject
) -> None:
    pads = [data.draw(st.integers(0, 2), "pad") for _ in range(4)]
    height, width = 2 * rows + 2 - pads[0] - pads[2], 2 * columns + 2 - pads[1] - pads[3]
    if min(height, width) < 1:
        return
    g = Graph((batch, inputs, height, width))
    y = g.Conv("x", noise(outputs, inputs, 3, 3), *bias_or_none(bias, outputs), pads=pads)
    after = operators(applied(g.model(y), Winograd, "winograd"))
    assert (after.count("Conv"), after.count("Slice"), after.count("Pad")) == (16, 16, int(any(pads)))


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"dilations": [2, 2]}, {"pads": [1, 1, 0, 0]}])
def test_others_are_left_alone(attributes: dict[str, list[int]]) -> None:
    """Strided, dilated, and of an odd result."""
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", noise(2, 2, 3, 3), **attributes)), Winograd, None, "winograd")


def test_narrow_ones_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 3)
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", noise(4, 2, 3, 3))), Winograd, None, "winograd")
