"""What a layer report says of each convolution, against the graph. Reports as TensorRT 8 and 10 write them."""

from __future__ import annotations

import json
from typing import Any

import onnx
import pytest

from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.engines.tensorrt.built_types import compare
from nstopt.engines.tensorrt.graph_info import info_of
from nstopt.engines.tensorrt.lowering import prepare
from nstopt.engines.tensorrt.messages import ConvolutionInfo, GraphInfo

from .test_lowering import EVEN, Export, rewritten, to_int8

FP32, INT8 = "Row major linear FP32", "Four wide channel vectorized row major Int8 format"
HALF = "Channel major FP16 format where channel % 8 == 0"
GRAPH = GraphInfo({}, {"conv1": ConvolutionInfo(("int8",), ("fp32",), 9)})


def kernel(name: str, read: str, written: str, **more: Any) -> dict[str, Any]:
    tensor = {"Location": "Device", "Dimensions": [1, 8, 4, 4]}
    ends = {"Inputs": [{**tensor, "Format/Datatype": read}], "Outputs": [{**tensor, "Format/Datatype": written}]}
    return {"Name": name, "LayerType": "CaskConvolution", "ParameterType": "Convolution", **ends, **more}


def report(*kernels: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": kernels, "Bindings": ["image", "stylized"]})


@pytest.mark.parametrize(
    "found",
    [
        kernel("conv1.weight + conv1.weight_q + conv1", INT8, FP32),
        kernel("conv1 + PWN(relu1)", INT8, INT8),  # fused with the quantizer behind it
        kernel("conv1 || conv2", INT8, FP32),
        kernel("conv1 + pool", INT8, FP32, LayerType="ConvActPool", ParameterType="ConvActPool"),
        kernel("__myl_Conv_myl0_3", "Int8", "Float", LayerType="correlation", Metadata="[ONNX Layer: conv1]"),
        kernel(
            "__myl_ConvAdd", "Int8", "Float", LayerType="fusion", ParameterType="", TacticName="sm80_xmma_fprop_i8i8",
            Metadata="[ONNX Layer: relu0 | a note]\x1f[ONNX Layer: conv1 | another]",
        ),
    ],
)  # fmt: skip
def test_kernels_in_the_types_of_the_graph(found: dict[str, Any]) -> None:
    inserted = kernel("conv1", FP32, INT8, LayerType="Reformat", ParameterType="Reformat")
    assert compare(GRAPH, report(inserted, found), "int8") == ("int8", ())


@pytest.mark.parametrize(
    ("found", "computes", "difference"),
    [
        (kernel("conv1", FP32, FP32), "fp32", "conv1 reads FP32, not INT8"),
        (kernel("conv1", INT8, HALF), "int8", "conv1 writes FP16, not FP32"),
        (kernel("conv1", FP32, FP32, TacticName="f32f32_tf32f32_f32"), "tf32", "conv1 reads TF32, not INT8"),
        (kernel("conv10", INT8, FP32), "int8", "conv1 is not in TensorRT's layer report"),
        ("conv1", "int8", "conv1 is not in TensorRT's layer report"),  # names only
    ],
)
def test_kernels_in_other_types(found: dict[str, Any] | str, computes: str, difference: str) -> None:
    assert compare(GRAPH, report(found), "int8") == (computes, (difference,))


def test_tf32_that_was_asked_for_is_no_difference() -> None:
    graph = GraphInfo(
        {}, {"a": ConvolutionInfo(("fp32",), ("fp32",), 9), "b": ConvolutionInfo(("fp32",), ("fp32",), 9)}
    )
    kernels = report(kernel("a", FP32, FP32, TacticName="f32f32_tf32f32_f32"), kernel("b", FP32, FP32))
    assert compare(graph, kernels, "fp32", tf32=True) == ("tf32", ())
    assert compare(graph, kernels, "fp32").differences == ("a reads TF32, not FP32",)


def test_the_precision_is_that_of_most_convolutions() -> None:
    types = ConvolutionInfo(("int8",), ("fp16",), 9)
    graph = GraphInfo({}, {"a": types, "b": types, "c": types})
    found = compare(
        graph, report(kernel("a", HALF, HALF), kernel("b", INT8, HALF), kernel("c", INT8, HALF)), "int8-fp16"
    )
    assert found == ("int8-fp16", ("a reads FP16, not INT8",))


@pytest.fixture(scope="module")
def nets(export_family: Export) -> dict[str, onnx.ModelProto]:
    model = rewritten(export_family("instance norm"), EVEN)
    int8 = to_int8(model)
    every = {"fp32": model, "fp16": to_fp16(model), "int8": int8, "int8-fp16": to_int8_fp16(int8)}
    return {precision: prepare(one) for precision, one in every.items()}


@pytest.mark.parametrize(
    ("precision", "reads", "writes"),
    [("fp32", "fp32", "fp32"), ("fp16", "fp16", "fp16"), ("int8", "int8", "fp32"), ("int8-fp16", "int8", "fp16")],
)
def test_types_of_a_net(nets: dict[str, onnx.ModelProto], precision: str, reads: str, writes: str) -> None:
    found = info_of(nets[precision])
    assert len(found.convolutions) > 7
    assert {one.reads[0] for one in found.convolutions.values()} == {reads}
    assert {one.writes[0] for one in found.convolutions.values()} == {writes}
    weights = {name: one.weights for name, one in found.convolutions.items()}
    assert weights == {name: one.weights for name, one in info_of(nets["fp32"]).convolutions.items()}
    assert min(weights.values()) >= 3


def test_statistics_stay_fp32(nets: dict[str, onnx.ModelProto]) -> None:
    found = info_of(nets["fp16"]).tensors
    means = [node.output[0] for node in nets["fp16"].graph.node if node.op_type == "ReduceMean"]
    assert len(means) > 7
    assert {found[name] for name in means} == {"fp32"}
    assert found["image"] == found["stylized"] == "uint8"
