"""Convolutions that write INT8 for norms: the same function before rounding, and what is left of it after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from export.graphs import run
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.observe import Histogram
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import Int8Inputs, QuantParams, merge_channels, mse_range
from nstopt.calib.recipe import RecipeBuilder
from nstopt.calib.statistics import collect
from nstopt.calib.sums import SumRange, fill_ranges, normed_sums, sum_range
from nstopt.engines.openvino import config, core
from nstopt.graph.nodes import initializers, multiplying, producers
from nstopt.pictures.files import Picture

from .conftest import MakeGraph

NORMED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 3, 8, 8] x) => (float[1, 12, 16, 16] y)
<float[4, 3, 3, 3] w, float[4] b, float[4, 4, 2, 2] t, float[4, 2, 2, 2] grouped, float[4, 1, 3, 3] d,
 float[4] one, float[4] zero, float[4, 4, 1, 1] v> {
    u = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    un = InstanceNormalization <epsilon = 1e-9> (u, one, zero)
    s = ConvTranspose <strides = [2, 2]> (un, t)
    sn = InstanceNormalization <epsilon = 1e-9> (s, one, zero)
    e = Conv <group = 4, pads = [1, 1, 1, 1]> (sn, d)
    en = InstanceNormalization <epsilon = 1e-9> (e, one, zero)
    q = ConvTranspose <group = 2, strides = [2, 2]> (un, grouped)
    qn = InstanceNormalization <epsilon = 1e-9> (q, one, zero)
    r = Conv(en, v)
    rn = InstanceNormalization <epsilon = 1e-9> (r, one, zero)
    y = Concat <axis = 1> (qn, r, rn)
}
"""


def normed(seed: int) -> onnx.ModelProto:
    """A convolution with a bias, a transposed and a depthwise one, each before a norm, and two that are left out."""
    model = parser.parse_model(NORMED)
    random = np.random.default_rng(seed)
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "t": (4, 4, 2, 2), "grouped": (4, 2, 2, 2), "d": (4, 1, 3, 3)}
    for name, shape in {**shapes, "v": (4, 4, 1, 1)}.items():
        array = random.normal(size=shape) * 10.0 ** random.uniform(-1, 1, (shape[0], *[1] * (len(shape) - 1)))
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    for name, value in (("one", 1), ("zero", 0)):
        model.graph.initializer.append(numpy_helper.from_array(np.full(4, value, np.float32), name))
    for index, node in enumerate(multiplying(model.graph)):
        node.name = f"layer{index}"
    return model


def test_layers_that_only_norms_read() -> None:
    assert normed_sums(normed(0).graph) == {"layer0": "u", "layer1": "s", "layer2": "e"}


@given(st.integers(0, 2**32 - 1))
def test_filling_a_range_changes_nothing_else(seed: int) -> None:
    model = normed(seed)
    random = np.random.default_rng(seed)
    centers, widths = random.normal(size=(3, 4)), 10.0 ** random.uniform(-1, 1, (3, 4))
    ranges = {
        layer: SumRange(center - width, center + width)
        for layer, center, width in zip(normed_sums(model.graph), centers, widths, strict=True)
    }
    filled = fill_ranges(model, ranges)
    onnx.checker.check_model(filled, full_check=True)
    picture = random.normal(size=(1, 3, 8, 8)).astype(np.float32)
    wanted = run(model, picture)
    np.testing.assert_allclose(run(filled, picture), wanted, atol=1e-3 * float(np.abs(wanted).max()))


