from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.crop_into_transposed import CropIntoTransposed

from .equivalence import (
    Dims,
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
    sides,
)

END = np.iinfo(np.int64).max
UNKNOWN = "not a known border"


@random_graphs
@given(batches, channels, channels, st.integers(1, 5), sides, sides, st.integers(1, 3), biased, st.data())
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
    g = Graph((batch, inputs, height, width))
    pads = data.draw(st.lists(st.integers(0, kernel - 1), min_size=4, max_size=4), "pads")
    extra = data.draw(st.integers(0, stride - 1), "output_padding")
    size = [stride * (n - 1) + kernel + extra - pads[i] - pads[2 + i] for i, n in enumerate((height, width))]
    if min(size) < 2:
        return
    starts, ends = [], []
    for length in size:
        start = data.draw(st.integers(0, min(length - 1, 4)), "start")
        end = data.draw(st.integers(max(start + 1, length - 4), length), "end")
        starts.append(data.draw(st.sampled_from([start, start - length]), "start as"))
        ends.append(
            data.draw(st.sampled_from([end, end - length] if end < length else [length, length + 9, END]), "as")
        )
    y = g.ConvTranspose(
        "x",
        noise(inputs, outputs, kernel, kernel),
        *bias_or_none(bias, outputs),
        pads=pads,
        strides=[stride, stride],
        output_padding=[extra, extra],
    )
    axes = data.draw(st.sampled_from([[2, 3], [-2, -1]]), "axes")
    steps = data.draw(st.sampled_from([[], [np.ones(2, np.int64)]]), "steps")
    y = g.Slice(y, np.array(starts), np.array(ends), np.array(axes), *steps)
    assert operators(applied(g.model(y), CropIntoTransposed)) == ["ConvTranspose"]


def crop(starts: list[int], ends: list[int], axes: list[int], dims: Dims = (1, 3, 6, 6), steps: int = 1) -> Graph:
    g = Graph(dims)
    y = g.ConvTranspose("x", noise(3, 2, 3, 3), strides=[2, 2])
    g.Slice(y, np.array(starts), np.array(ends), np.array(axes), np.full(len(axes), steps))
    return g


def test_a_group_and_one_axis() -> None:
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
def test_declines_crops_of_unknown_sizes(starts: list[int], ends: list[int], axes: list[int]) -> None:
    declined(crop(starts, ends, axes, ("N", 3, "H", "W")).model("t1"), CropIntoTransposed, UNKNOWN)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([0, 0], [1, -1], [1, 2], 1),
        ([0, 0], [-1, -1], [2, 3], 2),
        ([9, 9], [0, 0], [2, 3], -1),
        ([0, 0], [0, -1], [2, 3], 1),
        ([5, 0], [5, -1], [2, 3], 1),
        ([13, 0], [END, -1], [2, 3], 1),
    ],
)
def test_declines_what_is_no_crop(starts: list[int], ends: list[int], axes: list[int], steps: int) -> None:
    declined(crop(starts, ends, axes, steps=steps).model("t1"), CropIntoTransposed, UNKNOWN)


def test_declines_computed_and_unnamed_axes() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.ConvTranspose("x", noise(3, 2, 3, 3))
    size = g.Shape("x", start=2)
    declined(g.model(g.Slice(y, np.array([0, 0]), size, np.array([2, 3]))), CropIntoTransposed, UNKNOWN)
    zeros = np.zeros(4, np.int64)
    declined(g.model(g.Slice(y, zeros, np.array([1, 2, 8, 7]))), CropIntoTransposed, UNKNOWN)


def test_declines_what_others_read() -> None:
    g = crop([1, 1], [-1, -1], [2, 3])
    declined(g.model("t1", "t0"), CropIntoTransposed, "read elsewhere")
    declined(g.model("t1", g.Relu("t0")), CropIntoTransposed, "read elsewhere")


def test_declines_sizes_of_its_own() -> None:
    for attributes in ({"output_shape": [12, 12]}, {"auto_pad": "SAME_LOWER"}):
        g = Graph((1, 3, 6, 6))
        y = g.ConvTranspose("x", noise(3, 2, 3, 3), strides=[2, 2], **attributes)
        y = g.Slice(y, np.array([1, 1]), np.array([-1, -1]), np.array([2, 3]))
        declined(g.model(y), CropIntoTransposed, "fixes its own size")


def test_leaves_crops_of_other_things() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv("x", noise(2, 3, 3, 3))
    declined(g.model(g.Slice(y, np.array([1, 1]), np.array([-1, -1]), np.array([2, 3]))), CropIntoTransposed)
