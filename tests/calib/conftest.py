"""Tiny nets as FP32 graphs of one size, as calibration gets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import onnx
import pytest
from conftest import SMALL
from made import by_default

from nstopt.calib.int8 import quantized_tensors
from nstopt.calib.observe import Histogram, observe
from nstopt.export.exporter import Exported
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import rewrite
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.files import Picture, cover

MakeGraph = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="session")
def make_graph(tiny_onnx: Path, export_family: Callable[[str], Exported]) -> MakeGraph:
    """Return the graph of johnson, fast-style or frn for 48x64; a new copy at each call."""

    @cache
    def serialized(name: str) -> bytes:
        path = tiny_onnx if name == "johnson" else export_family(name).onnx
        graph = specialize(onnx.load(path), InputShape.of(1, SMALL))
        name_convolutions(graph)
        return bytes(graph.SerializeToString())

    return lambda name: onnx.load_from_string(serialized(name))


@pytest.fixture(scope="session")
def make_rewritten(make_graph: MakeGraph) -> MakeGraph:
    """Return the same graphs after the rewrites for OpenVINO."""

    @cache
    def serialized(name: str) -> bytes:
        return bytes(rewrite(make_graph(name), by_default("openvino")).model.SerializeToString())

    return lambda name: onnx.load_from_string(serialized(name))


@pytest.fixture(scope="session")
def small_pictures(photographs: list[Picture]) -> list[Picture]:
    """The photographs at 48x64."""
    return [cover(picture, SMALL) for picture in photographs]


def histograms(model: onnx.ModelProto, pictures: Sequence[Picture]) -> dict[str, Histogram]:
    """Collect the values of the tensors to quantize over pictures of the graph's size."""
    found = {name: Histogram() for name in quantized_tensors(model.graph)}
    observe(model, {name: [histogram] for name, histogram in found.items()}, pictures)
    return found


def render(model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
    """Run a model on pictures [H, W, 3] in ONNX Runtime; every model counts as equally fast."""
    opened = session(model.SerializeToString())
    return [opened.run(None, {"image": picture[None]})[0][0] for picture in pictures], 1.0
