"""Tests of all rules together: rewritten graphs of all net families paint what their exports paint."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import noise as picture
from made import by_default
from nets import layouts
from onnxscript import ir

from nstopt.errors import RewriteError
from nstopt.export.contract import PictureModule
from nstopt.export.exporter import Exported
from nstopt.export.onnx_source import wrap_onnx
from nstopt.export.to_onnx import to_onnx
from nstopt.graph.forms import CHOICES
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import PASSES, apply, rewrite
from nstopt.graph.rule import PLAIN, Context, Layer, Rule, Tape
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.nets import Convention, load_net
from nstopt.ort import session
from nstopt.pictures.files import Picture, cover
from nstopt.pictures.size import Size

from .rules.equivalence import Graph, noise, operators

EVEN, ODD, ANY = InputShape.of(1, Size(48, 64)), InputShape.of(2, Size(37, 51)), InputShape.of(None, None)
FAMILIES = ("johnson", "fast-style", "reconet", "reconet-frn", "adain", "custom", "mobile")
Export = Callable[[str], onnx.ModelProto]


def custom() -> onnx.ModelProto:
    """Make a user's own net: a detour through channels last, no node names, zero padding, nearest and transposed
    doubling, and a norm of three channels at the end."""
    g = Graph(("N", 3, "H", "W"))
    x = g.Transpose(g.Transpose("x", perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    x = g.Conv(g.Pad(x, np.array([0, 0, 2, 2, 0, 0, 2, 2]), mode="edge"), noise(8, 3, 5, 5) / 50, noise(8))
    x = g.Relu(g.InstanceNormalization(x, noise(8), noise(8)))
    x = g.Conv(g.Pad(x, np.array([0, 0, 1, 1, 0, 0, 1, 1])), noise(6, 8, 3, 3), noise(6), strides=[2, 2])
    x = g.Conv(g.Relu(x), noise(8, 6, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    x = g.Add(g.Mul(x, np.full((1, 8, 1, 1), 0.3, np.float32)), noise(8, 1, 1))
    x = g.Conv(g.Resize(g.Tanh(x), None, np.array([1, 1, 2, 2], np.float32)), noise(8, 8, 3, 3), pads=[1, 1, 1, 1])
    x = g.ConvTranspose(g.Relu(x), noise(8, 8, 3, 3), noise(8), strides=[2, 2])
    x = g.Slice(x, np.array([0, 0]), np.array([-1, -1]), np.array([2, 3]))
    x = g.InstanceNormalization(g.Conv(g.Relu(x), noise(3, 8, 3, 3), pads=[1, 1, 1, 1]), noise(3), noise(3))
    y = g.Add(g.Mul(g.Tanh(x), np.array([[[[120]]]], np.float32)), np.float32(127))
    return wrap_onnx(g.model(y), Convention(input_range=(-1, 1)), 4, None, None)


def mobile() -> onnx.ModelProto:
    """Make a net of depthwise and 1x1 convolutions: an inverted residual block, and two doublings, before a 1x1
    convolution with norm and ReLU6 and before a depthwise one."""

    def normed(x: str, channels: int) -> str:
        norm = g.InstanceNormalization(x, noise(channels) / 4 + 1, noise(channels))
        return g.Clip(norm, np.float32(0), np.float32(6))

    def pointwise(x: str, inputs: int, outputs: int) -> str:
        return g.Conv(x, noise(outputs, inputs, 1, 1), noise(outputs))

    def depthwise(x: str, channels: int, stride: int = 1) -> str:
        padded = g.Pad(x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect")
        return g.Conv(padded, noise(channels, 1, 3, 3), group=channels, strides=[stride, stride])

    def doubled(x: str) -> str:
        return g.Resize(x, None, np.array([1, 1, 2, 2], np.float32), mode="nearest")

    g = Graph(("N", 3, "H", "W"))
    x = normed(depthwise(normed(pointwise("x", 3, 8), 8), 8, 2), 8)
    x = normed(depthwise(normed(pointwise(x, 8, 12), 12), 12, 2), 12)
    x = g.Add(x, pointwise(normed(depthwise(normed(pointwise(x, 12, 12), 12), 12), 12), 12, 12))
    x = normed(depthwise(normed(pointwise(doubled(x), 12, 8), 8), 8), 8)
    x = normed(pointwise(depthwise(doubled(x), 8), 8, 8), 8)
    y = g.Add(g.Mul(g.Conv(x, noise(3, 8, 3, 3), pads=[1, 1, 1, 1]), np.float32(5)), np.float32(127))
    return wrap_onnx(g.model(y), Convention(input_range=(-1, 1)), 4, None, None)


def random_net(family: str, folder: Path) -> onnx.ModelProto:
    """Export a net with random weights as a user's TorchScript net is exported. torch's older exporter makes other
    graphs than the newer one, which exports Johnson and fast-style here, and takes a twentieth of the time."""
    path, more = folder / f"{family}.pth", {}
    state = {
        "reconet": lambda: layouts.reconet(False, (8, 6, 5), blocks=1),
        "reconet-frn": lambda: layouts.reconet(True, (8, 6, 5), blocks=1),
        "adain": lambda: layouts.vivid(layouts.adain_decoder(), "28", 1, 0.5),
    }[family]()
    torch.save(state, path)
    if family == "adain":
        torch.save(layouts.adain_vgg(), folder / "vgg.pth")
        more = {"vgg": folder / "vgg.pth", "styles": [(picture(40, 50, 1), 1.0)]}
    net = load_net(path, **more)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated
        net = dataclasses.replace(net, module=torch.jit.trace(net.module, torch.rand(2, 3, 48, 64)))
    return to_onnx(PictureModule(net).eval(), None)


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path, export_family: Callable[[str], Exported]
) -> Export:
    """The export of a family, for any size."""

    @functools.cache
    def export(family: str) -> onnx.ModelProto:
        if family == "johnson":
            return onnx.load(tiny_onnx)
        if family == "fast-style":
            return onnx.load(export_family(family).onnx)
        if family == "custom":
            return custom()
        if family == "mobile":
            return mobile()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return random_net(family, tmp_path_factory.mktemp("net"))

    return export


Reference = Callable[[str, InputShape], tuple[onnx.ModelProto, Picture, Picture]]


@pytest.fixture(scope="module")
def reference(exported: Export, photographs: list[Picture]) -> Reference:
    """The export of a family for a shape, pictures (at the odd size for any size), and its results for them."""

    @functools.cache
    def paint(family: str, shape: InputShape) -> tuple[onnx.ModelProto, Picture, Picture]:
        graph = specialize(exported(family), shape)
        name_convolutions(graph)
        batch, size = (shape.batch or 2), (shape.sizes.only or Size(37, 51))
        pictures = np.stack([cover(photo, size) for photo in photographs[:batch]])
        expected = painted(graph, pictures)
        assert np.ptp(expected) > 100
        return graph, pictures, expected

    return paint


def painted(graph: onnx.ModelProto, pictures: Picture) -> Picture:
    result: Picture = session(graph.SerializeToString()).run(None, {"image": pictures})[0]
    return result


def assert_same_pictures(graph: onnx.ModelProto, pictures: Picture, expected: Picture) -> None:
    found = painted(graph, pictures)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert np.abs(found.astype(np.int16) - expected).max() <= 1


@pytest.mark.parametrize("shape", [EVEN, ODD, ANY], ids=["even", "odd", "any"])
@pytest.mark.parametrize("family", FAMILIES)
def test_default_forms(reference: Reference, family: str, shape: InputShape) -> None:
    """OpenVINO's defaults hold those of ONNX Runtime; the ones of TensorRT are tested with its lowering."""
    graph, pictures, expected = reference(family, shape)
    result = rewrite(graph, by_default("openvino"))
    assert_same_pictures(result.model, pictures, expected)
    kinds = operators(result.model)
    assert "Resize" not in kinds
    # The last convolution takes its phase form if it is wide and the size is known.
    is_wide = family in ("reconet", "reconet-frn", "custom", "mobile")
    assert kinds.count("DepthToSpace") == (is_wide and shape is not ANY)
    assert kinds[-1] == "Transpose"
    if "DepthToSpace" in kinds:
        assert "Cast" in kinds[kinds.index("Conv") : kinds.index("DepthToSpace")]  # bytes are moved, not floats
    assert {event.rule for event in result.events} <= {kind.__name__ for kind in PASSES}


