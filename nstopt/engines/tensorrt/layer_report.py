"""Reads the layer report of TensorRT's engine inspector (layers.json): names, kind, types and work of each kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from nstopt.engines.tensorrt.messages import ConvolutionInfo
from nstopt.graph.work import Work, convolution_macs

# Bytes of a type, by the word for it in "Format/Datatype".
ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "fp16": 2, "bf16": 2, "fp32": 4, "int32": 4, "int64": 8}
# Other words for a type in "Format/Datatype".
SYNONYMS = {"half": "fp16", "float": "fp32"}
# Layers that TensorRT inserts; no layer of the graph asks for them.
INSERTED = frozenset({"Reformat", "NoOp"})
# A kernel's name lists the nodes that were fused into it: "weight + QuantizeLinear_20 + conv1". The metadata of later
# versions lists them as "[ONNX Layer: conv1]"; properties may follow behind a bar.
FUSED = re.compile(r" \+ | \|\| ")
NODE = re.compile(r"\[ONNX Layer: (.*?)(?: \||\])")
MULTIPLIES = re.compile("conv|correlation|gemm|fprop", re.IGNORECASE)


class Kernel(NamedTuple):
    """A kernel of a plan. `label` names it, by the nodes of the graph where TensorRT lists them; `nodes` are the names
    of those nodes; `kind` is its operation in TensorRT's words. `reads` and `writes` are the types of its first input
    and output, empty if it has none. `work` is None for a kernel that TensorRT inserted, and where sides are unknown,
    as in a plan of several sizes."""

    label: str
    nodes: tuple[str, ...]
    kind: str
    multiplies: bool
    reads: str
    writes: str
    work: Work | None


def read_layers(report: str, convolutions: Mapping[str, ConvolutionInfo]) -> dict[str, Kernel]:
    """Return each kernel of a report by its name. `convolutions` are those of the graph. A report of an engine that was
    built without detailed profiling verbosity lists names only, and yields no entries."""
    layers = json.loads(report).get("Layers", [])
    return {layer["Name"]: _kernel(layer, convolutions) for layer in layers if isinstance(layer, dict)}


def _kernel(layer: Mapping[str, Any], convolutions: Mapping[str, ConvolutionInfo]) -> Kernel:
    name, listed = str(layer["Name"]), NODE.findall(str(layer.get("Metadata", "")))
    nodes = tuple(dict.fromkeys([*FUSED.split(name), *listed]))
    kinds = [str(layer.get(key, "")) for key in ("ParameterType", "LayerType", "TacticName")]
    inserted = not INSERTED.isdisjoint(kinds)
    reads, writes = ([*map(item_type, layer.get(end, []))] for end in ("Inputs", "Outputs"))
    if reads[:1] == ["fp32"] and "tf32" in kinds[2]:
        reads[0] = "tf32"
    return Kernel(
        label=" + ".join(listed) or name,
        nodes=nodes,
        kind=next(filter(None, kinds), "?"),
        multiplies=not inserted and any(map(MULTIPLIES.search, kinds)),
        reads=reads[0] if reads else "",
        writes=writes[0] if writes else "",
        work=None if inserted else _work(layer, next(_weights(layer, nodes, convolutions), 0)),
    )


def _weights(
    layer: Mapping[str, Any], nodes: tuple[str, ...], convolutions: Mapping[str, ConvolutionInfo]
) -> Iterator[int]:
    """Yield the number of a kernel's weights: TensorRT's, else the graph's. TensorRT 10 lists none for most kernels."""
    for key in ("Weights", "ConvWeights"):
        if isinstance(weights := layer.get(key), dict) and weights.get("Count"):
            yield int(weights["Count"])
    yield from (convolutions[node].weights for node in nodes if node in convolutions)


def _work(layer: Mapping[str, Any], weights: int) -> Work | None:
    read, written = layer.get("Inputs", []), layer.get("Outputs", [])
    if any(side < 0 for tensor in (*read, *written) for side in _dims(tensor)):
        return None
    macs = 0
    if weights and read and written:
        transposed = "deconv" in f"{layer.get('LayerType')} {layer.get('ParameterType')}".lower()
        macs = convolution_macs([weights], _dims(read[0]), _dims(written[0]), transposed)
    int8 = macs > 0 and _item_bytes(read[0]) == 1
    stored = weights * (1 if int8 else _item_bytes(read[0]) if read else 4)
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
