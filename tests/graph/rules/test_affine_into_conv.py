from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.affine_into_conv import AffineIntoConv

from .equivalence import (
    Array,
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
    rewritten,
    sides,
)

# One number, or one a channel, in the shapes that broadcast.
LAYOUTS: dict[str, Callable[[int], Array | np.float32]] = {
    "number": lambda count: np.float32(1.7),
    "one": lambda count: np.full(1, -0.3, np.float32),
    "four-dimensional": lambda count: noise(1, 1, 1, 1),
    "column": lambda count: noise(count, 1, 1),
    "channels": lambda count: noise(1, count, 1, 1),
}
SPATIAL_PADS = np.array([0, 0, 1, 2, 0, 0, 2, 0])


@random_graphs
@given(batches, channels, channels, st.integers(1, 5), sides, sides, st.integers(1, 2), biased, st.data())
def test_random_graphs(
    batch: int,
    inputs: int,
    outputs: int,
    kernel: int,
    height: int,
    width: int,
    stride: int,
    bias: bool,
    data: st.DataObject,
) -> None:
    g = Graph((batch, inputs, height + kernel, width + kernel))
    kinds = data.draw(st.lists(st.sampled_from(["Mul", "Add", "Sub"]), min_size=1, max_size=3), "kinds")
    x = "x"
    for kind in kinds:
        x = getattr(g, kind)(x, LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)), "layout")](inputs))
    modes = data.draw(st.lists(st.sampled_from(["reflect", "edge", "constant"]), max_size=2), "modes")
    for mode in modes:
        x = g.Pad(x, SPATIAL_PADS, mode=mode)
    own = data.draw(st.sampled_from([[0, 0, 0, 0], [1, 0, 2, 1]]), "own")
    y = g.Conv(x, noise(outputs, inputs, kernel, kernel), *bias_or_none(bias, outputs), pads=own, strides=[stride] * 2)
    after, events = rewritten(g.model(y), AffineIntoConv)
    if "constant" in modes or any(own):  # up to the shift next to the convolution
        shifts = [number for number, kind in enumerate(reversed(kinds)) if kind != "Mul"]
        expected = shifts[0] if shifts else len(kinds)
    else:
        expected = len(kinds)
    assert sum(event.applied for event in events) == expected
    assert sum(kind in ("Mul", "Add", "Sub") for kind in operators(after)) == len(kinds) - expected
    assert any("zeros" in event.reason for event in events) == (expected < len(kinds))


def test_a_shift_by_nothing_passes_zeros() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv(g.Add("x", np.zeros((1, 3, 1, 1), np.float32)), noise(2, 3, 3, 3), pads=[1, 1, 1, 1])
    assert operators(applied(g.model(y), AffineIntoConv)) == ["Conv"]


def test_any_size() -> None:
    g = Graph(("N", 3, "H", "W"))
    x = g.Pad(g.Add(g.Mul("x", noise(1, 3, 1, 1)), noise(3, 1, 1)), SPATIAL_PADS, mode="reflect")
    assert operators(applied(g.model(g.Conv(x, noise(2, 3, 3, 3))), AffineIntoConv, times=2)) == ["Pad", "Conv"]


def test_two_convolutions_that_share_weights_get_their_own() -> None:
    g = Graph((1, 3, 6, 6))
    w = g.constant(noise(2, 3, 3, 3))
    first = g.Conv(g.Mul("x", noise(1, 3, 1, 1)), w)
    second = g.Conv(g.Mul("x", noise(3, 1, 1)), w)
    applied(g.model(first, second), AffineIntoConv, times=2)


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize(
    ("pads", "fill"),
    [
        (SPATIAL_PADS, np.float32(5)),
        (np.array([0, 1, 0, 0, 0, -1, 0, 0]), np.float32(0)),
        (np.array([0, 0, -1, 0, 0, 0, 1, 0]), np.float32(0)),
        ("amounts", np.float32(0)),
        (SPATIAL_PADS, "fill"),
    ],
)
def test_declines_paddings_that_it_cannot_read(mode: str, pads: np.ndarray | str, fill: np.float32 | str) -> None:
    g = Graph((1, 3, 6, 6))
    if isinstance(pads, str):
        pads = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    if isinstance(fill, str):
        fill = g.input("fill", ())
    x = g.Pad(g.Mul("x", np.float32(3)), pads, fill, mode=mode)
    declined(g.model(g.Conv(x, noise(2, 3, 3, 3))), AffineIntoConv, "what is padded is computed, not zero")


def test_leaves_what_others_read() -> None:
    g = Graph((1, 3, 6, 6))
    x = g.Mul("x", np.float32(3))
    y = g.Conv(x, noise(2, 3, 3, 3))
    declined(g.model(y, x), AffineIntoConv)
    declined(g.model(y, g.Relu(x)), AffineIntoConv)
    padded = g.Pad(x, SPATIAL_PADS)
    declined(g.model(g.Conv(padded, noise(2, 3, 3, 3)), padded), AffineIntoConv)


def test_leaves_what_is_not_one_number_a_channel() -> None:
    for operand in (noise(2, 3, 1, 1), noise(6), noise(1, 3, 6, 1), noise(2, 1, 1, 1)):
        g = Graph((2, 3, 6, 6))
        declined(g.model(g.Conv(g.Mul("x", operand), noise(2, 3, 3, 3))), AffineIntoConv)
    g = Graph((2, 1, 6, 6))  # one channel becomes three
    declined(g.model(g.Conv(g.Mul("x", noise(1, 3, 1, 1)), noise(2, 3, 3, 3))), AffineIntoConv)
    g = Graph((3, 6, 6))  # so does a picture without a batch
    declined(g.model(g.Conv(g.Mul("x", noise(1, 3, 1, 1)), noise(2, 3, 3, 3))), AffineIntoConv)
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Conv(g.Mul("x", g.input("s", (1, 3, 1, 1))), noise(2, 3, 3, 3))), AffineIntoConv)
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Conv(g.Sub(np.float32(1), "x"), noise(2, 3, 3, 3))), AffineIntoConv)


def test_leaves_convolutions_that_it_cannot_read() -> None:
    g = Graph((1, 4, 6, 6))
    x = g.Mul("x", np.float32(3))
    declined(g.model(g.Conv(x, noise(2, 2, 3, 3), group=2)), AffineIntoConv)
    g = Graph((1, 4, 6, 6))
    declined(g.model(g.Conv(g.Mul("x", np.float32(3)), noise(2, 4, 3, 3), auto_pad="SAME_UPPER")), AffineIntoConv)
    g = Graph((1, 4, 6, 6))
    declined(g.model(g.Conv(g.Mul("x", np.float32(3)), g.input("w", (2, 4, 3, 3)))), AffineIntoConv)
    g = Graph((1, 4, 6, 6))
    y = g.Conv(g.Mul(g.Cast("x", to=TensorProto.FLOAT16), np.float16(3)), noise(2, 4, 3, 3).astype(np.float16))
    declined(g.model(g.Cast(y, to=TensorProto.FLOAT)), AffineIntoConv)
