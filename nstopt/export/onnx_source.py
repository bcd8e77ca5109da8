"""Wrap a user's float ONNX net into the I/O contract: put the two conversions of contract.py around its graph."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import compose, numpy_helper

from nstopt.export.contract import PictureIn, PictureOut, check_keeps_size
from nstopt.export.onnx_file import graph_inputs
from nstopt.export.opset import OPSET, to_opset_17
from nstopt.export.run_onnx import OnnxRun
from nstopt.export.to_onnx import name_dimensions
from nstopt.nets.net import Convention
from nstopt.pictures.size import Size

# PictureIn and PictureOut of contract.py in ONNX's text format.
BEFORE = """
before (uint8[N, H, W, 3] image) => (float[N, 3, P, Q] x)
    <float[1, 3, 1, 1] scale, float[1, 3, 1, 1] offset, int64[2] multiple, int64[6] no_pad> {
    nchw = Transpose<perm = [0, 3, 1, 2]>(image)
    value = Cast<to = 1>(nchw)
    scaled = Mul(value, scale)
    normal = Add(scaled, offset)
    size = Shape<start = 1, end = 3>(image)
    missing = Neg(size)
    pad = Mod(missing, multiple)
    pads = Concat<axis = 0>(no_pad, pad)
    x = Pad<mode = "reflect">(normal, pads)
}
"""
AFTER = """
after (float[N, 3, P, Q] y, uint8[N, H, W, 3] image) => (uint8[N, H, W, 3] stylized)
    <float scale, float offset, float low, float high, int64[2] begin, int64[2] axes> {
    size = Shape<start = 1, end = 3>(image)
    cropped = Slice(y, begin, size, axes)
    scaled = Mul(cropped, scale)
    value = Add(scaled, offset)
    whole = Round(value)
    gray = Clip(whole, low, high)
    nhwc = Transpose<perm = [0, 2, 3, 1]>(gray)
    stylized = Cast<to = 2>(nhwc)
}
"""


def wrap_onnx(
    model: onnx.ModelProto, convention: Convention, multiple: int, size: Size | None, batch: int | None
) -> onnx.ModelProto:
    """Put the picture conversions around a float NCHW net; `size` or `batch` None means that the net takes any.

    Raises ExportError if the net cannot be converted to opset 17.
    """
    before = PictureIn(convention, multiple)
    after = PictureOut(convention)
    head = _part(
        BEFORE,
        scale=before.scale.numpy(),
        offset=before.offset.numpy(),
        multiple=np.full(2, multiple, np.int64),
        no_pad=np.zeros(6, np.int64),
    )
    tail = _part(
        AFTER,
        **{name: np.array(value, np.float32) for name, value in (("low", 0), ("high", 255))},
        scale=np.array(after.scale, np.float32),
        offset=np.array(after.offset, np.float32),
        begin=np.zeros(2, np.int64),
        axes=np.array([2, 3], np.int64),
    )
    body = compose.add_prefix_graph(to_opset_17(model).graph, "net/")
    return name_dimensions(_chain(head, body, tail), size, batch)


def _part(text: str, **constants: NDArray[np.generic]) -> onnx.GraphProto:
    graph = onnx.parser.parse_graph(text)
    del graph.value_info[:]
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return compose.add_prefix_graph(graph, f"{graph.name}/", rename_inputs=False, rename_outputs=False)


def _chain(head: onnx.GraphProto, body: onnx.GraphProto, tail: onnx.GraphProto) -> onnx.ModelProto:
    """Join three graphs: the body's input becomes x, its output y. The tail reads the size from `image`."""
    ends = {graph_inputs(body)[0].name: "x", body.output[0].name: "y"}
    for node in body.node:
        for names in (node.input, node.output):
            names[:] = [ends.get(name, name) for name in names]
    graph = onnx.helper.make_graph(
        [*head.node, *body.node, *tail.node],
        "picture",
        head.input,
        tail.output,
        [*head.initializer, *body.initializer, *tail.initializer],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)


class OnnxReference:
    """The user's graph in ONNX Runtime, between the two conversions in torch: the reference for the wrapped graph.

    A function of uint8 arrays [N, H, W, 3]. Raises ExportError if the graph fails or does not keep the size.
    """

    def __init__(self, model: onnx.ModelProto, convention: Convention, multiple: int) -> None:
        self._net = OnnxRun("the net", model)
        self._before = PictureIn(convention, multiple)
        self._after = PictureOut(convention)

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        tensor = torch.from_numpy(pictures)
        x = self._before(tensor).numpy()
        y = self._net(x)
        check_keeps_size(x.shape, y.shape)
        result: NDArray[np.uint8] = self._after(torch.from_numpy(y), tensor).numpy()
        return result
