"""Reads the layer report of TensorRT's engine inspector (layers.json): kind and work of each kernel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from nstopt.graph.work import Work, convolution_macs

ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "fp16": 2, "bf16": 2, "fp32": 4, "int32": 4, "int64": 8}
# Other words for a type in "Format/Datatype".
SYNONYMS = {"half": "fp16", "float": "fp32"}
# Layers that TensorRT inserts; no layer of the graph asks for them.
INSERTED = frozenset({"Reformat", "NoOp"})


def read_layers(report: str) -> dict[str, tuple[str, Work | None]]:
    """Return (kind, work) of each layer by its name. Work is None for layers that TensorRT inserted. A report of an
    engine that was built without detailed profiling verbosity lists names only, and yields no entries."""
    layers = json.loads(report).get("Layers", [])
    return {layer["Name"]: (_kind(layer), _work(layer)) for layer in layers if isinstance(layer, dict)}


def _kind(layer: Mapping[str, Any]) -> str:
    parameter = str(layer.get("ParameterType", ""))
    return parameter or str(layer.get("LayerType", "?"))


def _work(layer: Mapping[str, Any]) -> Work | None:
    if layer.get("LayerType") in INSERTED or layer.get("ParameterType") in INSERTED:
        return None
    read, written = layer.get("Inputs", []), layer.get("Outputs", [])
    weights = layer.get("Weights")
    count = int(weights.get("Count", 0)) if isinstance(weights, dict) else 0
    macs = 0
    if count and read and written:
        transposed = "deconvolution" in _kind(layer).lower()
        macs = convolution_macs([count], _dims(read[0]), _dims(written[0]), transposed)
    int8 = macs > 0 and _item_bytes(read[0]) == 1
    stored = count * (1 if int8 else _item_bytes(read[0]) if read else 4)
    return Work(macs, sum(map(_bytes, read)) + stored, sum(map(_bytes, written)), "int8" if int8 else "fp32")


def _dims(tensor: Mapping[str, Any]) -> list[int]:
    return [int(side) for side in tensor.get("Dimensions", [])]


def _bytes(tensor: Mapping[str, Any]) -> int:
    return prod(_dims(tensor)) * _item_bytes(tensor)


def _item_bytes(tensor: Mapping[str, Any]) -> int:
    return ITEM_BYTES[item_type(tensor)]


def item_type(tensor: Mapping[str, Any]) -> str:
    """Return the type of a tensor's elements, from text such as "Thirty-two wide channel vectorized row major Int8
    format"; fp32 if it names none."""
    words = str(tensor.get("Format/Datatype", tensor.get("Datatype", ""))).lower().split()
    named = (SYNONYMS.get(word, word) for word in words)
    return next((word for word in named if word in ITEM_BYTES), "fp32")
