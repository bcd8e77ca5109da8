"""TensorRT's form of whole nets: it keeps every rule and paints the same picture, bit for bit but for rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conftest import noise
from made import by_default

from nstopt.bundle import InputShape
from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.ranges import QuantParams, symmetric
from nstopt.engines.tensorrt import BACKEND
from nstopt.engines.tensorrt.lowering import precision_of, prepare, ready
from nstopt.engines.tensorrt.validation import violations
from nstopt.errors import BuildError
from nstopt.export.exporter import Exported
from nstopt.gpu.facts import architectures
from nstopt.graph.forms import choose_by_kind
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import rewrite
from nstopt.graph.specialize import specialize
from nstopt.ort import session
from nstopt.pictures.size import Size

PASCAL = (6, 1)
SHAPES = [InputShape.of(1, Size(48, 64)), InputShape.of(2, Size(37, 51)), InputShape.of(1, None)]
Export = Callable[[str], Exported]


# The forms that the backend chooses for INT8 on Pascal.
phases = choose_by_kind(BACKEND.forms("int8", architectures()["pascal"]))


def rewritten(exported: Exported, shape: InputShape) -> onnx.ModelProto:
    model = specialize(onnx.load(exported.onnx), shape)
    name_convolutions(model)
    return rewrite(model, phases).model


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    return quantize(model, {name: symmetric(60.0) for name in quantized_tensors(model.graph)})


def differ(left: onnx.ModelProto, right: onnx.ModelProto, shape: InputShape) -> int:
    images = np.stack([noise(*(shape.sizes.only or (40, 56)), seed) for seed in range(shape.batch or 1)])
    results = [session(model.SerializeToString()).run(None, {"image": images})[0] for model in (left, right)]
    assert np.ptp(results[0]) > 50
    return int(np.abs(results[0].astype(int) - results[1]).max())


@pytest.mark.parametrize(
    ("family", "shape"),
    [("fast-style", SHAPES[0]), ("fast-style", SHAPES[1]), ("instance norm", SHAPES[2]), ("frn", SHAPES[1])],
    ids=["fast-style-even", "fast-style-odd", "instance-norm-any", "frn-odd"],
)
def test_every_family(export_family: Export, family: str, shape: InputShape) -> None:
    model = rewritten(export_family(family), shape)
    for before, limit in ((model, 1), (to_int8(model), 1), (to_fp16(model), 1), (to_int8_fp16(to_int8(model)), 1)):
        after = prepare(before)
        assert list(violations(after, PASCAL)) == []
        assert differ(before, after, shape) <= limit
        kinds = [node.op_type for node in after.graph.node]
        assert kinds[0] == kinds[-1] == "Cast"
        assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear")


def test_weights_keep_their_integers(export_family: Export) -> None:
    before = to_int8(rewritten(export_family("instance norm"), SHAPES[0]))
    after = prepare(before)
    integers = {t.name: onnx.numpy_helper.to_array(t) for t in before.graph.initializer if t.name.endswith("weight_q")}
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


def test_the_model_given_stays_as_it_is(export_family: Export) -> None:
    model = to_int8(rewritten(export_family("frn"), SHAPES[0]))
    before = model.SerializeToString()
    prepare(model)
    assert model.SerializeToString() == before


def test_asymmetric_ranges_are_refused(export_family: Export) -> None:
    """The INT8 that other backends get."""
    model = rewritten(export_family("frn"), SHAPES[0])
    uint8 = quantize(model, {name: QuantParams(0.5, 100) for name in quantized_tensors(model.graph)})
    with pytest.raises(BuildError, match="quantizes to uint8; only int8 is known"):
        ready(uint8.SerializeToString(), PASCAL)


def test_transposed_int8_is_refused_on_pascal_only(export_family: Export) -> None:
    model = specialize(onnx.load(export_family("fast-style").onnx), SHAPES[0])
    name_convolutions(model)
    plain = to_int8(rewrite(model, by_default("tensorrt")).model).SerializeToString()
    assert ready(plain, (8, 6))
    with pytest.raises(BuildError, match=r"no INT8 transposed convolution on compute capability 6\.1"):
        ready(plain, PASCAL)


def test_norms_may_be_left_to_tensorrt(export_family: Export) -> None:
    """From 10 on, and for the sake of comparisons."""
    model = specialize(onnx.load(export_family("instance norm").onnx), SHAPES[0])
    kept, native = (
        [node.op_type for node in onnx.load_from_string(ready(model.SerializeToString(), None, own)).graph.node]
        for own in (True, False)
    )
    assert kept.count("InstanceNormalization") > 5
    assert native.count("InstanceNormalization") == 0
    assert native.count("ReduceMean") - kept.count("ReduceMean") == 2 * kept.count("InstanceNormalization")


def test_the_precision_that_a_graph_says(export_family: Export) -> None:
    model = rewritten(export_family("frn"), SHAPES[0])
    int8 = to_int8(model)
    found = [precision_of(one.SerializeToString()) for one in (model, to_fp16(model), int8, to_int8_fp16(int8))]
    assert found == ["fp32", "fp16", "int8", "int8-fp16"]
