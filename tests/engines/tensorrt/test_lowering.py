"""Whole nets in TensorRT's form: they keep its rules and give the same pictures within one gray level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conftest import noise
from graph.rules.equivalence import Graph
from graph.rules.equivalence import noise as noise_of
from made import by_default

from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.ranges import SYMMETRIC, Distribution, QuantParams, min_max_range, symmetric
from nstopt.engines.tensorrt import BACKEND
from nstopt.engines.tensorrt.forms import Forms
from nstopt.engines.tensorrt.lowering import precision_of, prepare, ready
from nstopt.engines.tensorrt.validation import violations
from nstopt.errors import BuildError
from nstopt.export.exporter import Exported
from nstopt.gpu.facts import architectures
from nstopt.graph.forms import choose_by_kind
from nstopt.graph.nodes import attribute, convolutions, dequantized, multiplying, name_convolutions, producers
from nstopt.graph.passes import rewrite
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.size import Size

PASCAL = (6, 1)
EVEN, ODD, ANY = InputShape.of(1, Size(48, 64)), InputShape.of(2, Size(37, 51)), InputShape.of(1, None)
Export = Callable[[str], Exported]
# Values of all activations.
VALUES = Distribution(np.array([-20.0, 60.0]), np.ones(2), -20.0, 60.0)
# The forms that the backend chooses for INT8 on Pascal.
phases = choose_by_kind(BACKEND.forms("int8", architectures()["pascal"]))


def rewritten(exported: Exported, shape: InputShape) -> onnx.ModelProto:
    model = specialize(onnx.load(exported.onnx), shape)
    name_convolutions(model)
    return rewrite(model, phases).model


def to_int8(model: onnx.ModelProto, level: str = "int8") -> onnx.ModelProto:
    """INT8 with an offset wherever the convolutions that read a tensor take one."""
    tensors = quantized_tensors(model.graph).items()
    ranges = {name: min_max_range(VALUES, SYMMETRIC.scheme(readers)) for name, readers in tensors}
    assert any(one.offset for one in ranges.values())
    return quantize(model, ranges, {node.name: level for node in multiplying(model.graph)})


def to_symmetric_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """INT8 without offsets, so that convolutions keep their own zero padding."""
    return quantize(model, {name: symmetric(60.0) for name in quantized_tensors(model.graph)})


@pytest.fixture(scope="module")
def frn(export_family: Export) -> onnx.ModelProto:
    """A rewritten net for 48x64 in FP32."""
    return rewritten(export_family("frn"), EVEN)


@pytest.fixture(scope="module")
def frn_int8(frn: onnx.ModelProto) -> onnx.ModelProto:
    """The same net in INT8."""
    return to_int8(frn)


def max_difference(left: onnx.ModelProto, right: onnx.ModelProto, shape: InputShape) -> int:
    """Largest difference of two models' results in gray levels."""
    pictures = np.stack([noise(*(shape.sizes.only or (40, 56)), seed) for seed in range(shape.batch or 1)])
    results = [session(model.SerializeToString()).run(None, {"image": pictures})[0] for model in (left, right)]
    assert np.ptp(results[0]) > 50
    return int(np.abs(results[0].astype(int) - results[1]).max())


@pytest.mark.parametrize(
    ("family", "shape"),
    [("fast-style", ODD), ("instance norm", ANY), ("frn", ANY), ("separable", EVEN)],
    ids=["fast-style-odd", "instance-norm-any", "frn-any", "separable-even"],
)
def test_a_lowered_net_gives_the_same_pictures(export_family: Export, family: str, shape: InputShape) -> None:
    model = rewritten(export_family(family), shape)
    int8 = to_int8(model)
    others = (to_int8(model, "int8x2"), to_symmetric_int8(model))
    for before in (model, int8, to_fp16(model), to_int8_fp16(int8), *others):
        after = prepare(before)
        assert list(violations(after, PASCAL)) == []
        assert max_difference(before, after, shape) <= 1
        kinds = [node.op_type for node in after.graph.node]
        assert kinds[0] == kinds[-1] == "Cast"
        assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear")


