"""The types in a graph that is in TensorRT's form: for pinning layers, and for comparison with what was built."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from nstopt.engines.tensorrt.messages import ConvolutionTypes, GraphTypes
from nstopt.graph.nodes import cast_to, convolutions, dequantized, producers

NAMES = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.UINT8: "uint8"}


def types_of(model: onnx.ModelProto) -> GraphTypes:
    """Return the types in `model`, whose shapes must be inferred. A convolution behind a DequantizeLinear reads
    int8."""
    graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    tensors = {
        value.name: NAMES[value.type.tensor_type.elem_type]
        for value in values
        if value.type.tensor_type.elem_type in NAMES
    }
    made_by, restored = producers(graph), dequantized(graph)

    def read_by(node: onnx.NodeProto) -> Iterator[str]:
        source = node.input[0]
        if source in restored:
            yield "int8"
            return
        yield tensors[source]
        if source in made_by and cast_to(made_by[source]):
            yield tensors[made_by[source].input[0]]

    def written_by(node: onnx.NodeProto) -> Iterator[str]:
        yield tensors[node.output[0]]
        yield from (tensors[one.output[0]] for one in graph.node if cast_to(one) and one.input[0] == node.output[0])

    return GraphTypes(
        tensors,
        {
            node.name: ConvolutionTypes(tuple(read_by(node)), tuple(dict.fromkeys(written_by(node))))
            for node in convolutions(graph)
        },
    )
