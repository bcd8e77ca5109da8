"""Layer reports in the format that TensorRT's developer guide shows for the engine inspector."""

from __future__ import annotations

import json

from nstopt.engines.tensorrt.layer_report import read_layers
from nstopt.engines.tensorrt.messages import ConvolutionInfo
from nstopt.graph.work import Work

INT8 = "Thirty-two wide channel vectorized row major Int8 format"
FP32 = "Row major linear FP32"


def tensor(kind: str, *dims: int) -> dict[str, object]:
    return {"Name": "t", "Location": "Device", "Dimensions": list(dims), "Format/Datatype": kind}


def layer(name: str, read: dict[str, object], written: dict[str, object], **more: object) -> dict[str, object]:
    return {"Name": name, "Inputs": [read], "Outputs": [written], **more}


def test_kind_and_work_of_kernels() -> None:
    weights = {"Type": "Int8", "Count": 16 * 8 * 9}
    report = {
        "Layers": [
            layer(
                "conv", tensor(INT8, 1, 8, 20, 30), tensor(FP32, 1, 16, 20, 30), LayerType="CaskConvolution",
                ParameterType="Convolution", Weights=weights,
            ),
            layer(
                "up", tensor(FP32, 1, 8, 20, 30), tensor(FP32, 1, 16, 40, 60), LayerType="CaskDeconvolution",
                ParameterType="Deconvolution", Weights=weights,
            ),
            layer("relu", tensor(FP32, 1, 8, 4, 4), tensor("Channel major FP16 format", 1, 8, 4, 4), LayerType="PWN"),
            layer("Reformatting CopyNode", tensor(FP32, 1, 8, 4, 4), tensor(INT8, 1, 8, 4, 4), LayerType="Reformat"),
        ],
        "Bindings": ["image", "stylized"],
    }  # fmt: skip
    found = {name: (one.kind, one.work) for name, one in read_layers(json.dumps(report), {}).items()}
    assert found["conv"] == ("Convolution", Work(16 * 8 * 9 * 600, 4800 + 1152, 16 * 600 * 4, type="int8"))
    assert found["up"] == ("Deconvolution", Work(16 * 8 * 9 * 600, (4800 + 1152) * 4, 16 * 2400 * 4))
    assert found["relu"] == ("PWN", Work(0, 128 * 4, 128 * 2))
    assert found["Reformatting CopyNode"] == ("Reformat", None)


def test_kernels_of_tensorrt_10_have_the_names_and_the_weights_of_the_graph() -> None:
    """Its report names kernels after itself, and lists no weights."""
    metadata = "[ONNX Layer: relu0 | a note]\x1f[ONNX Layer: conv1]"
    one = layer(
        "__myl_ReluConv_myl0_3", tensor("Half", 1, 8, 20, 30), tensor("Half", 1, 16, 20, 30), LayerType="correlation",
        Metadata=metadata,
    )  # fmt: skip
    info = {"conv1": ConvolutionInfo(("fp16",), ("fp16",), 16 * 8 * 9)}
    (found,) = read_layers(json.dumps({"Layers": [one]}), info).values()
    assert (found.label, found.kind, found.reads, found.writes) == ("relu0 + conv1", "correlation", "fp16", "fp16")
    assert found.nodes == ("__myl_ReluConv_myl0_3", "relu0", "conv1")
    assert found.work == Work(16 * 8 * 9 * 600, (4800 + 1152) * 2, 16 * 600 * 2)


def test_kernels_of_several_sizes_have_no_work() -> None:
    one = layer("conv1", tensor(FP32, 1, 8, -1, -1), tensor(FP32, 1, 16, -1, -1), LayerType="CaskConvolution")
    (found,) = read_layers(json.dumps({"Layers": [one]}), {}).values()
    assert (found.multiplies, found.work) == (True, None)


def test_a_report_of_names_only() -> None:
    assert read_layers('{"Layers": ["conv", "relu"], "Bindings": []}', {}) == {}
    assert read_layers("{}", {}) == {}
