"""Smoothed statistics: those of the frame without memory, the former ones with full memory, and between them a mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from conftest import FAMILIES, SMALL
from conftest import noise as pixels
from numpy.typing import NDArray

from nstopt.engines import backend
from nstopt.export.exporter import Exported
from nstopt.graph.smoothing import MEMORY, SmoothedGraph, smooth_statistics
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.files import Picture
from nstopt.pipeline.lower import lower

Arrays = Sequence[NDArray[np.float32]]


def runner(graph: SmoothedGraph) -> Callable[..., Arrays]:
    """Runs a graph on a picture, a memory and the former statistics; none stands for zeros."""
    opened = session(graph.model.SerializeToString())
    shapes = {value.name: value.shape for value in opened.get_inputs()}

    def run(picture: Picture, memory: float, previous: Arrays = ()) -> Arrays:
        given = previous or [np.zeros(shapes[name], np.float32) for name in graph.previous]
        feed = dict(zip(graph.previous, given, strict=True))
        result: Arrays = opened.run(None, {"image": picture[None], MEMORY: np.array([memory], np.float32), **feed})
        return result

    return run


@pytest.fixture(scope="module", params=FAMILIES)
def lowered(request: pytest.FixtureRequest, export_family: Callable[[str], Exported]) -> onnx.ModelProto:
    model = onnx.load(export_family(request.param).onnx)
    return lower(model, InputShape.of(1, SMALL), backend("openvino"), "fp32").model


def test_smoothing(lowered: onnx.ModelProto) -> None:
    dark, bright = pixels(*SMALL) // 4, 255 - pixels(*SMALL, 1) // 4
    run = runner(smooth_statistics(lowered))
    before, *of_dark = run(dark, 0)
    plain = session(lowered.SerializeToString()).run(None, {"image": dark[None]})[0]
    assert np.abs(before.astype(np.int16) - plain).max() <= 1
    alone, *of_bright = run(bright, 0)
    _, *half = run(bright, 0.5, of_dark)
    frozen, *kept = run(bright, 1, of_dark)
    # The first statistics are of the picture alone, so their mean is exact.
    np.testing.assert_allclose(half[0], (of_dark[0] + of_bright[0]) / 2, rtol=1e-4, atol=1e-6)
    for known, used in zip(of_dark, kept, strict=True):
        np.testing.assert_allclose(used, known, rtol=1e-3, atol=1e-4)
    assert np.abs(frozen.astype(np.int16) - alone).max() > 1


def test_the_graph_given_stays_as_it_is(lowered: onnx.ModelProto) -> None:
    before = lowered.SerializeToString(deterministic=True)
    smooth_statistics(lowered)
    assert lowered.SerializeToString(deterministic=True) == before
