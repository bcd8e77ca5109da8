"""What all tests share: a tiny net as checkpoint, ONNX file and bundles; photographs; the developers' material."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from nets import layouts
from PIL import Image

from nstopt.bundle import Bundle
from nstopt.export.exporter import Exported, ExportSpec, export_net
from nstopt.pictures import RGB, cover, demo_photographs
from nstopt.pipeline import BuildSpec, build_engine
from nstopt.size import Size

SMALL = Size(48, 64)
LAST = "decoder.layers.4.layers.0.layers.1"
FAMILIES: dict[str, Callable[[], layouts.State]] = {
    "fast-style": lambda: layouts.fast_style(blocks=1),
    "instance norm": lambda: layouts.vivid(layouts.reconet(frn=False, blocks=1), LAST, 0.2, 0),
    "frn": lambda: layouts.vivid(layouts.reconet(frn=True, blocks=1), LAST, 0.2, 0),
}


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real nets, photographs and clips. Skips where the folder is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("NSTOPT_SHARED", default))
    if not (folder / "nets").is_dir():
        pytest.skip(f"needs the shared material: no nets/ in {folder} (set NSTOPT_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Builds neither find what the user's machine knows already nor add to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """On tensors as small as the tests', further threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photographs() -> list[RGB]:
    """Six photographs, uint8 [60, 80, 3]."""
    return [cover(rgb, Size(60, 80)) for _, rgb in demo_photographs()]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, photographs: list[RGB]) -> Path:
    """The same in a folder."""
    folder = tmp_path_factory.mktemp("photos")
    for number, rgb in enumerate(photographs):
        Image.fromarray(rgb).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Johnson net of widths 4, 6, 8 with one block."""
    path = tmp_path_factory.mktemp("net") / "tiny.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(layouts.vivid(layouts.johnson(blocks=1), "deconv3.conv2d", 20, 128), path)
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tiny_checkpoint: Path) -> Path:
    """Its export for any size, with the TorchScript file beside it."""
    onnx = tiny_checkpoint.with_suffix(".onnx")
    export_net(ExportSpec(tiny_checkpoint, onnx, torchscript=onnx.with_suffix(".ts")))
    return onnx


@pytest.fixture(scope="session")
def tiny_fixed_onnx(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export for 33x50 only."""
    onnx = tmp_path_factory.mktemp("fixed") / "fixed.onnx"
    return export_net(ExportSpec(tiny_checkpoint, onnx, size=Size(33, 50))).onnx


@pytest.fixture(scope="session")
def export_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Exports each of FAMILIES once, for any size; the checkpoint, net.pth, and net.ts lie beside net.onnx."""
    done: dict[str, Exported] = {}

    def export(name: str) -> Exported:
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                torch.save(FAMILIES[name](), folder / "net.pth")
            done[name] = export_net(ExportSpec(folder / "net.pth", folder / "net.onnx", folder / "net.ts"))
        return done[name]

    return export


def int8_spec(model: Path, folder: Path, photos: Path, **fields: object) -> BuildSpec:
    """INT8 for 48x64 without raised layers: eight channels of random weights come to no 40 dB in 8 bits."""
    return BuildSpec(model, folder, precision="int8", size=SMALL, calib=photos, min_psnr_db=20, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def int8_bundle(tiny_onnx: Path, photos: Path) -> Bundle:
    """Its OpenVINO bundle in INT8 for 48x64."""
    return build_engine(int8_spec(tiny_onnx, tiny_onnx.parent, photos))


@pytest.fixture(scope="session")
def any_size_bundle(tiny_onnx: Path, photos: Path) -> Bundle:
    """Its OpenVINO bundle in FP32 for any size, judged on two photographs at the default size."""
    two = tiny_onnx.parent / "two"
    two.mkdir()
    for name in ("0.png", "1.png"):
        (two / name).write_bytes((photos / name).read_bytes())
    return build_engine(BuildSpec(tiny_onnx, tiny_onnx.parent, size=None, val=two))


def noise(height: int, width: int, seed: int = 0) -> RGB:
    """Random bytes, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_video(path: Path, pictures: list[RGB]) -> Path:
    """Frames [H, W, 3] as a video file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"qmin": "1", "qmax": "1"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