@pytest.mark.parametrize("family", ["fast-style", "adain"])
def test_plain_forms(reference: Reference, family: str) -> None:
    graph, pictures, expected = reference(family, ODD)
    result = rewrite(graph, lambda layer: PLAIN)
    assert_same_pictures(result.model, pictures, expected)
    kinds = operators(result.model)
    for kind in ("Conv", "ConvTranspose", "Resize", "InstanceNormalization"):
        merged = kind == "Conv" and family == "adain"  # VGG's first 1x1 convolution
        assert kinds.count(kind) == operators(graph).count(kind) - merged
    assert "DepthToSpace" not in kinds


@pytest.mark.parametrize(("shape", "number"), [(EVEN, 1), (ODD, 2), (EVEN, 3)], ids=["first", "second", "third"])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_forms(reference: Reference, family: str, shape: InputShape, number: int) -> None:
    graph, pictures, expected = reference(family, shape)
    asked: set[str] = set()

    def choose(layer: Layer) -> str:
        asked.add(layer.kind)
        forms = CHOICES[layer.kind].forms
        return forms[min(number, len(forms) - 1)]

    result = rewrite(graph, choose)
    assert_same_pictures(result.model, pictures, expected)
    assert ("Resize", "Pad") not in pairwise(operators(result.model))
    kinds = {"fast-style": "transposed-conv", "mobile": "upsample-grouped"}
    assert kinds.get(family, "upsample-conv") in asked


