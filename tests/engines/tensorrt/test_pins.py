"""Pins, on a double of INetworkDefinition: TensorRT needs a GPU for its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nstopt.engines.tensorrt.pins import pin

from .host_tensorrt import DataType

TRT = SimpleNamespace(DataType=DataType)


class Layer:
    """A layer with one output, of kFLOAT until its type is set, as in TensorRT 8."""

    def __init__(self, kind: str, output: str, dtype: DataType = DataType.FLOAT) -> None:
        self.type, self.num_outputs = SimpleNamespace(name=kind), 1
        self.output = SimpleNamespace(name=output, dtype=dtype)
        self.precision: Any = None
        self.output_type: Any = None

    def get_output(self, number: int) -> Any:
        assert number == 0
        return self.output

    def set_output_type(self, number: int, kind: DataType) -> None:
        assert number == 0
        self.output_type = kind


def pinned(layers: list[Layer], types: dict[str, str]) -> list[str | None]:
    pin(SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__), TRT, types)
    assert all(layer.precision == layer.output_type for layer in layers)
    return [layer.precision and layer.precision.name for layer in layers]


def test_layers_get_the_types_of_the_graph() -> None:
    layers = [Layer("CONVOLUTION", "h"), Layer("CAST", "h32"), Layer("REDUCE", "mean"), Layer("ELEMENTWISE", "y")]
    types = {"h": "fp16", "h32": "fp32", "mean": "fp32", "y": "fp16"}
    assert pinned(layers, types) == ["HALF", None, "FLOAT", "HALF"]


def test_layers_inside_a_node_get_its_type() -> None:
    """The parser writes ReduceL2 as squares, their sum and a root, and names only the last tensor."""
    inside = "(Unnamed Layer* 1) [{}]_output"
    layers = [
        Layer("CONVOLUTION", "h"),
        Layer("ELEMENTWISE", inside.format("ElementWise")),
        Layer("REDUCE", inside.format("Reduce")),
        Layer("UNARY", "norm"),
    ]
    assert pinned(layers, {"h": "fp16", "norm": "fp32"}) == ["HALF", "FLOAT", "FLOAT", "FLOAT"]


def test_integers_and_untyped_layers_stay() -> None:
    layers = [
        Layer("CONSTANT", "weights"),
        Layer("SHAPE", "sides", DataType.INT32),
        Layer("SHUFFLE", "halves", DataType.INT32),
        Layer("CAST", "stylized"),
        Layer("ACTIVATION", "y"),
    ]
    assert pinned(layers, {"weights": "fp16", "y": "fp16", "stylized": "uint8"}) == [None] * 4 + ["HALF"]
