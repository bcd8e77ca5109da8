"""Histograms against numpy's, for any values in any order."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper

from nstopt.calib.observe import BINS, Histogram, observe

Floats = NDArray[np.float32]
CHANNELS = 3
EXACT = st.integers(-(2**19), 2**19).map(lambda number: number / 64)  # in float32, and so is the sum with the radius
VALUES = st.tuples(st.integers(1, 2), st.integers(1, 12)).flatmap(
    lambda sides: arrays.arrays(np.float32, (sides[0], CHANNELS, sides[1]), elements=EXACT)
)


@settings(max_examples=25)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_counts_match_numpys_over_the_final_radius_of_each_channel(batches: list[Floats]) -> None:
    histogram = Histogram()
    for values in batches:
        histogram.add(values)
    for channel in range(CHANNELS):
        seen = np.concatenate([values[:, channel].ravel() for values in batches]).astype(np.float64)
        radius = histogram.radius[channel]
        edges = np.linspace(-radius, radius, BINS + 1)
        np.testing.assert_array_equal(histogram.counts[channel], np.histogram(seen, edges)[0])
        assert (histogram.low[channel], histogram.high[channel]) == (seen.min(), seen.max())
        assert np.log2(radius) % 1 == 0
        np.testing.assert_allclose(histogram.centers[channel], (edges[1:] + edges[:-1]) / 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="activations are not finite"):
        Histogram().add(np.array([[1, bad, 2]], np.float32))


def doubler(batch: int | str) -> onnx.ModelProto:
    """uint8 `image` → float NCHW `float` and `twice` → uint8 `stylized`."""
    dims = [batch, "H", "W", 3]
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["nchw"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["float", "float"], ["twice"]),
            helper.make_node("Cast", ["twice"], ["stylized"], to=TensorProto.UINT8),
        ],
        "doubler",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, dims)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, [batch, 3, "H", "W"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("batch", ["N", 3])
def test_inner_tensors_are_observed(batch: int | str, photographs: list[NDArray[np.uint8]]) -> None:
    copies = batch if isinstance(batch, int) else 1
    found = {name: Histogram() for name in ("float", "twice")}
    observe(doubler(batch), {name: [histogram] for name, histogram in found.items()}, photographs, copies)
    for name, factor in (("float", 1), ("twice", 2)):
        alone = Histogram()
        for picture in photographs * copies:
            alone.add(factor * picture.transpose(2, 0, 1)[None].astype(np.float32))
        np.testing.assert_array_equal(found[name].counts, alone.counts)
        np.testing.assert_array_equal(found[name].high, alone.high)
