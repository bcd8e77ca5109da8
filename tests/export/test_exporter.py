"""Complete exports: each family in ONNX Runtime and TorchScript against its formula, at even and odd sizes."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from conftest import ADAIN_STYLES, noise
from nets import reference
from numpy.typing import NDArray
from torch import Tensor, nn

from nstopt.errors import CheckpointError, ExportError
from nstopt.export.contract import PictureModule
from nstopt.export.exporter import Exported, ExportSpec, export_net
from nstopt.export.metadata import read_info
from nstopt.nets import Convention, load_net
from nstopt.nets.custom import load_torchscript
from nstopt.pictures.size import Size

Images = NDArray[np.uint8]  # [N, H, W, 3]
Formula = Callable[[Tensor], Tensor]
UNIT = Convention(input_range=(0.0, 1.0), output_range=(0.0, 1.0))
SMALL = Size(40, 24)
SIZES = [(16, 16), (17, 16), (33, 51), SMALL]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def images(size: tuple[int, int], batch: int = 2) -> Images:
    return np.stack([noise(*size, seed) for seed in range(batch)])


def onnx_runner(path: Path) -> Callable[[Images], Images]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pictures: np.asarray(session.run(["stylized"], {"image": pictures})[0])


def torchscript_runner(path: Path) -> Callable[[Images], Images]:
    script = load_torchscript(path)

    def run(pictures: Images) -> Images:
        with torch.inference_mode():
            return np.asarray(script(torch.from_numpy(pictures)))

    return run


def picture_formula(formula: Formula, scale: float, shift: float, multiple: int) -> Callable[[Images], Images]:
    """Make a function of uint8 NHWC arrays out of a formula over float NCHW tensors in 0..255 * scale + shift."""

    def run(pictures: Images) -> Images:
        height, width = pictures.shape[1:3]
        pads = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
        padded = np.pad(pictures, pads, mode="reflect").transpose(0, 3, 1, 2).astype(np.float32)
        with torch.no_grad():
            y = formula(torch.from_numpy(padded) * scale + shift).numpy()
        y = (y - shift) / scale
        return np.clip(np.rint(y), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)[:, :height, :width]

    return run


def check_against(done: Exported, expected: Callable[[Images], Images]) -> None:
    assert done.torchscript
    assert done.size is None
    assert done.max_gray_levels <= 1
    runners = [onnx_runner(done.onnx), torchscript_runner(done.torchscript)]
    for size in SIZES:
        for batch in (1, 2):
            pictures = images(size, batch)
            wanted = expected(pictures).astype(int)
            assert len(np.unique(wanted)) > 10  # the picture is not flat, so that errors can show
            for found in (run(pictures) for run in runners):
                assert found.dtype == np.uint8
                assert np.abs(found - wanted).max() <= 1


def test_johnson(tiny_checkpoint: Path, tiny_onnx: Path) -> None:
    state = torch.load(tiny_checkpoint, weights_only=True)
    info = read_info(onnx.load(tiny_onnx), tiny_onnx)
    assert info is not None
    assert info.net.name == "tiny"
    done = Exported(tiny_onnx, tiny_onnx.with_suffix(".ts"), info.net, None, 0, ())
    check_against(done, picture_formula(lambda x: reference.johnson(x, state, 1), 1, 0, 4))


def test_fast_style(export_family: Callable[[str], Exported]) -> None:
    done = export_family("fast-style")
    state = torch.load(done.onnx.with_suffix(".pth"), weights_only=True)
    check_against(done, picture_formula(lambda x: reference.fast_style(x, state, 1), 1, 0, 4))


@pytest.mark.parametrize("norm", ["instance norm", "frn"])
def test_reconet(export_family: Callable[[str], Exported], norm: str) -> None:
    done = export_family(norm)
    checkpoint = done.onnx.with_suffix(".pth")
    state, convention = torch.load(checkpoint, weights_only=True), load_net(checkpoint).convention
    assert (convention.input_range, convention.output_range) == ((-1.0, 1.0), (-1.0, 1.0))
    check_against(done, picture_formula(lambda x: reference.reconet(x, state, 1, norm == "frn"), 2 / 255, -1, 4))


def test_adain(adain: Exported) -> None:
    assert adain.notes == ("style baked in: array [40, 50, 3] 100%; alpha 0.8",)
    decoder, vgg = (adain.onnx.with_name(name) for name in ("decoder.pth", "vgg.pth"))
    net = load_net(decoder, vgg=vgg, styles=ADAIN_STYLES, alpha=0.8).module
    check_against(adain, picture_formula(net, 1 / 255, 0, 8))


def test_the_graph_states_shapes_and_metadata(tiny_onnx: Path, tiny_checkpoint: Path) -> None:
    model = onnx.load(tiny_onnx)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    for value, name in ((model.graph.input, "image"), (model.graph.output, "stylized")):
        (one,) = value
        assert one.name == name
        assert one.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        dims = one.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", "H", "W", 3]
    info = read_info(model, tiny_onnx)
    assert info is not None
    assert info.net.source_sha256 == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    script = tiny_onnx.with_suffix(".ts")
    assert info.torchscript_sha256 == hashlib.sha256(script.read_bytes()).hexdigest()


def test_a_fixed_size(tiny_checkpoint: Path, tiny_fixed_onnx: Path) -> None:
    dims = onnx.load(tiny_fixed_onnx).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", 33, 50, 3]
    with torch.no_grad():
        expected = PictureModule(load_net(tiny_checkpoint))(torch.from_numpy(images((33, 50)))).numpy()
    run = onnx_runner(tiny_fixed_onnx)
    assert np.abs(run(images((33, 50))).astype(int) - expected).max() <= 1
    with pytest.raises(Exception, match="Got invalid dimensions"):
        run(images((32, 50)))


class Scaled(nn.Module):
    """Halve every value; torch.jit.script and torch.export accept this net."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Noisy(Scaled):
    """Give another result on each run, so that no trace can equal it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Branching(Scaled):
    """Branch on the picture's content, which cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale if float(x.mean()) > 0.5 else x


