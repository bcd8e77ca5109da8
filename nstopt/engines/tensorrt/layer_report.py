"""TensorRT's report of an engine's layers (layers.json, by its engine inspector) → what each kernel does and has to
do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from nstopt.graph.work import Work, convolution_macs

# How "Format/Datatype" names a type, and its bytes.
ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "fp16": 2, "half": 2, "bf16": 2, "fp32": 4, "float": 4, "int32": 4}
ITEM_BYTES |= {"int64": 8}
# Put in by TensorRT; no layer of the graph asks for them.
OWN = frozenset({"Reformat", "NoOp"})


def read_layers(report: str) -> dict[str, tuple[str, Work | None]]:
    """(kind, work) of each layer by its name. Work is None where TensorRT put the layer in by itself. An engine that
    was built without details gives names only, and no entries here."""
    layers = json.loads(report).get("Layers", [])
    return {layer["Name"]: (_kind(layer), _work(layer)) for layer in layers if isinstance(layer, dict)}


def _kind(layer: Mapping[str, Any]) -> str:
    parameter = str(layer.get("ParameterType", ""))
    return parameter or str(layer.get("LayerType", "?"))


def _work(layer: Mapping[str, Any]) -> Work | None:
    if layer.get("LayerType") in OWN or layer.get("ParameterType") in OWN:
        return None
    read, written = layer.get("Inputs", []), layer.get("Outputs", [])
    weights = layer.get("Weights")
    count = int(weights.get("Count", 0)) if isinstance(weights, dict) else 0
    kind = str(layer.get("ParameterType", layer.get("LayerType", "")))
    macs = 0
    if count and read and written:
        transposed = "deconvolution" in kind.lower()
        macs = convolution_macs([count], _dims(read[0]), _dims(written[0]), transposed)
    int8 = macs > 0 and _item_bytes(read[0]) == 1
    stored = count * (1 if int8 else _item_bytes(read[0]) if read else 4)
    return Work(macs, sum(map(_bytes, read)) + stored, sum(map(_bytes, written)), int8)


def _dims(tensor: Mapping[str, Any]) -> list[int]:
    return [int(side) for side in tensor.get("Dimensions", [])]


def _bytes(tensor: Mapping[str, Any]) -> int:
    return prod(_dims(tensor)) * _item_bytes(tensor)


def _item_bytes(tensor: Mapping[str, Any]) -> int:
    """From text such as "Thirty-two wide channel vectorized row major Int8 format"."""
    words = str(tensor.get("Format/Datatype", tensor.get("Datatype", ""))).lower().split()
    return next((ITEM_BYTES[word] for word in words if word in ITEM_BYTES), 4)
