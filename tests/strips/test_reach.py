"""Rows that are said to be right in a strip, against the same rows of the whole picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import lcm

import numpy as np
import onnx
import pytest
from graph.rules.equivalence import SPATIAL_PADS, Array, Graph, noise, random_graphs
from hypothesis import assume, given
from hypothesis import strategies as st

from nstopt.errors import BundleError
from nstopt.graph.specialize import part_of
from nstopt.ort import session
from nstopt.strips.reach import Reach, reaches

CHANNELS, WIDTH, HEIGHT = 4, 9, 96
Layer = Callable[[Graph, str], str]


def conv(g: Graph, x: str, kernel: int, **attributes: object) -> str:
    return g.Conv(x, noise(CHANNELS, CHANNELS, kernel, 3), **attributes)


def transposed(g: Graph, x: str, kernel: int, **attributes: object) -> str:
    return g.ConvTranspose(x, noise(CHANNELS, CHANNELS, kernel, 3), **attributes)


def resized(g: Graph, x: str, mapping: str, **attributes: object) -> str:
    scales = np.array([1, 1, 2, 2], np.float32)
    return g.Resize(x, None, scales, coordinate_transformation_mode=mapping, **attributes)


def padded(g: Graph, x: str, mode: str) -> str:
    return g.Pad(x, SPATIAL_PADS, mode=mode)


LAYERS: dict[str, Layer] = {
    "conv 3": lambda g, x: conv(g, x, 3, pads=[1, 1, 1, 1]),
    "conv 4": lambda g, x: conv(g, x, 4, pads=[1, 1, 2, 1]),
    "conv 3, stride 2": lambda g, x: conv(g, x, 3, pads=[0, 1, 1, 1], strides=[2, 1]),
    "conv 3, dilated": lambda g, x: conv(g, x, 3, pads=[2, 1, 2, 1], dilations=[2, 1]),
    "depthwise": lambda g, x: g.Conv(x, noise(CHANNELS, 1, 3, 3), pads=[1, 1, 1, 1], group=CHANNELS),
    "transposed 4": lambda g, x: transposed(g, x, 4, strides=[2, 1], pads=[1, 1, 1, 1]),
    "transposed 3": lambda g, x: transposed(g, x, 3, strides=[2, 1], pads=[0, 1, 0, 1], output_padding=[1, 0]),
    "reflection": lambda g, x: padded(g, x, "reflect"),
    "zeros": lambda g, x: padded(g, x, "constant"),
    "crop": lambda g, x: g.Slice(x, np.array([2]), np.array([2**31]), np.array([2])),
    "every second row": lambda g, x: g.Slice(x, np.array([1]), np.array([2**31]), np.array([2]), np.array([2])),
    "nearest": lambda g, x: resized(g, x, "asymmetric", nearest_mode="floor"),
    "nearest above": lambda g, x: resized(g, x, "asymmetric", nearest_mode="ceil"),
    "linear": lambda g, x: resized(g, x, "half_pixel", mode="linear"),
    "cubic": lambda g, x: resized(g, x, "half_pixel", mode="cubic"),
    "max pool": lambda g, x: g.MaxPool(x, kernel_shape=[2, 1], strides=[2, 1]),
    "average pool": lambda g, x: g.AveragePool(x, kernel_shape=[3, 1], pads=[1, 0, 1, 0]),
    "residual": lambda g, x: g.Add(conv(g, g.Tanh(x), 3, pads=[1, 1, 1, 1]), x),
    "joined": lambda g, x: conv(g, g.Mul(x, noise(1, CHANNELS, 1, 1)), 1, pads=[0, 1, 0, 1]),
}


def run(model: onnx.ModelProto, x: Array) -> Array:
    return np.asarray(session(model.SerializeToString()).run(None, {"x": x})[0])


@random_graphs
@given(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=5), st.integers(0, 3), st.integers(1, 4))
def test_rows_of_a_strip(layers: list[str], skipped: int, length: int) -> None:
    g = Graph((1, CHANNELS, "H", WIDTH))
    y = "x"
    for layer in layers:
        y = LAYERS[layer](g, y)
    model = g.model(y)
    picture = np.random.default_rng(0).standard_normal((1, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)
    whole = run(model, picture)

    def of(height: int) -> Reach:
        part = part_of(model, {"x": (1, CHANNELS, height, WIDTH)}, [y])
        return reaches(part, {"x": Reach.whole(2, Fraction(1), height)})[y]

    step = lcm(of(HEIGHT).scale.denominator, 1) * 4
    begin, end = step * skipped, step * (skipped + length)
    assume(end <= HEIGHT)
    found = of(end - begin)
    strip = run(model, picture[:, :, begin:end])
    first = int(begin * found.scale)
    assert strip.shape[2] == found.size
    rows = slice(found.low, max(found.high, found.low))
    expected = whole[:, :, first + found.low : first + max(found.high, found.low)]
    np.testing.assert_allclose(strip[:, :, rows], expected, atol=1e-4 * max(1, np.abs(whole).max()))


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_most_rows_are_right(layer: str) -> None:
    g = Graph((1, CHANNELS, HEIGHT, WIDTH))
    y = LAYERS[layer](g, "x")
    found = reaches(g.model(y), {"x": Reach.whole(2, Fraction(1), HEIGHT)})[y]
    assert found.high - found.low >= 0.9 * HEIGHT * found.scale


def test_blocks() -> None:
    g = Graph((1, CHANNELS, HEIGHT, 8))
    deep = g.SpaceToDepth(conv(g, "x", 3, pads=[1, 1, 1, 1]), blocksize=2)
    y = g.DepthToSpace(deep, blocksize=2)
    found = reaches(g.model(y, deep), {"x": Reach.whole(2, Fraction(1), HEIGHT)})
    assert found[deep] == Reach(2, Fraction(1, 2), HEIGHT // 2, 1, HEIGHT // 2 - 1)
    assert found[y] == Reach(2, Fraction(1), HEIGHT, 2, HEIGHT - 2)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda g: g.Softmax("x", axis=2), "works along the height"),
        (lambda g: g.Mul("x", noise(1, 1, HEIGHT, 1)), "has constants for one size of picture"),
        (lambda g: resized(g, "x", "align_corners", mode="linear"), "maps pixels by align_corners"),
        (lambda g: g.Conv("x", noise(4, 4, 3, 3), auto_pad="SAME_UPPER"), "has an implicit padding"),
        (lambda g: g.Slice("x", np.array([-8]), np.array([2**31]), np.array([2])), "counts from the lower edge"),
        (lambda g: g.CumSum("x", np.array(2)), "is not one of those that can be run on a part of the picture"),
    ],
)
def test_layers_that_need_the_whole_picture(layer: Callable[[Graph], str], reason: str) -> None:
    g = Graph((1, CHANNELS, HEIGHT, WIDTH))
    model = g.model(layer(g))
    with pytest.raises(BundleError, match=rf"cannot be run in strips: layer \S+ \(\w+\) {reason}"):
        reaches(model, {"x": Reach.whole(2, Fraction(1), HEIGHT)})
