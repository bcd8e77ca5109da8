from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.transposed_conv import TransposedConv

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
    rewritten,
)

SIZE = "not twice the size"


@random_graphs
@given(batches, channels, channels, st.integers(1, 9), st.integers(1, 9), biased, st.data())
def test_random_graphs(
    batch: int, inputs: int, outputs: int, height: int, width: int, bias: bool, data: st.DataObject
) -> None:
    g = Graph((batch, inputs, height, width))
    kernel, begin, end, extra = [], [], [], []
    for _ in range(2):
        k = data.draw(st.integers(1, 9), "kernel")
        o = data.draw(st.integers(max(0, 2 - k), 1), "output_padding")
        b = data.draw(st.integers(0, k + o - 2), "begin")
        kernel.append(k)
        extra.append(o)
        begin.append(b)
        end.append(k + o - 2 - b)
    w = noise(inputs, outputs, *kernel)
    attributes = {"strides": [2, 2], "pads": [*begin, *end], "output_padding": extra}
    y = g.ConvTranspose("x", w, *bias_or_none(bias, outputs), **attributes)
    after, events = rewritten(g.model(y), TransposedConv, "phase")
    if operators(after) == ["ConvTranspose"]:  # all of x is cut off at one side
        assert SIZE in events[0].reason
        assert any(b > k - 1 or e > k - 1 for k, b, e in zip(kernel, begin, end, strict=True))
    else:
        assert operators(after) == ["Conv", "DepthToSpace"]


@pytest.mark.parametrize(
    ("kernel", "pads", "extra"), [(3, [1, 1, 1, 1], 1), (4, [1, 1, 1, 1], 0), (2, [0, 0, 0, 0], 0)]
)
def test_the_usual_ones_at_any_size(kernel: int, pads: list[int], extra: int) -> None:
    g = Graph(("N", 3, "H", "W"))
    w = noise(3, 2, kernel, kernel)
    y = g.ConvTranspose("x", w, None, strides=[2, 2], pads=pads, output_padding=[extra, extra])
    after = applied(g.model(y, g.Relu(y)), TransposedConv, "phase")
    assert operators(after) == ["Conv", "DepthToSpace", "Relu"]


@pytest.mark.parametrize(
    "attributes",
    [{"strides": [1, 1]}, {"strides": [2, 1]}, {}, {"strides": [3, 3]}, {"strides": [2, 2], "dilations": [2, 2]}],
)
def test_declines_other_strides_and_dilations(attributes: dict[str, list[int]]) -> None:
    g = Graph((1, 3, 5, 6))
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), **attributes)
    declined(g.model(y), TransposedConv, "not a plain transposed convolution of stride 2", form="phase")


def test_declines_groups() -> None:
    g = Graph((1, 4, 5, 6))
    y = g.ConvTranspose("x", noise(4, 1, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1], group=2)
    declined(g.model(y), TransposedConv, "not a plain transposed convolution of stride 2", form="phase")


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [0, 0, 0, 0]},
        {"pads": [1, 1, 1, 2]},
        {"pads": [1, 1, 1, 1], "output_padding": [1, 0]},
        {"output_shape": [10, 12]},
        {"pads": [1, 1, 1, 1], "output_shape": [9, 12]},
    ],
)
def test_declines_other_sizes(attributes: dict[str, list[int]]) -> None:
    g = Graph((1, 3, 5, 6))
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), strides=[2, 2], **attributes)
    declined(g.model(y), TransposedConv, SIZE, form="phase")


def test_leaves_what_it_cannot_read_or_shall_not_change() -> None:
    g = Graph((1, 3, 5, 6))
    pads = [1, 1, 1, 1]
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), strides=[2, 2], auto_pad="SAME_UPPER")
    declined(g.model(y), TransposedConv, form="phase")
    y = g.ConvTranspose("x", g.input("w", (3, 2, 4, 4)), strides=[2, 2], pads=pads)
    declined(g.model(y), TransposedConv, form="phase")
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), strides=[2, 2], pads=pads)
    declined(g.model(y), TransposedConv, form="plain")
