from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.passes import apply
from nstopt.graph.rule import Context, Layer
from nstopt.graph.rules.upsample_conv import UpsampleConv

from .equivalence import (
    NO_PADS,
    Array,
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    operators,
    pairs,
    random_graphs,
)

DOUBLE = np.array([1, 1, 2, 2], np.float32)
BY_ONE = np.array([0, 0, 1, 1, 0, 0, 1, 1])
FORMS = ["transposed", "phase"]
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
EXACT = [
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
    ("asymmetric", "floor"),
]
INEXACT = [
    (transform, rounding)
    for transform in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    for rounding in ROUNDINGS
    if (transform, rounding) not in EXACT
]
# Amounts and mode of a Pad, and pads of the convolution, that together pad by 1.
PADDINGS: dict[str, tuple[Array | None, str, tuple[int, ...]]] = {
    "reflect": (BY_ONE, "reflect", NO_PADS),
    "edge": (BY_ONE, "edge", NO_PADS),
    "constant": (BY_ONE, "constant", NO_PADS),
    "own": (None, "constant", (1, 1, 1, 1)),
    "split": (np.array([0, 0, 1, 0, 0, 0, 0, 1]), "constant", (0, 1, 1, 0)),
}


@random_graphs
@given(
    convolutions(kernels=pairs(3, 3), groups=st.integers(1, 3)),
    st.sampled_from(sorted(PADDINGS)),
    st.sampled_from(EXACT),
    st.booleans(),
    st.sampled_from(FORMS),
)
def test_random_graphs(conv: RandomConv, padding: str, mapping: tuple[str, str], by_sizes: bool, form: str) -> None:
    amounts, mode, pads = PADDINGS[padding]
    height, width = conv.size
    g = Graph(conv.dims)
    scale = [None, np.array([conv.batch, conv.inputs, 2 * height, 2 * width])] if by_sizes else [DOUBLE]
    x = g.Resize("x", None, *scale, coordinate_transformation_mode=mapping[0], nearest_mode=mapping[1])
    if amounts is not None:
        x = g.Pad(x, amounts, mode=mode)
    after = applied(g.model(conv._replace(pads=pads).add(g, x)), UpsampleConv, form)
    assert ("ConvTranspose" if form == "transposed" else "DepthToSpace") in operators(after)
    assert "Resize" not in operators(after)


@random_graphs
@given(
    convolutions(kernels=pairs(3, 3), groups=st.integers(1, 3)),
    st.sampled_from(["reflect", "edge"]),
    st.sampled_from(EXACT),
)
def test_padding_before_the_upsampling(conv: RandomConv, mode: str, mapping: tuple[str, str]) -> None:
    g = Graph(conv.dims)
    x = g.Resize("x", None, DOUBLE, coordinate_transformation_mode=mapping[0], nearest_mode=mapping[1])
    y = conv._replace(pads=NO_PADS).add(g, g.Pad(x, BY_ONE, mode=mode))
    assert operators(applied(g.model(y), UpsampleConv, "early-pad")) == ["Pad", "Resize", "Conv"]


def test_zeros_are_not_padded_before_the_upsampling() -> None:
    g = Graph((1, 2, 3, 5))
    y = g.Conv(g.Resize("x", None, DOUBLE), noise(3, 2, 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "the convolution pads zeros itself", "early-pad")


def test_layers_of_one_group_and_of_several_are_of_two_kinds() -> None:
    asked = []

    def choose(layer: Layer) -> str:
        asked.append(str(layer))
        return "plain"

    g = Graph((1, 6, 7, 9))
    for weight, group in ((noise(4, 6, 3, 3), 1), (noise(12, 2, 3, 3), 3)):
        y = g.Conv(g.Resize("x", None, DOUBLE), weight, pads=[1, 1, 1, 1], group=group)
        apply(g.model(y), UpsampleConv, Context(choose))
    assert asked == ["upsample-conv 4x6x3x3x7x9", "upsample-grouped 3x4x2x3x3x7x9"]


@pytest.mark.parametrize("mapping", INEXACT)
def test_declines_other_mappings(mapping: tuple[str, str]) -> None:
    g = Graph((1, 2, 3, 5))
    x = g.Resize("x", None, DOUBLE, coordinate_transformation_mode=mapping[0], nearest_mode=mapping[1])
    y = g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "not a doubling by repeated pixels", "phase")


@pytest.mark.parametrize("form", [*FORMS, "early-pad"])
def test_any_size_with_other_readers_of_all_tensors_between(form: str) -> None:
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


@pytest.mark.parametrize("sizes", [[1, 2, 10, 9], [1, 2, 9, 8], [1, 4, 10, 8], [2, 2, 10, 8]])
def test_declines_other_sizes(sizes: list[int]) -> None:
    g = Graph((1, 2, 5, 4))
    y = g.Conv(g.Resize("x", None, None, np.array(sizes)), noise(3, sizes[1], 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "not a doubling by repeated pixels", "phase")


def test_declines_computed_sizes() -> None:
    g = Graph(("N", 2, "H", "W"))
    x = g.Resize("x", None, None, g.Mul(g.Shape("x"), np.array([1, 1, 2, 2])))
    y = g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "not a doubling by repeated pixels", "phase")


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((3, 2, 5, 5), {"pads": [2, 2, 2, 2]}),
        ((3, 2, 2, 2), {"pads": [1, 1, 1, 1]}),
        ((3, 2, 3, 1), {"pads": [1, 1, 1, 1]}),
        ((3, 2, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((3, 2, 3, 3), {"pads": [1, 1, 1, 1], "dilations": [2, 1]}),
        ((3, 2, 3, 3), {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_declines_other_convolutions(weight: tuple[int, ...], attributes: dict[str, object]) -> None:
    g = Graph((1, 2, 5, 4))
    y = g.Conv(g.Resize("x", None, DOUBLE), noise(*weight), **attributes)
    declined(g.model(y), UpsampleConv, "not 3x3, or strided or dilated", "phase")


@pytest.mark.parametrize(
    ("amounts", "mode", "fill", "own"),
    [
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
def test_declines_other_paddings(amounts: list[int] | None, mode: str, fill: int, own: list[int]) -> None:
    g = Graph((1, 2, 5, 4))
    x = g.Resize("x", None, DOUBLE)
    if amounts is not None:
        x = g.Pad(x, np.array(amounts), np.float32(fill), mode=mode)
    declined(g.model(g.Conv(x, noise(3, 2, 3, 3), pads=own)), UpsampleConv, "not by 1 all around", "phase")


def test_declines_computed_paddings() -> None:
    g = Graph((1, 2, 5, 4))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    x = g.Pad(g.Resize("x", None, DOUBLE), amounts)
    y = g.Conv(x, noise(3, 2, 3, 3), pads=[1, 1, 1, 1])
    declined(g.model(y), UpsampleConv, "not by 1 all around", "phase")


def test_ignores_the_plain_form_and_other_convolutions() -> None:
    g = Graph((1, 2, 5, 4))
    w = noise(3, 2, 3, 3)
    declined(g.model(g.Conv(g.Resize("x", None, DOUBLE), w, pads=[1, 1, 1, 1])), UpsampleConv, form="plain")
    declined(g.model(g.Conv(g.Resize("x", None, DOUBLE), w)), UpsampleConv, form="phase")
    declined(g.model(g.Conv(g.Relu(g.Resize("x", None, DOUBLE)), w)), UpsampleConv, form="phase")
    declined(g.model(g.Conv("x", w)), UpsampleConv, form="phase")
