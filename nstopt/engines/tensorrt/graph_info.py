"""Facts about a graph in TensorRT's form: its types, for pinning layers, and its convolutions, for comparison with what
was built."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx
from onnx import TensorProto

from nstopt.engines.tensorrt.messages import ConvolutionInfo, GraphInfo
from nstopt.graph.nodes import cast_to, convolutions, dequantized, producers, shapes

NAMES = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.UINT8: "uint8"}


def info_of(model: onnx.ModelProto) -> GraphInfo:
    """Return the facts about `model`, whose shapes must be inferred. A convolution behind a DequantizeLinear reads
    int8, also where a Pad stands between."""
    graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    tensors = {name: NAMES[kind] for name, kind in types.items() if kind in NAMES}
    made_by, restored = producers(graph), dequantized(graph)
    dims = {**shapes(graph), **{tensor.name: tuple(tensor.dims) for tensor in graph.initializer}}

    def read_by(node: onnx.NodeProto) -> Iterator[str]:
        source = unpadded = node.input[0]
        while unpadded in made_by and made_by[unpadded].op_type == "Pad":
            unpadded = made_by[unpadded].input[0]
        if unpadded in restored:
            yield "int8"
            return
        yield tensors[source]
        if source in made_by and cast_to(made_by[source]):
            yield tensors[made_by[source].input[0]]

    def written_by(node: onnx.NodeProto) -> Iterator[str]:
        yield tensors[node.output[0]]
        yield from (tensors[one.output[0]] for one in graph.node if cast_to(one) and one.input[0] == node.output[0])

    found = {
        node.name: ConvolutionInfo(
            reads=tuple(read_by(node)),
            writes=tuple(dict.fromkeys(written_by(node))),
            weights=prod(side or 0 for side in dims.get(node.input[1], (0,))),
        )
        for node in convolutions(graph)
    }
    return GraphInfo(tensors, found)
