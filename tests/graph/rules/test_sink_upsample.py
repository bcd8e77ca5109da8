from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.sink_upsample import SinkUpsample
from nstopt.graph.rules.upsample_conv import UpsampleConv

from .equivalence import Graph, applied, declined, noise, operators, pairs, random_graphs, rewritten

DOUBLE = np.array([1, 1, 2, 2], np.float32)
CHANNELS = 6
Step = Callable[[Graph, str], str]
POINTWISE: dict[str, Step] = {
    "Conv": lambda g, x: g.Conv(x, noise(CHANNELS, CHANNELS, 1, 1), noise(CHANNELS)),
    "grouped Conv": lambda g, x: g.Conv(x, noise(CHANNELS, 2, 1, 1), group=3),
    "InstanceNormalization": lambda g, x: g.InstanceNormalization(x, noise(CHANNELS), noise(CHANNELS), epsilon=250.0),
    "Clip": lambda g, x: g.Clip(x, np.float32(0), np.float32(6)),
    "Relu": lambda g, x: g.Relu(x),
    "LeakyRelu": lambda g, x: g.LeakyRelu(x, alpha=0.3),
    "PRelu": lambda g, x: g.PRelu(x, noise(CHANNELS, 1, 1)),
    "HardSwish": lambda g, x: g.HardSwish(x),
    "Mul": lambda g, x: g.Mul(x, np.float32(1.5)),
    "Add": lambda g, x: g.Add(x, noise(1, CHANNELS, 1, 1)),
    "Sub from": lambda g, x: g.Sub(noise(CHANNELS, 1, 1), x),
    "Max of batches": lambda g, x: g.Max(x, noise(2, 1, 1, 1)),
    "Swish": lambda g, x: g.Mul(x, g.Sigmoid(x)),
}


def doubled(g: Graph, x: str = "x") -> str:
    return g.Resize(x, None, DOUBLE, mode="nearest")


@random_graphs
@given(
    st.integers(1, 2),
    pairs(1, 9),
    pairs(1, 4),
    st.booleans(),
    st.lists(st.sampled_from(sorted(POINTWISE)), min_size=1, max_size=4),
)
def test_random_graphs(
    batch: int, size: tuple[int, int], factors: tuple[int, int], by_sizes: bool, steps: list[str]
) -> None:
    g = Graph((batch, CHANNELS, *size))
    if by_sizes:
        scale = [None, np.array([batch, CHANNELS, size[0] * factors[0], size[1] * factors[1]])]
    else:
        scale = [np.array([1, 1, *factors], np.float32)]
    x = g.Resize("x", None, *scale, mode="nearest", coordinate_transformation_mode="half_pixel")
    for step in steps:
        x = POINTWISE[step](g, x)
    after, _ = rewritten(g.model(x), SinkUpsample)
    assert operators(after).index("Resize") == len(after.graph.node) - 1


@pytest.mark.parametrize("step", sorted(POINTWISE))
def test_any_size(step: str) -> None:
    g = Graph(("N", CHANNELS, "H", "W"))
    after, _ = rewritten(g.model(POINTWISE[step](g, doubled(g))), SinkUpsample)
    assert operators(after)[-1] == "Resize"


def test_stops_before_a_padding_where_the_other_rule_takes_over() -> None:
    g = Graph(("N", 4, "H", "W"))
    x = g.Clip(g.Conv(doubled(g), noise(5, 4, 1, 1)), np.float32(0), np.float32(6))
    x = g.Pad(x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect")
    after = applied(g.model(g.Relu(g.Conv(x, noise(3, 5, 3, 3)))), SinkUpsample, times=2)
    assert operators(after) == ["Conv", "Clip", "Resize", "Pad", "Conv", "Relu"]
    assert operators(applied(after, UpsampleConv, "transposed")) == ["Conv", "Clip", "Pad", "ConvTranspose", "Relu"]


def test_sums_of_tensors_that_are_upsampled_alike() -> None:
    g = Graph(("N", 4, "H", "W"))
    up = doubled(g)
    y = g.Add(up, g.Conv(g.Relu(up), noise(4, 4, 1, 1)))
    assert operators(applied(g.model(y), SinkUpsample, times=3)) == ["Relu", "Conv", "Add", "Resize"]
    y = g.Add(
        up, g.Resize(g.Relu("x"), None, DOUBLE, coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    )
    assert operators(applied(g.model(y), SinkUpsample)) == ["Relu", "Add", "Resize"]


def test_products_with_one_computed_number_per_channel() -> None:
    g = Graph(("N", 4, "H", "W"))
    y = g.Mul(doubled(g), g.input("gain", ("N", 4, 1, 1)))
    assert operators(applied(g.model(y), SinkUpsample)) == ["Mul", "Resize"]


def test_other_readers_keep_their_upsampling() -> None:
    g = Graph((1, 4, 5, 7))
    up = doubled(g)
    after = applied(g.model(g.Relu(up), up, g.Conv(up, noise(2, 4, 3, 3))), SinkUpsample)
    assert sorted(operators(after)) == ["Conv", "Relu", "Resize", "Resize"]


def test_declines_sums_with_tensors_that_are_not_upsampled_alike() -> None:
    g = Graph((1, 4, 6, 6))
    up = doubled(g)
    reason = "its other operand is not upsampled alike"
    declined(g.model(g.Add(up, g.input("skip", (1, 4, 12, 12)))), SinkUpsample, reason)
    declined(g.model(g.Add(g.input("row", (12,)), up)), SinkUpsample, reason)
    declined(g.model(g.Mul(up, noise(12, 1))), SinkUpsample, reason)
    declined(g.model(g.Mul(up, noise(1, 1, 4, 1, 1))), SinkUpsample, reason)
    tripled = g.Resize(g.MaxPool("x", kernel_shape=[3, 3]), None, np.array([1, 1, 3, 3], np.float32), mode="nearest")
    declined(g.model(g.Add(up, tripled)), SinkUpsample, "not repeat each pixel equally often")


@pytest.mark.parametrize(
    ("scales", "attributes"),
    [
        ([1, 1, 1.5, 2], {}),
        ([1, 2, 2, 2], {}),
        ([2, 1, 2, 2], {}),
        ([1, 1, 0.5, 2], {}),
        ([1, 1, 2, 2], {"mode": "linear"}),
        ([1, 1, 2, 2], {"coordinate_transformation_mode": "align_corners"}),
        ([1, 1, 3, 3], {"nearest_mode": "ceil"}),
    ],
)
def test_declines_other_upsamplings(scales: list[float], attributes: dict[str, str]) -> None:
    g = Graph((1, 4, 6, 4))
    declined(
        g.model(g.Relu(g.Resize("x", None, np.array(scales, np.float32), **attributes))),
        SinkUpsample,
        "not repeat each pixel equally often",
    )


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((3, 4, 3, 3), {}),
        ((3, 4, 1, 2), {}),
        ((3, 4, 1, 1), {"strides": [1, 2]}),
        ((3, 4, 1, 1), {"pads": [0, 1, 0, 0]}),
    ],
)
def test_ignores_convolutions_that_are_not_pointwise(weight: tuple[int, ...], attributes: dict[str, list[int]]) -> None:
    g = Graph((1, 4, 6, 4))
    declined(g.model(g.Conv(doubled(g), noise(*weight), **attributes)), SinkUpsample)


def test_ignores_other_operators() -> None:
    g = Graph((1, 4, 6, 4))
    declined(g.model(g.Softmax(doubled(g), axis=2)), SinkUpsample)
    declined(g.model(g.Relu("x")), SinkUpsample)