def test_transposes_that_cancel_are_removed(reference: Reference) -> None:
    assert operators(custom()).count("Transpose") == 4
    graph, _, _ = reference("custom", EVEN)
    assert operators(rewrite(graph, by_default("openvino")).model).count("Transpose") == 2


def test_the_log_has_applied_and_declined_rules(reference: Reference) -> None:
    graph, _, _ = reference("custom", ANY)
    events = rewrite(graph, by_default("openvino")).events
    assert any(event.applied and event.rule == "UpsampleConv" and "transposed form" in event.reason for event in events)
    assert any(not event.applied and "not any" in event.reason for event in events)
    assert len(set(events)) == len(events)


class Broken(Rule):
    """Breaks its readers: the replacement has another shape than the original."""

    anchors = ("Relu",)

    def match(self, node: ir.Node) -> ir.Value | None:
        return node.inputs[0]

    def replace(self, op: Tape, node: ir.Node, match: ir.Value) -> tuple[ir.Value, str]:
        return op.DepthToSpace(match, blocksize=2), "broken"


def test_an_invalid_graph_is_an_error() -> None:
    g = Graph((1, 4, 6, 6))
    model = g.model(g.Conv(g.Relu("x"), noise(2, 4, 3, 3)))
    with pytest.raises(RewriteError, match=r"Broken left an invalid graph: .ShapeInferenceError") as caught:
        apply(model, Broken, Context(lambda layer: PLAIN))
    assert caught.value.__cause__ is not None


def test_the_given_model_stays_unchanged() -> None:
    g = Graph((1, 4, 6, 6))
    model = g.model(g.Conv(g.Mul("x", np.float32(2)), noise(2, 4, 3, 3)))
    before = model.SerializeToString()
    assert operators(rewrite(model, by_default("openvino")).model) == ["Conv"]
    assert model.SerializeToString() == before
