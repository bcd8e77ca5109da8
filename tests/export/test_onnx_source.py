"""Wrapping of users' ONNX nets, and graphs that are not image nets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import noise
from onnx import TensorProto, helper

from nstopt.errors import ExportError
from nstopt.export.exporter import Exported, ExportSpec, export_net
from nstopt.export.onnx_file import fulfills_contract, read_onnx
from nstopt.nets import Convention
from nstopt.pictures.size import Size

from .graphs import ANY, Dims, mixer, model_of, run, saved
from .test_opset import old_style_net

UNIT = Convention(input_range=(0.0, 1.0), output_range=(0.0, 1.0))


def export(model: onnx.ModelProto, folder: Path, convention: Convention = UNIT, **options: Any) -> Exported:
    source = saved(model, folder / "user.onnx")
    return export_net(ExportSpec(source, folder / "out.onnx", convention=convention, **options))


@pytest.mark.parametrize("opset", [9, 17, 21])
def test_a_net_for_any_size(tmp_path: Path, opset: int) -> None:
    done = export(mixer(opset), tmp_path)
    assert (done.size, done.net.family, done.net.name, done.torchscript) == (None, "custom", "out", None)
    pictures = np.stack([noise(17, 22), noise(17, 22, 1)])
    np.testing.assert_array_equal(run(onnx.load(done.onnx), pictures), pictures[..., [2, 0, 1]])


def test_the_convention_is_applied(tmp_path: Path) -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    convention = Convention((0.0, 1.0), tuple(mean), tuple(std), (-1.0, 1.0))
    done = export(mixer(scale=0.3), tmp_path, convention)
    picture = noise(20, 24)
    y = ((picture / 255 - mean) / std)[..., [2, 0, 1]] * 0.3
    expected = np.clip((y + 1) / 2 * 255, 0, 255)
    np.testing.assert_allclose(run(onnx.load(done.onnx), picture[None])[0], expected, atol=0.51)


def test_a_net_that_needs_multiples(tmp_path: Path) -> None:
    done = export(old_style_net(9, 3), tmp_path, multiple=2)
    picture = noise(17, 19)
    padded = np.pad(picture, [(0, 1), (0, 1), (0, 0)], mode="reflect").transpose(2, 0, 1)[None].astype(np.float32)
    y = run(old_style_net(9, 3), padded / 255)[0].transpose(1, 2, 0)[:17, :19]
    found = run(onnx.load(done.onnx), picture[None])[0]
    assert np.abs(found - np.clip(y * 255, 0, 255)).max() <= 1
    # Rows and columns added by rounding up inside the net are cropped.
    assert run(onnx.load(export(old_style_net(9, 3), tmp_path, multiple=1).onnx), picture[None]).shape == (1, 17, 19, 3)


def test_a_net_that_does_not_run_at_every_size(tmp_path: Path) -> None:
    halves = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=2),
        helper.make_node("Concat", ["b", "a"], ["y"], axis=2),
    ]
    model = model_of(halves, {})
    with pytest.raises(ExportError, match=r"ONNX Runtime cannot run the net on an array of shape \[2, 3, 97, 131\]: "):
        export(model, tmp_path, multiple=1)
    assert export(model, tmp_path, multiple=2).max_gray_levels == 0


@pytest.mark.parametrize("kind", ["larger", "smaller"])
def test_a_net_that_does_not_keep_the_size(tmp_path: Path, kind: str) -> None:
    scales = np.array([1, 1, *[2.0 if kind == "larger" else 0.5] * 2], np.float32)
    model = model_of([helper.make_node("Resize", ["x", "", "s"], ["y"])], {"s": scales}, out_dims=["N", 3, "h", "w"])
    with pytest.raises(
        ExportError, match=r"not an image-to-image net: it maps \[2, 3, 128, 128\] to \[2, 3, (256, 256|64, 64)\]"
    ):
        export(model, tmp_path)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_a_net_of_one_size(tmp_path: Path, batch: int | str) -> None:
    model = mixer(dims=[batch, 3, 21, 33])
    done = export(model, tmp_path)
    assert done.size == (21, 33)
    dims = onnx.load(done.onnx).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == [batch, 21, 33, 3]
    pictures = np.stack([noise(21, 33, seed) for seed in range(batch if isinstance(batch, int) else 2)])
    np.testing.assert_array_equal(run(onnx.load(done.onnx), pictures), pictures[..., [2, 0, 1]])
    assert export(model, tmp_path, size=Size(21, 33)).size == (21, 33)
    with pytest.raises(ExportError, match=r"user\.onnx: this graph takes 21x33 only, not 64x64; export it again for"):
        export(model, tmp_path, size=Size(64, 64))


def test_a_fixed_size_for_a_dynamic_net(tmp_path: Path) -> None:
    done = export(mixer(), tmp_path, size=Size(18, 30))
    picture = noise(18, 30)
    np.testing.assert_array_equal(run(onnx.load(done.onnx), picture[None])[0], picture[..., [2, 0, 1]])


def test_the_input_range_must_be_stated(tmp_path: Path) -> None:
    source = saved(mixer(), tmp_path / "user.onnx")
    with pytest.raises(ExportError, match=r"state the range of its input with --input-range, such as 0,255 or 0,1"):
        export_net(ExportSpec(source, tmp_path / "out.onnx"))
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("option", [{"torchscript": Path("a.ts")}, {"arch": "a:B"}, {"styles": ((Path("a"), 1.0),)}])
def test_options_that_do_not_apply(tmp_path: Path, option: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="TorchScript, --arch, --vgg and --style do not apply to an ONNX file"):
        export(mixer(), tmp_path, **option)


def two_inputs() -> onnx.ModelProto:
    model = model_of([helper.make_node("Add", ["x", "x2"], ["y"])], {})
    model.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, ANY))
    return model


def ends(dims: Dims, out_dims: Dims | None = None, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    return model_of([helper.make_node("Neg", ["x"], ["y"])], {}, dims=dims, out_dims=out_dims, kind=kind)


def classifier() -> onnx.ModelProto:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    return model_of(nodes, {}, out_dims=["N", 3])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (two_inputs(), "2 inputs and 1 outputs, not one of each"),
        (ends([3, "H", "W"]), r"'x' is FLOAT \[3, 'H', 'W'\], not FLOAT \[N, 3, H, W\]"),
        (ends(["N", 1, 28, 28]), r"'x' is FLOAT \['N', 1, 28, 28\]"),
        (ends(["N", "H", "W", 3], kind=TensorProto.DOUBLE), r"'x' is DOUBLE \['N', 'H', 'W', 3\]"),
        (classifier(), r"'y' is FLOAT \['N', 3\], not FLOAT"),
    ],
)
def test_graphs_that_are_not_image_nets(tmp_path: Path, model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ExportError, match=rf"user\.onnx: not an image-to-image net: {message}"):
        export(model, tmp_path)
    assert not (tmp_path / "out.onnx").exists()


def test_a_graph_that_fulfills_the_contract_already(tiny_onnx: Path, tmp_path: Path) -> None:
    assert fulfills_contract(read_onnx(tiny_onnx))
    assert not fulfills_contract(mixer())
    with pytest.raises(ExportError, match=r"already maps uint8 pictures to uint8 pictures: run nstopt build-engine$"):
        export_net(ExportSpec(tiny_onnx, tmp_path / "out.onnx"))