class Larger(Scaled):
    """Double the picture's size."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a checkpoint of the classes above, which can be imported from test_nets."""
    monkeypatch.setitem(sys.modules, "test_nets", sys.modules[__name__])
    torch.save(Scaled().state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def check_halves(pictures: Images, *runners: Callable[[Images], Images]) -> None:
    for run in runners:
        np.testing.assert_allclose(run(pictures), pictures / 2, atol=0.51)


def test_a_user_s_class(weights: Path, tmp_path: Path) -> None:
    spec = ExportSpec(weights, tmp_path / "a.onnx", tmp_path / "a.ts", SMALL, "test_nets:Scaled", UNIT)
    done = export_net(spec)
    assert (done.net.family, done.net.widths, done.net.name) == ("custom", (), "a")
    check_halves(images(SMALL), onnx_runner(tmp_path / "a.onnx"), torchscript_runner(tmp_path / "a.ts"))


def test_a_torchscript_file(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Scaled()).save(str(tmp_path / "net.ts"))
    export_net(ExportSpec(tmp_path / "net.ts", tmp_path / "a.onnx", tmp_path / "a.ts", convention=UNIT))
    check_halves(images((21, 35)), onnx_runner(tmp_path / "a.onnx"), torchscript_runner(tmp_path / "a.ts"))


def test_an_exported_program_of_one_size(tmp_path: Path) -> None:
    free = {"x": {0: torch.export.Dim("N")}}
    program = torch.export.export(Scaled(), (torch.rand(2, 3, *SMALL),), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "net.pt2")
    spec = ExportSpec(tmp_path / "net.pt2", tmp_path / "a.onnx", convention=UNIT)
    message = r"does not run on two pictures of 96x80: .* and if it takes one size only, state that size with --res"
    with pytest.raises(ExportError, match=message):
        export_net(spec)
    export_net(replace(spec, size=SMALL))
    check_halves(images(SMALL), onnx_runner(tmp_path / "a.onnx"))


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("Noisy", r"the exported graph differs from the net by up to \d+ gray levels at 40x24 .*; nothing was written"),
        ("Branching", "torch cannot export this net to ONNX: "),
        ("Larger", r"not an image-to-image net: it maps \[2, 3, 40, 24\] to \[2, 3, 80, 48\]"),
    ],
)
def test_nothing_is_written_if_the_export_fails(weights: Path, tmp_path: Path, arch: str, message: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(ExportError, match=message) as raised:
        export_net(ExportSpec(weights, out / "a.onnx", out / "a.ts", SMALL, f"test_nets:{arch}", UNIT))
    assert "\n" not in str(raised.value)
    assert list(out.iterdir()) == []


def test_an_older_export_survives_a_failed_one(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("older")
    with pytest.raises(CheckpointError):
        export_net(ExportSpec(tmp_path / "missing.pth", tmp_path / "a.onnx"))
    assert (tmp_path / "a.onnx").read_text() == "older"


@pytest.mark.parametrize("which", ["onnx", "torchscript"])
def test_a_path_that_cannot_be_written(weights: Path, tmp_path: Path, which: str) -> None:
    (tmp_path / "file").write_text("")
    paths = {"onnx": tmp_path / "a.onnx", "torchscript": tmp_path / "a.ts", which: tmp_path / "file" / "out"}
    with pytest.raises(ExportError, match=r"out: cannot be written \(.*file is not a folder\)$"):
        export_net(ExportSpec(weights, paths["onnx"], paths["torchscript"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "weights.pth"]
