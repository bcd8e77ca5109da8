from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.transposed_conv import TransposedConv

from .equivalence import (
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

SIZE = "not twice the size"


@st.composite
def doubling(draw: st.DrawFn) -> RandomConv:
    """Transposed convolutions whose result is twice the size of their input."""
    conv = draw(convolutions(["ConvTranspose"], kernels=pairs(1, 9), strides=pairs(2, 2)))
    extra = [draw(st.integers(max(0, 2 - side), 1)) for side in conv.kernel]
    totals = [side + more - 2 for side, more in zip(conv.kernel, extra, strict=True)]
    begin = [draw(st.integers(0, total)) for total in totals]
    end = [total - pad for total, pad in zip(totals, begin, strict=True)]
    return conv._replace(size=draw(pairs(1, 9)), pads=(*begin, *end), output_padding=(extra[0], extra[1]))


@random_graphs
@given(doubling())
def test_random_graphs(conv: RandomConv) -> None:
    g = Graph(conv.dims)
    after, events = rewritten(g.model(conv.add(g)), TransposedConv, "phase")
    if any(pad > side - 1 for pad, side in zip(conv.pads, conv.kernel * 2, strict=True)):
        assert SIZE in events[0].reason  # one side of x has no pixel in the result
        assert operators(after) == ["ConvTranspose"]
    else:
        assert operators(after) == ["Conv", "DepthToSpace"]


@pytest.mark.parametrize(
    ("kernel", "pads", "extra"), [(3, [1, 1, 1, 1], 1), (4, [1, 1, 1, 1], 0), (2, [0, 0, 0, 0], 0)]
)
def test_common_kernels_at_any_size(kernel: int, pads: list[int], extra: int) -> None:
    g = Graph(("N", 3, "H", "W"))
    w = noise(3, 2, kernel, kernel)
    y = g.ConvTranspose("x", w, None, strides=[2, 2], pads=pads, output_padding=[extra, extra])
    after = applied(g.model(y, g.Relu(y)), TransposedConv, "phase")
    assert operators(after) == ["Conv", "DepthToSpace", "Relu"]


@pytest.mark.parametrize(
    "attributes", [{"strides": [2, 1]}, {}, {"strides": [3, 3]}, {"strides": [2, 2], "dilations": [2, 2]}]
)
def test_declines_other_strides_and_dilations(attributes: dict[str, list[int]]) -> None:
    g = Graph((1, 3, 5, 6))
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), **attributes)
    declined(g.model(y), TransposedConv, "grouped, dilated, or not of stride 2", form="phase")


def test_declines_groups() -> None:
    g = Graph((1, 4, 5, 6))
    y = g.ConvTranspose("x", noise(4, 1, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1], group=2)
    declined(g.model(y), TransposedConv, "grouped, dilated, or not of stride 2", form="phase")


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


def test_ignores_unreadable_convolutions_and_the_plain_form() -> None:
    g = Graph((1, 3, 5, 6))
    pads = [1, 1, 1, 1]
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), strides=[2, 2], auto_pad="SAME_UPPER")
    declined(g.model(y), TransposedConv, form="phase")
    y = g.ConvTranspose("x", g.input("w", (3, 2, 4, 4)), strides=[2, 2], pads=pads)
    declined(g.model(y), TransposedConv, form="phase")
    y = g.ConvTranspose("x", noise(3, 2, 4, 4), strides=[2, 2], pads=pads)
    declined(g.model(y), TransposedConv, form="plain")
