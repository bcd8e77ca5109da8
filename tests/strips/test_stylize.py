"""Pictures in strips against the same pictures as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from nstopt.engines import backend
from nstopt.engines.backend import CompiledModel
from nstopt.export.exporter import Exported
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture, cover, demo_photograph, read_picture
from nstopt.pictures.size import Size
from nstopt.pipeline.lower import lower
from nstopt.strips.stylize import WORK, Strips


@pytest.fixture(scope="module")
def photograph() -> Picture:
    return read_picture(demo_photograph("astronaut")).rgb


def in_strips(model: onnx.ModelProto, runtime: str, precision: str, picture: Picture, shares: float = 1.5) -> Picture:
    """Stylize a picture in strips of `shares` times the least memory."""
    strips = Strips(
        model,
        Size(*picture.shape[:2]),
        lambda part: compiled(part, runtime, precision, reuse=True),
        runtime == "openvino",
    )
    out = np.zeros_like(picture)
    assert len(list(strips.run(picture, out, int(strips.least * shares)))) == WORK
    return out


def compiled(model: onnx.ModelProto, runtime: str, precision: str, reuse: bool = False) -> CompiledModel:
    return backend(runtime).compile(model.SerializeToString(), precision, reuse)


def differences(model: onnx.ModelProto, runtime: str, precision: str, picture: Picture) -> list[NDArray[np.int16]]:
    """Gray levels between the whole picture and strips of two heights, and between the two."""
    (whole,) = compiled(model, runtime, precision)({"image": picture[None]})
    narrow, wide = (in_strips(model, runtime, precision, picture, shares) for shares in (1, 2.5))
    pairs = ((whole[0], narrow), (whole[0], wide), (narrow, wide))
    return [np.abs(one.astype(np.int16) - other) for one, other in pairs]


def lowered(raw: Path, runtime: str, precision: str) -> onnx.ModelProto:
    return lower(onnx.load(raw), InputShape.of(1, None), backend(runtime), precision).model


@pytest.mark.parametrize(
    ("family", "runtime"),
    [
        ("fast-style", "openvino"),
        ("instance norm", "onnxruntime"),
        ("frn", "onnxruntime"),
        ("separable", "onnxruntime"),
    ],
)
def test_families(family: str, runtime: str, export_family: Callable[[str], Exported], photograph: Picture) -> None:
    model = lowered(export_family(family).onnx, runtime, "fp32")
    for levels in differences(model, runtime, "fp32", cover(photograph, Size(203, 134))):
        assert levels.max() <= 1
        assert levels.mean() < 0.01


@pytest.mark.parametrize("size", [Size(16, 16), Size(17, 300), Size(150, 151)])
def test_sizes(size: Size, tiny_onnx: Path, photograph: Picture) -> None:
    model = lowered(tiny_onnx, "onnxruntime", "fp32")
    for levels in differences(model, "onnxruntime", "fp32", cover(photograph, size)):
        assert levels.max() <= 1


def test_adain(adain: Exported, photograph: Picture) -> None:
    """Its variance divides by the count of the whole picture's pixels."""
    model = lowered(adain.onnx, "onnxruntime", "fp32")
    for levels in differences(model, "onnxruntime", "fp32", cover(photograph, Size(203, 90))):
        assert levels.max() <= 1


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_int8(tiny_onnx: Path, runtime: str, photograph: Picture) -> None:
    """A rounding error may turn a rounding to INT8, and with it the pixels around: as much as between two runtimes."""
    model = lowered(tiny_onnx, runtime, "int8")
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    picture = cover(photograph, Size(203, 134))
    one, other = (compiled(model, each, "int8")({"image": picture[None]})[0] for each in ("openvino", "onnxruntime"))
    between = np.abs(one.astype(np.int16) - other)
    for levels in differences(model, runtime, "int8", picture):
        assert levels.mean() <= 2 * between.mean() + 0.05
        assert levels.max() <= 2 * between.max() + 1


def test_what_costs_less_is_kept(tiny_onnx: Path) -> None:
    """The first convolution is computed again, since it has few inputs; residual ones are kept."""
    model = lowered(tiny_onnx, "openvino", "fp32")
    strips = Strips(model, Size(4000, 3000), lambda part: compiled(part, "openvino", "fp32"))
    assert 0 < strips.disk < 4000 * 3000 * 4 * 8