def of(values: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


def test_all_channels_fill_one_range() -> None:
    found = SumRange(np.array([-1.0, 10.0, 5.0]), np.array([3.0, 10.4, 5.0]))
    ends = [(end - found.center) * found.factors / found.params.scale for end in (found.low, found.high)]
    np.testing.assert_allclose(np.abs(ends), [[127.5, 127.5, 0]] * 2)
    assert np.exp(np.log(found.factors).mean()) == pytest.approx(1)
    assert np.isfinite(SumRange(np.zeros(2), np.zeros(2)).factors).all()


def test_a_range_gives_up_outliers_for_a_smaller_error() -> None:
    random = np.random.default_rng(0)
    values = random.standard_t(3, (1, 2, 256, 256)).astype(np.float32) + 3
    found = sum_range(of(values))
    assert (found.high < values.max(axis=(0, 2, 3))).all()
    scales = (found.high - found.low) / 255
    rounded = np.clip(np.rint((values - found.center[:, None, None]) / scales[:, None, None]), -128, 127)
    restored = rounded * scales[:, None, None] + found.center[:, None, None]
    error = ((restored - values) ** 2).mean(axis=(0, 2, 3))
    steps = (values.max(axis=(0, 2, 3)) - values.min(axis=(0, 2, 3))) / 255
    assert (error < steps**2 / 12 * 0.9).all()


def in_int8(model: onnx.ModelProto, pictures: list[Picture]) -> dict[str, onnx.ModelProto]:
    """Three INT8 graphs of a model: no norm reads INT8, all do, and all do with one range for all channels."""
    inputs = Int8Inputs(("Conv",), norms=True)
    builder = RecipeBuilder(model, stats := collect(model, pictures, sums=True), inputs)
    floats = builder.start(None)
    levels = dict.fromkeys(builder.normed, "int8-out")
    peaks = {name: stats.histograms[name] for name in normed_sums(model.graph).values()}
    plain = {
        name: QuantParams(float(np.float32(max(-one.low.min(), one.high.max()) / 127)), 0, signed=True)
        for name, one in peaks.items()
    }
    ranges = {name: mse_range(merge_channels(stats.histograms[name])) for name in quantized_tensors(model.graph)}
    return {
        "floats": builder.build(floats),
        "norms": builder.build(replace(floats, levels=levels)),
        "one range": quantize(model, ranges | plain, levels),
    }


@pytest.fixture(scope="module")
def graphs(make_rewritten: MakeGraph, small_pictures: list[Picture]) -> dict[str, onnx.ModelProto]:
    """A net whose channels before norms have ranges that differ by a factor of 100, and its INT8 graphs."""
    model = make_rewritten("johnson")
    random, channels = np.random.default_rng(0), {layer.output[0]: layer for layer in multiplying(model.graph)}
    known = initializers(model.graph)
    uneven = {}
    for layer, name in normed_sums(model.graph).items():
        node = channels[name]
        width = 10.0 ** random.uniform(-1, 1, known[node.input[1]].shape[0 if node.op_type == "Conv" else 1])
        uneven[layer] = SumRange(-width, width)
    model = fill_ranges(model, uneven)
    return {"fp32": model, **in_int8(model, small_pictures[1:])}


def test_pictures_stay_close(graphs: dict[str, onnx.ModelProto], small_pictures: list[Picture]) -> None:
    made_by = producers(graphs["norms"].graph)
    norms = [node for node in graphs["norms"].graph.node if node.op_type == "InstanceNormalization"]
    assert len(norms) >= 5
    assert all(made_by[node.input[0]].op_type == "DequantizeLinear" for node in norms)
    wanted, *found = (np.asarray(run(one, small_pictures[0][None]), np.uint8) for one in graphs.values())
    floats, ours, one_range = (psnr_db(picture, wanted) for picture in found)
    assert floats > ours > one_range + 2
    assert ours > 28


def test_norms_read_int8_in_openvino(graphs: dict[str, onnx.ModelProto]) -> None:
    for name, wanted in (("floats", {"f32"}), ("norms", {"i8"})):
        model = core().read_model(graphs[name].SerializeToString())
        compiled = core().compile_model(model, "CPU", config("int8"))
        kernels = compiled.get_runtime_model().get_ops()
        norms = [one for one in kernels if one.get_rt_info()["layerType"].astype(str) == "MVN"]
        assert {one.input_value(0).get_element_type().to_string() for one in norms} == wanted
