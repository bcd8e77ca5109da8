"""Tiny nets as FP32 graphs of one size, as calibration gets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from conftest import SMALL

from nstopt.bundle import InputShape
from nstopt.calib.int8 import quantized_tensors
from nstopt.calib.observe import Histogram, observe
from nstopt.export.exporter import Exported
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.specialize import specialize
from nstopt.ort import session
from nstopt.pictures.files import Picture

MakeGraph = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="session")
def make_graph(tiny_onnx: Path, export_family: Callable[[str], Exported]) -> MakeGraph:
    """The graph of johnson, fast-style or frn for 48x64; a new one at each call."""

    def make(name: str) -> onnx.ModelProto:
        path = tiny_onnx if name == "johnson" else export_family(name).onnx
        graph = specialize(onnx.load(path), InputShape.of(1, SMALL))
        name_convolutions(graph)
        return graph

    return make


def histograms(model: onnx.ModelProto, pictures: Sequence[Picture]) -> dict[str, Histogram]:
    """The values of what will be quantized, over pictures of the graph's size."""
    seen = {name: Histogram() for name in quantized_tensors(model.graph)}
    observe(model, {name: [histogram] for name, histogram in seen.items()}, pictures)
    return seen


def render(model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
    """What a model makes of pictures [H, W, 3] in ONNX Runtime; every model counts as equally fast."""
    opened = session(model.SerializeToString())
    return [opened.run(None, {"image": picture[None]})[0][0] for picture in pictures], 1.0
