"""Which of several equal forms a layer takes when nothing was measured: what won, as a rule, on each backend."""

from __future__ import annotations

from nstopt.graph.rule import Layer

# (kind of layer, backend, is INT8) → form. What the forms are is told by the rule of that kind.
DEFAULTS: dict[tuple[str, str, bool], str] = {
    ("upsample-conv", "openvino", False): "transposed",
    ("upsample-conv", "openvino", True): "transposed",
    ("upsample-conv", "onnxruntime", False): "transposed",
    ("upsample-conv", "onnxruntime", True): "transposed",
    ("few-outputs", "openvino", False): "phase",
    ("few-outputs", "openvino", True): "phase",
    ("few-outputs", "onnxruntime", False): "phase",
    ("few-outputs", "onnxruntime", True): "phase",
    ("few-channel-norm", "openvino", False): "means",
    ("few-channel-norm", "openvino", True): "means",
}


def default_form(layer: Layer, backend: str, precision: str) -> str:
    """The form to take on a backend at a precision; `plain` leaves the layer as it is."""
    return DEFAULTS.get((layer.kind, backend, precision == "int8"), "plain")