def test_convolutions_in_groups_keep_the_rules() -> None:
    """Grouped ones, from 4 to 6 channels, one of them transposed, with quantized weights."""
    g, bias = Graph((1, 4, 8, 8)), np.zeros(6, np.float32)
    y = g.ConvTranspose(g.Relu(g.Conv("x", noise_of(6, 2, 3, 3), bias, group=2)), noise_of(6, 3, 4, 4), group=2)
    model = g.model(y)
    name_convolutions(model)
    for before in (to_symmetric_int8(model), to_int8(model)):
        after = prepare(onnx.shape_inference.infer_shapes(before))
        assert list(violations(after)) == []
        assert [attribute(node, "kernel_shape", None) for node in convolutions(after.graph)] == [[3, 3], [4, 4]]


@pytest.mark.parametrize("family", ["fast-style", "instance norm", "separable", "frn"])
def test_quantizers_stand_right_before_the_convolutions(export_family: Export, family: str) -> None:
    """TensorRT 8 runs a convolution in INT8 only there; a Pad between would keep it in FP32."""
    model = rewritten(export_family(family), EVEN)
    int8, twice = to_int8(model), to_int8(model, "int8x2")
    assert "Pad" in [node.op_type for node in int8.graph.node]
    for before in (int8, twice, to_int8_fp16(int8)):
        after = prepare(before)
        made_by = producers(after.graph)
        for node in multiplying_in_int8(after):
            source = made_by[node.input[0]]
            source = made_by[source.input[0]] if source.op_type == "Cast" else source
            assert source.op_type == "DequantizeLinear", node.name
        assert len(multiplying_in_int8(after)) == len(multiplying_in_int8(before)) > 7


def multiplying_in_int8(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    restored = dequantized(model.graph)
    return [node for node in convolutions(model.graph) if node.input[1] in restored]


def test_weights_keep_their_integers(frn_int8: onnx.ModelProto) -> None:
    after = prepare(frn_int8)
    weights = (tensor for tensor in frn_int8.graph.initializer if tensor.name.endswith("weight_q"))
    integers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in weights}
    assert len(integers) > 5
    for node in after.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in integers:
            name = node.input[0]
            pair = onnx.helper.make_graph(
                [node],
                "pair",
                [],
                [onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT8, None)],
                [t for t in after.graph.initializer if t.name in node.input],
            )
            model = onnx.helper.make_model(pair, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
            np.testing.assert_array_equal(session(model.SerializeToString()).run(None, {})[0], integers.pop(name))
    assert not integers


def test_the_given_model_is_not_changed(frn_int8: onnx.ModelProto) -> None:
    before = frn_int8.SerializeToString()
    prepare(frn_int8)
    assert frn_int8.SerializeToString() == before


def test_asymmetric_ranges_are_refused(frn: onnx.ModelProto) -> None:
    """Other backends take them."""
    uint8 = quantize(frn, {name: QuantParams(0.5, 100) for name in quantized_tensors(frn.graph)})
    with pytest.raises(BuildError, match="its integers are uint8; they must be int8"):
        ready(uint8.SerializeToString(), PASCAL)


def test_transposed_int8_is_refused_on_pascal_only(export_family: Export) -> None:
    model = specialize(onnx.load(export_family("fast-style").onnx), EVEN)
    name_convolutions(model)
    plain = to_int8(rewrite(model, by_default("tensorrt")).model).SerializeToString()
    assert ready(plain, (8, 6))
    with pytest.raises(BuildError, match=r"needs compute capability 7\.2, and this GPU has 6\.1"):
        ready(plain, PASCAL)


def test_norms_may_be_left_to_tensorrt(export_family: Export) -> None:
    """TensorRT 10 and later can run them; a peer in benchmarks does."""
    model = specialize(onnx.load(export_family("fast-style").onnx), EVEN)
    kept, native = (
        [node.op_type for node in onnx.load_from_string(ready(model.SerializeToString(), None, Forms(own))).graph.node]
        for own in (True, False)
    )
    assert kept.count("InstanceNormalization") > 5
    assert native.count("InstanceNormalization") == 0
    assert native.count("ReduceMean") - kept.count("ReduceMean") == 2 * kept.count("InstanceNormalization")


def test_precision_of_a_graph(frn: onnx.ModelProto, frn_int8: onnx.ModelProto) -> None:
    models = (frn, to_fp16(frn), frn_int8, to_int8_fp16(frn_int8))
    assert [precision_of(model.SerializeToString()) for model in models] == ["fp32", "fp16", "int8", "int8-fp16"]
