"""Graphs that TensorRT would refuse, one for each rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nstopt.engines.tensorrt.validation import check, violations
from nstopt.errors import BuildError

ONE = np.array(0.1, np.float32)
ZERO = np.array(0, np.int8)


def graph(
    nodes: list[onnx.NodeProto],
    opset: int = 17,
    kinds: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
    **constants: NDArray[np.generic],
) -> onnx.ModelProto:
    """Return a model of `nodes` from x [1, 3, 8, 8] to y, with `constants` as initializers."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", kinds[0], (1, 3, 8, 8))],
            [helper.make_tensor_value_info("y", kinds[1], None)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    return onnx.shape_inference.infer_shapes(model)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"the_{op.lower()}", **attributes)


def pair(scale: NDArray[np.generic] = ONE, zero: NDArray[np.generic] = ZERO, after: str = "Relu") -> onnx.ModelProto:
    """Return a model with a quantizer pair on x."""
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node(after, "d", "y")]
    return graph(nodes, s=scale, z=zero)


def convolution(weight_axis: int, op: str = "Conv", **attributes: Any) -> onnx.ModelProto:
    """Return a convolution whose weights are quantized along `weight_axis`."""
    scales, zeros = np.full(3, 0.1, np.float32), np.zeros(3, np.int8)
    return graph(
        [
            node("QuantizeLinear", "w s z", "q", axis=weight_axis),
            node("DequantizeLinear", "q s z", "d", axis=weight_axis),
            node(op, "x d", "y", **attributes),
        ],
        w=np.ones((3, 3, 1, 1), np.float32),
        s=scales,
        z=zeros,
    )


def test_graphs_that_keep_the_rules() -> None:
    for model in (
        pair(),
        convolution(0, kernel_shape=[1, 1]),
        convolution(1, "ConvTranspose"),
        graph([node("Relu", "x", "y")]),
    ):
        assert list(violations(model)) == []
        check(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graph([node("Relu", "x", "y")], opset=18), "opset 18 is not supported; 17 is the newest"),
        (graph([node("Det", "x", "y")]), "the_det: operator Det is not supported"),
        (
            graph([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft", name="g")]),
            "g: operator com.microsoft.Gelu is not of the standard domain",
        ),
        (pair(zero=np.array(3, np.int8)), "the_quantizelinear: its zero point is 3; it must be 0"),
        (pair(zero=np.array(0, np.uint8)), "the_quantizelinear: its integers are uint8; they must be int8"),
        (pair(scale=np.array(0, np.float32)), "the_quantizelinear: its scales must be finite and above 0"),
        (
            pair(np.full(3, 0.1, np.float32), np.zeros(3, np.int8)),
            "the_quantizelinear: it has a scale per channel; an activation must have one",
        ),
        (pair(np.full(3, 0.1, np.float32)), "the_quantizelinear: it has 3 scales but 1 zero points"),
        (
            graph([node("QuantizeLinear", "x s z", "q"), node("Cast", "q", "y", to=1)], s=ONE, z=ZERO),
            "the_quantizelinear: its integers must be read by DequantizeLinear only",
        ),
        (
            graph([node("Relu", "x", "s"), node("QuantizeLinear", "x s z", "q"), node("Cast", "q", "y", to=1)], z=ZERO),
            "the_quantizelinear: scale and zero point must be initializers",
        ),
        (
            graph(
                [node("DequantizeLinear", "w s z", "d"), node("Add", "x d", "y")],
                w=np.array([1], np.int8),
                s=ONE,
                z=ZERO,
            ),
            "the_dequantizelinear: its input must come from a QuantizeLinear; TensorRT 8 takes no int8",
        ),
        (convolution(0), "the_conv: it has quantized weights and no kernel_shape"),
        (
            graph([node("Shape", "x", "n", start=1, end=3), node("Cast", "n", "y", to=1)]),
            "the_shape: TensorRT 8 does not read the attribute start of Shape",
        ),
        (
            graph(
                [helper.make_node("Resize", ["x", "", "f"], ["y"], name="up", extrapolation_value=1.0)],
                f=np.ones(4, np.float32),
            ),
            "up: TensorRT 8 does not read the attribute extrapolation_value of Resize",
        ),
        (
            graph([node("Shape", "x", "n"), node("Sqrt", "n", "r"), node("Cast", "r", "y", to=1)]),
            "the_sqrt: Sqrt on integers is not supported",
        ),
        (convolution(1), "the_conv: its weights are quantized along axis 1; it must be axis 0"),
        (
            convolution(0, "ConvTranspose"),
            "the_convtranspose: its weights are quantized along axis 0; it must be axis 1",
        ),
        (
            graph(
                [
                    node("QuantizeLinear", "x s z", "q"),
                    node("DequantizeLinear", "q s z", "d"),
                    helper.make_node("Resize", ["d", "", "f"], ["y"], name="up", mode="nearest"),
                ],
                s=ONE,
                z=ZERO,
                f=np.array([1, 1, 2, 2], np.float32),
            ),
            "up: the input of a Resize must not be quantized",
        ),
        (
            graph(
                [helper.make_node("Resize", ["x", "", "f"], ["y"], name="up", mode="cubic")], f=np.ones(4, np.float32)
            ),
            "up: Resize mode cubic is not supported",
        ),
        (
            graph([node("Relu", "x", "s"), node("InstanceNormalization", "x s b", "y")], b=np.ones(3, np.float32)),
            "the_instancenormalization: scale and shift of an InstanceNormalization must be initializers",
        ),
        (
            graph([node("InstanceNormalization", "x s b", "y")], s=np.ones(3, np.float32), b=np.ones(3, np.float32)),
            "the_instancenormalization: up to 8.6.0, TensorRT has InstanceNormalization only as",
        ),
        (
            graph([node("Transpose", "x", "y")], kinds=(TensorProto.UINT8, TensorProto.UINT8)),
            "the_transpose: Transpose on uint8; only a Cast at a graph input or output may",
        ),
        (
            graph([node("Pad", "x p", "y", mode="wrap")], p=np.zeros(8, np.int64)),
            "the_pad: Pad mode wrap is not supported",
        ),
        (
            graph(
                [node("Shape", "x", "n"), helper.make_node("Slice", ["x", "b", "e", "n"], ["y"], name="cut")],
                b=np.zeros(4, np.int64),
                e=np.ones(4, np.int64),
            ),
            "cut: the axes of a Slice must be constants",
        ),
    ],
)
def test_a_violation_names_the_node_and_the_rule(model: onnx.ModelProto, message: str) -> None:
    assert any(found.startswith(message) for found in violations(model)), list(violations(model))
    with pytest.raises(BuildError, match="TensorRT cannot take this graph: "):
        check(model)


def test_int8_transposed_convolutions_need_compute_capability_7_2() -> None:
    model = convolution(1, "ConvTranspose")
    assert list(violations(model, (8, 6))) == []
    (found,) = violations(model, (6, 1))
    assert found == (
        "the_convtranspose: an INT8 transposed convolution needs compute capability 7.2, and this GPU has 6.1; "
        "use the phase form"
    )


def test_the_error_lists_three_violations() -> None:
    many = graph([helper.make_node("Det", ["x"], ["y" if i == 5 else f"t{i}"], name=f"n{i}") for i in range(6)])
    with pytest.raises(BuildError, match=r"n2: operator Det is not supported \(and 3 more\)$") as raised:
        check(many)
    assert "n3" not in str(raised.value)
