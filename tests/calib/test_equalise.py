"""Equalisation changes ranges, never pictures; streams are what may share a factor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import SMALL
from onnx import numpy_helper, parser

from nstopt.calib.equalise import equalise, factors, streams
from nstopt.calib.quality import psnr_db
from nstopt.graph.nodes import initialisers
from nstopt.graph.passes import rewrite
from nstopt.pictures import RGB, cover

from .conftest import MakeGraph, histograms, render

FAMILIES = ["johnson", "fast-style", "instance norm", "frn"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_picture_stays(make_graph: MakeGraph, photographs: list[RGB], family: str, exponent: float) -> None:
    model = rewrite(make_graph(family), "openvino").model
    pictures = [cover(rgb, SMALL) for rgb in photographs[:2]]
    seen = histograms(model, pictures)
    chosen = [
        (stream, s)
        for stream in streams(model.graph)
        if (s := factors(model.graph, stream, seen, exponent)) is not None
    ]
    # encoder 2, residual stream 1, inside the block 1, decoder 2
    assert len(chosen) == 6
    assert all(s.std() > 0.01 for _, s in chosen)
    equal = equalise(model, chosen)
    assert initialisers(equal.graph).keys() > initialisers(model.graph).keys()
    for before, after in zip(render(model, pictures)[0], render(equal, pictures)[0], strict=True):
        assert psnr_db(before, after) > 60


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_divided(make_graph: MakeGraph, photographs: list[RGB], family: str) -> None:
    model = rewrite(make_graph(family), "openvino").model
    pictures = [cover(photographs[0], SMALL)]
    seen = histograms(model, pictures)
    stream = streams(model.graph)[0]
    s = factors(model.graph, stream, seen, 1.0)
    assert s is not None
    after = histograms(equalise(model, [(stream, s)]), pictures)
    for name in seen:
        divisor = s if name in stream.tensors else 1
        np.testing.assert_allclose(after[name].high, seen[name].high / divisor, rtol=1e-3, atol=1e-4)


def test_a_residual_stream_is_one(make_graph: MakeGraph) -> None:
    graph = rewrite(make_graph("fast-style"), "openvino").model.graph
    (residual,) = [stream for stream in streams(graph) if len(stream.writers) > 1]
    assert [node.op_type for node in residual.writers] == ["InstanceNormalization"] * 2
    assert [node.op_type for node in residual.readers] == ["Conv", "ConvTranspose"]


OPEN = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 2, 8, 8] x) => (float[1, 2, 6, 6] y) <float[2, 2, 1, 1] w, float[2, 2, 3, 3] v> {
    a = Conv(x, w)
    r = %s(a)
    y = Conv(r, v)
}
"""


@pytest.mark.parametrize(
    ("between", "count"), [("Relu", 1), ("LeakyRelu", 1), ("Tanh", 0), ("Sigmoid", 0), ("Sqrt", 0)]
)
def test_only_what_passes_a_factor_through(between: str, count: int) -> None:
    """tanh(x / s) is not tanh(x) / s. The graph's own input and output take no factor either."""
    model = parser.parse_model(OPEN % between)
    weights = {"w": np.ones((2, 2, 1, 1)), "v": np.ones((2, 2, 3, 3))}
    model.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items())
    del model.graph.input[1:]
    assert len(streams(model.graph)) == count


def test_dead_channels_keep_their_scale(make_graph: MakeGraph, photographs: list[RGB]) -> None:
    model = rewrite(make_graph("johnson"), "openvino").model
    seen = histograms(model, [cover(photographs[0], SMALL)])
    stream = streams(model.graph)[0]
    for name in stream.tensors & seen.keys():
        seen[name].low[0] = seen[name].high[0] = 0
    s = factors(model.graph, stream, seen, 0.5)
    assert s is not None
    assert s[0] == 1
    assert np.isfinite(s).all()
    assert factors(model.graph, stream, {}, 0.5) is None


def test_shared_constants_are_not_changed_for_others(make_graph: MakeGraph) -> None:
    model: onnx.ModelProto = make_graph("johnson")
    stream = streams(model.graph)[0]
    before = initialisers(model.graph)
    equal = equalise(model, [(stream, np.full(4, 2.0))])
    after = initialisers(equal.graph)
    assert all(np.array_equal(array, after[name]) for name, array in before.items())
