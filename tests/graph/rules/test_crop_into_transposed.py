from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nstopt.graph.rules.crop_into_transposed import CropIntoTransposed

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
)

END = np.iinfo(np.int64).max
UNKNOWN = "not a known border"
UNREADABLE = "computed weights, other readers, or a size of its own"


@random_graphs
@given(convolutions(["ConvTranspose"], kernels=pairs(1, 5), strides=pairs(1, 3)), st.data())
def test_random_graphs(conv: RandomConv, data: st.DataObject) -> None:
    extra = tuple(data.draw(st.integers(0, stride - 1), "output_padding") for stride in conv.strides)
    conv = conv._replace(output_padding=(extra[0], extra[1]))
    size = [
        conv.strides[i] * (conv.size[i] - 1) + conv.kernel[i] + extra[i] - conv.pads[i] - conv.pads[2 + i]
        for i in (0, 1)
    ]
    assume(min(size) > 1)
    starts, ends = [], []
    for length in size:
        start = data.draw(st.integers(0, min(length - 1, 4)), "start")
        end = data.draw(st.integers(max(start + 1, length - 4), length), "end")
        starts.append(data.draw(st.sampled_from([start, start - length]), "start as"))
        ends.append(data.draw(st.sampled_from([end, end - length] if end < length else [length, length + 9, END])))
    axes = data.draw(st.sampled_from([[2, 3], [-2, -1]]), "axes")
    steps = data.draw(st.sampled_from([[], [np.ones(2, np.int64)]]), "steps")
    g = Graph(conv.dims)
    y = g.Slice(conv.add(g), np.array(starts), np.array(ends), np.array(axes), *steps)
    assert operators(applied(g.model(y), CropIntoTransposed)) == ["ConvTranspose"]


def crop(starts: list[int], ends: list[int], axes: list[int], dims: Dims = (1, 3, 6, 6), steps: int = 1) -> Graph:
    """Make a graph whose node t1 crops the transposed convolution t0, 13 x 13 for 6 x 6."""
    g = Graph(dims)
    y = g.ConvTranspose("x", noise(3, 2, 3, 3), strides=[2, 2])
    g.Slice(y, np.array(starts), np.array(ends), np.array(axes), np.full(len(axes), steps))
    return g


def test_group_dilation_and_one_axis() -> None:
    g = Graph((1, 4, 6, 6))
    y = g.ConvTranspose("x", noise(4, 2, 3, 3), group=2, dilations=[2, 1])
    y = g.Slice(y, np.array([1]), np.array([END]), np.array([3]))
    assert operators(applied(g.model(y), CropIntoTransposed)) == ["ConvTranspose"]


def test_any_size() -> None:
    g = crop([1, 0], [-1, -2], [2, 3], ("N", 3, "H", "W"))
    assert operators(applied(g.model("t1"), CropIntoTransposed)) == ["ConvTranspose"]


@pytest.mark.parametrize(
    ("starts", "ends", "axes"),
    [([0, 0], [END, END], [2, 3]), ([-9, 0], [-1, -1], [2, 3]), ([0, 0], [5, -1], [2, 3])],
)
def test_declines_crops_that_depend_on_a_free_size(starts: list[int], ends: list[int], axes: list[int]) -> None:
    declined(crop(starts, ends, axes, ("N", 3, "H", "W")).model("t1"), CropIntoTransposed, UNKNOWN)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        pytest.param([0, 0], [1, -1], [1, 2], 1, id="channels"),
        pytest.param([0, 0], [-1, -1], [2, 3], 2, id="steps"),
        pytest.param([9, 9], [0, 0], [2, 3], -1, id="backwards"),
        pytest.param([0, 0], [0, -1], [2, 3], 1, id="nothing from the start"),
        pytest.param([5, 0], [5, -1], [2, 3], 1, id="nothing inside"),
        pytest.param([13, 0], [END, -1], [2, 3], 1, id="nothing at the end"),
    ],
)
def test_declines_slices_that_do_not_crop(starts: list[int], ends: list[int], axes: list[int], steps: int) -> None:
    declined(crop(starts, ends, axes, steps=steps).model("t1"), CropIntoTransposed, UNKNOWN)


def test_declines_computed_and_missing_axes() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.ConvTranspose("x", noise(3, 2, 3, 3))
    size = g.Shape("x", start=2)
    declined(g.model(g.Slice(y, np.array([0, 0]), size, np.array([2, 3]))), CropIntoTransposed, UNKNOWN)
    zeros = np.zeros(4, np.int64)
    declined(g.model(g.Slice(y, zeros, np.array([1, 2, 8, 7]))), CropIntoTransposed, UNKNOWN)


def test_declines_other_readers() -> None:
    g = crop([1, 1], [-1, -1], [2, 3])
    declined(g.model("t1", "t0"), CropIntoTransposed, UNREADABLE)
    declined(g.model("t1", g.Relu("t0")), CropIntoTransposed, UNREADABLE)


@pytest.mark.parametrize("attributes", [{"output_shape": [12, 12]}, {"auto_pad": "SAME_LOWER"}])
def test_declines_implicit_sizes(attributes: dict[str, object]) -> None:
    g = Graph((1, 3, 6, 6))
    y = g.ConvTranspose("x", noise(3, 2, 3, 3), strides=[2, 2], **attributes)
    y = g.Slice(y, np.array([1, 1]), np.array([-1, -1]), np.array([2, 3]))
    declined(g.model(y), CropIntoTransposed, UNREADABLE)


def test_ignores_crops_of_other_operators() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3))
    declined(g.model(g.Slice(y, np.array([1, 1]), np.array([-1, -1]), np.array([2, 3]))), CropIntoTransposed)
