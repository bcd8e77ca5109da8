"""Equalization changes ranges, not pictures; streams are the tensors that share a factor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import SMALL
from onnx import TensorProto, helper, numpy_helper, parser

from nstopt.calib.equalize import equalize, factors, streams
from nstopt.calib.quality import psnr_db
from nstopt.graph.forms import choose_by_kind
from nstopt.graph.nodes import initializers
from nstopt.graph.passes import rewrite
from nstopt.pictures.files import Picture

from .conftest import MakeGraph, histograms, render

FAMILIES = ["johnson", "fast-style", "frn"]


@pytest.mark.parametrize(("family", "exponent"), [*((family, 0.5) for family in FAMILIES), ("frn", 0.0), ("frn", 1.0)])
def test_pictures_stay_the_same(
    make_rewritten: MakeGraph, small_pictures: list[Picture], family: str, exponent: float
) -> None:
    model, pictures = make_rewritten(family), small_pictures[:2]
    known = histograms(model, pictures)
    chosen = [
        (stream, s)
        for stream in streams(model.graph)
        if (s := factors(model.graph, stream, known, exponent)) is not None
    ]
    # encoder 2, residual stream 1, inside the block 1, decoder 2
    assert len(chosen) == 6
    assert all(s.std() > 0.01 for _, s in chosen)
    equal = equalize(model, chosen)
    assert initializers(equal.graph).keys() > initializers(model.graph).keys()
    for before, after in zip(render(model, pictures)[0], render(equal, pictures)[0], strict=True):
        assert psnr_db(before, after) > 60


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_divided(make_rewritten: MakeGraph, small_pictures: list[Picture], family: str) -> None:
    model, pictures = make_rewritten(family), small_pictures[:1]
    before = histograms(model, pictures)
    stream = streams(model.graph)[0]
    s = factors(model.graph, stream, before, 1.0)
    assert s is not None
    after = histograms(equalize(model, [(stream, s)]), pictures)
    for name in before:
        divisor = s if name in stream.tensors else 1
        np.testing.assert_allclose(after[name].high, before[name].high / divisor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["plain", "transposed", "phase", "early-pad"])
def test_streams_of_separable_nets_pass_doublings_in_all_forms(
    make_graph: MakeGraph, small_pictures: list[Picture], form: str
) -> None:
    model = rewrite(make_graph("separable"), choose_by_kind({"upsample-grouped": form})).model
    known = histograms(model, small_pictures[:1])
    found = streams(model.graph)
    # encoder 4, residual stream 1, inside the block 3, decoder 4; none passes the four phases of a channel
    assert len(found) == {"phase": 8}.get(form, 12)
    chosen = [(stream, s) for stream in found if (s := factors(model.graph, stream, known, 0.5)) is not None]
    equal = equalize(model, chosen)
    for before, after in zip(render(model, small_pictures[:1])[0], render(equal, small_pictures[:1])[0], strict=True):
        assert psnr_db(before, after) > 60


def test_residual_blocks_share_one_stream(make_rewritten: MakeGraph) -> None:
    graph = make_rewritten("fast-style").graph
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
def test_streams_pass_only_operators_that_commute_with_a_factor(between: str, count: int) -> None:
    """tanh(x / s) is not tanh(x) / s. The graph's own input and output take no factor."""
    model = parser.parse_model(OPEN % between)
    weights = {"w": np.ones((2, 2, 1, 1)), "v": np.ones((2, 2, 3, 3))}
    model.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items())
    del model.graph.input[1:]
    assert len(streams(model.graph)) == count


def test_dead_channels_keep_their_scale(make_rewritten: MakeGraph, small_pictures: list[Picture]) -> None:
    model = make_rewritten("johnson")
    known = histograms(model, small_pictures[:1])
    stream = streams(model.graph)[0]
    for name in stream.tensors & known.keys():
        known[name].low[0] = known[name].high[0] = 0
    s = factors(model.graph, stream, known, 0.5)
    assert s is not None
    assert s[0] == 1
    assert np.isfinite(s).all()
    assert factors(model.graph, stream, {}, 0.5) is None


def test_constants_are_copied_not_changed(make_graph: MakeGraph) -> None:
    model: onnx.ModelProto = make_graph("johnson")
    stream = streams(model.graph)[0]
    before = initializers(model.graph)
    equal = equalize(model, [(stream, np.full(4, 2.0))])
    after = initializers(equal.graph)
    assert all(np.array_equal(array, after[name]) for name, array in before.items())


def separable(operator: str) -> onnx.ModelProto:
    """Return a net of a norm, a depthwise 3x3 and a 1x1 convolution, with channels of very different ranges."""
    random = np.random.default_rng(0)
    shape = (8, 3, 3, 3) if operator == "Conv" else (3, 8, 3, 3)
    constants = {
        "w1": random.normal(size=shape),
        "gamma": 10.0 ** random.uniform(-1, 1, 8),
        "beta": random.normal(size=8),
        "w2": random.normal(size=(8, 1, 3, 3)),
        "b2": random.normal(size=8),
        "w3": random.normal(size=(3, 8, 1, 1)) * 5,
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["chw"], ["x"], to=TensorProto.FLOAT),
        helper.make_node(operator, ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("InstanceNormalization", ["a", "gamma", "beta"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w2", "b2"], ["d"], name="depthwise", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "w3"], ["f"], name="pointwise"),
        helper.make_node("Clip", ["f", "low", "high"], ["g"]),
        helper.make_node("Cast", ["g"], ["h"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["h"], ["stylized"], perm=[0, 2, 3, 1]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    tensors += [
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("low", 0), ("high", 255))
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.UINT8, [1, *SMALL, 3]) for n in ("image", "stylized")]
    graph = helper.make_graph(nodes, "separable", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_depthwise_convolutions_scale_each_channel(operator: str, small_pictures: list[Picture]) -> None:
    model = separable(operator)
    pictures = small_pictures[:1]
    known = histograms(model, pictures)
    chosen = [(stream, factors(model.graph, stream, known, 0.5)) for stream in streams(model.graph)]
    assert [{node.name for node in stream.readers} for stream, _ in chosen] == [{"depthwise"}, {"pointwise"}]
    equal = equalize(model, [(stream, s) for stream, s in chosen if s is not None and s.std() > 0.1])
    assert len(equal.graph.initializer) == len(model.graph.initializer) + 5
    for before, after in zip(render(model, pictures)[0], render(equal, pictures)[0], strict=True):
        assert psnr_db(before, after) > 60
