from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.upsample_conv import UpsampleConv

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

DOUBLE = np.array([1, 1, 2, 2], np.float32)
FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
BY_ONE = np.array([0, 0, 1, 1, 0, 0, 1, 1])
FORMS = ["transposed", "phase"]
MAPPINGS = [
    (transform, rounding)
    for transform in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
]
EXACT = [
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
    ("asymmetric", "floor"),
]


@random_graphs
@given(
    batches,
    channels,
    channels,
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from(["reflect", "edge", "constant", "own", "split"]),
    biased,
    st.sampled_from(EXACT),
    st.booleans(),
    st.sampled_from(FORMS),
)
def test_random_graphs(
    batch: int,
    inputs: int,
    outputs: int,
    height: int,
    width: int,
    padding: str,
    bias: bool,
    mapping: tuple[str, str],
    by_sizes: bool,
    form: str,
) -> None:
    g = Graph((batch, inputs, height, width))
    how = [None, np.array([batch, inputs, 2 * height, 2 * width])] if by_sizes else [DOUBLE]
    transform, rounding = mapping
    x = g.Resize("x", None, *how, coordinate_transformation_mode=transform, nearest_mode=rounding)
    own = [0, 0, 0, 0]
    if padding == "own":
        own = [1, 1, 1, 1]
    elif padding == "split":
        x, own = g.Pad(x, np.array([0, 0, 1, 0, 0, 0, 0, 1])), [0, 1, 1, 0]
    else:
        x = g.Pad(x, BY_ONE, mode=padding)
    y = g.Conv(x, noise(outputs, inputs, 3, 3), *bias_or_none(bias, outputs), pads=own)
    after = applied(g.model(y), UpsampleConv, form)
    assert ("ConvTranspose" if form == "transposed" else "DepthToSpace") in operators(after)
    assert "Resize" not in operators(after)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_mappings(mapping: tuple[str, str], form: str) -> None:
    g = Graph((1, 2, 3, 5))
    x = g.Resize("x", None, DOUBLE, coordinate_transformation_mode=mapping[0], nearest_mode=mapping[1])
    model = g.model(g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1]))
    if mapping in EXACT:
        applied(model, UpsampleConv, form)
    else:
        declined(model, UpsampleConv, "not a doubling by repeated pixels", form)


@pytest.mark.parametrize("form", FORMS)
def test_any_size_where_all_in_between_is_read_elsewhere(form: str) -> None:
    g = Graph(("N", 2, "H", "W"))
    up = g.Resize("x", None, DOUBLE, mode="nearest")
    padded = g.Pad(up, BY_ONE, mode="reflect")
    y = g.Conv(padded, noise(3, 2, 3, 3), noise(3))
    applied(g.model(y), UpsampleConv, form)
    after = applied(g.model(y, up, padded, g.Relu(y)), UpsampleConv, form)
    assert {"Resize", "Pad"} <= set(operators(after))


@pytest.mark.parametrize(
    ("scales", "mode"),
    [
        ([1, 1, 2, 1], "nearest"),
        ([1, 1, 1, 2], "nearest"),
        ([1, 1, 3, 3], "nearest"),
        ([1, 2, 2, 2], "nearest"),
        ([1, 1, 2.1, 2], "nearest"),
        ([1, 1, 2, 2], "linear"),
        ([1, 1, 2, 2], "cubic"),
    ],
)
def test_declines_other_upsamplings(scales: list[float], mode: str) -> None:
    g = Graph((1, 2, 5, 4))
    x = g.Resize("x", None, np.array(scales, np.float32), mode=mode)
    y = g.Conv(x, noise(3, int(2 * scales[1]), 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "not a doubling by repeated pixels", "phase")


def test_declines_sizes_that_are_no_doubling_or_not_known() -> None:
    reason = "not a doubling by repeated pixels"
    for sizes in ([1, 2, 10, 9], [1, 2, 9, 8], [1, 4, 10, 8], [2, 2, 10, 8]):
        g = Graph((1, 2, 5, 4))
        y = g.Conv(g.Resize("x", None, None, np.array(sizes)), noise(3, sizes[1], 3, 3), pads=[1, 1, 1, 1])
        declined(g.model(y), UpsampleConv, reason, "phase")
    g = Graph(("N", 2, "H", "W"))
    x = g.Resize("x", None, None, g.Mul(g.Shape("x"), np.array([1, 1, 2, 2])))
    declined(g.model(g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1])), UpsampleConv, reason, "phase")
    g = Graph((1, 2, 5, 4))
    x = g.Resize("x", None, g.input("s", (4,)))
    model = g.model(g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1]))
    assert model is not None


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((3, 2, 5, 5), {"pads": [2, 2, 2, 2]}),
        ((3, 2, 2, 2), {"pads": [1, 1, 1, 1]}),
        ((3, 2, 3, 1), {"pads": [1, 1, 1, 1]}),
        ((3, 2, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((3, 2, 3, 3), {"pads": [1, 1, 1, 1], "dilations": [2, 1]}),
        ((4, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 2}),
        ((3, 2, 3, 3), {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_declines_other_convolutions(weight: tuple[int, ...], attributes: dict[str, object]) -> None:
    g = Graph((1, 2, 5, 4))
    y = g.Conv(g.Resize("x", None, DOUBLE), noise(*weight), **attributes)
    declined(g.model(y), UpsampleConv, "not a plain 3x3 one", "phase")


@pytest.mark.parametrize(
    ("amounts", "mode", "fill", "own"),
    [
        (None, "constant", 0, [0, 0, 0, 0]),
        (None, "constant", 0, [1, 1, 1, 2]),
        ([0, 0, 1, 1, 0, 0, 1, 1], "reflect", 0, [1, 1, 1, 1]),
        ([0, 0, 2, 2, 0, 0, 2, 2], "reflect", 0, [0, 0, 0, 0]),
        ([0, 0, 1, 0, 0, 0, 1, 1], "edge", 0, [0, 0, 0, 0]),
        ([0, 0, 1, 1, 0, 0, 1, 1], "constant", 3, [0, 0, 0, 0]),
        ([0, 0, 1, 1, 0, 0, 1, 1], "constant", 3, [1, 1, 1, 1]),
        ([0, 0, -1, 0, 0, 0, 0, 0], "constant", 0, [1, 1, 1, 1]),
        ([1, 0, 0, 0, 0, 0, 0, 0], "constant", 0, [1, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_declines_other_paddings(amounts: list[int] | None, mode: str, fill: int, own: list[int], form: str) -> None:
    g = Graph((1, 2, 5, 4))
    x = g.Resize("x", None, DOUBLE)
    if amounts is not None:
        x = g.Pad(x, np.array(amounts), np.float32(fill), mode=mode)
    declined(g.model(g.Conv(x, noise(3, 2, 3, 3), pads=own)), UpsampleConv, "not by 1 all around", form)


def test_declines_computed_paddings() -> None:
    g = Graph((1, 2, 5, 4))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    x = g.Pad(g.Resize("x", None, DOUBLE), amounts)
    y = g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "not by 1 all around", "phase")


def test_leaves_what_it_shall_not_change() -> None:
    g = Graph((1, 2, 5, 4))
    y = g.Conv(g.Resize("x", None, DOUBLE, **FLOOR), noise(3, 2, 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, form="plain")
    declined(g.model(g.Conv(g.Relu(g.Resize("x", None, DOUBLE)), noise(3, 2, 3, 3))), UpsampleConv, form="phase")
    after, events = rewritten(g.model(g.Conv("x", noise(3, 2, 3, 3))), UpsampleConv, "phase")
    assert (operators(after), events) == (["Conv"], [])
