"""Fixtures that all tests share: a tiny net (checkpoint, ONNX file, bundles), photographs, the developers' material."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from made import make_bundle, make_record, make_run  # noqa: F401 - fixtures of all rooms
from nets import layouts
from PIL import Image

from nstopt.bench import statistics
from nstopt.bundle import Bundle, open_bundle
from nstopt.export.exporter import Exported, ExportSpec, export_net
from nstopt.pictures.files import Picture, cover, demo_photographs
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec
from nstopt.samples import SAMPLES

# No test is timed: a busy machine may take long over an example.
settings.register_profile("nstopt", deadline=None)
settings.load_profile("nstopt")

SMALL = Size(48, 64)
LAST = "decoder.layers.4.layers.0.layers.1"
FAMILIES: dict[str, Callable[[], layouts.State]] = {
    "fast-style": lambda: layouts.fast_style(blocks=1),
    "separable": lambda: layouts.vivid(layouts.separable_johnson(blocks=1, kernel=3), "deconv3.conv2d", 40, 127),
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


def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder that all processes of this run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Builds neither find what the user's machine knows already nor add to it. The test processes share one cache, so
    that a bundle that one of them has built is known to the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(run_folder(tmp_path_factory) / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """On tensors as small as the tests', further threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photographs() -> list[Picture]:
    """Six photographs, uint8 [60, 80, 3]."""
    return [cover(rgb, Size(60, 80)) for _, rgb in demo_photographs()]


def pytest_configure() -> None:
    """Shells start what runs in their background with Ctrl-C ignored, which children inherit; tests of it need it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Has a folder of a name filled by the first of the test processes that asks for it; the others wait, and read."""
    root = run_folder(tmp_path_factory)

    def folder_of(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = root / f"once-{name}", root / f"once-{name}.filled"
        with FileLock(f"{folder}.lock"):
            if not filled.exists():
                folder.mkdir(exist_ok=True)
                fill(folder)
                filled.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def photos(once: Once, photographs: list[Picture]) -> Path:
    """The photographs in a folder."""

    def fill(folder: Path) -> None:
        for number, rgb in enumerate(photographs):
            Image.fromarray(rgb).save(folder / f"{number}.png")

    return once("photos", fill)


@pytest.fixture(scope="session")
def tiny_onnx(once: Once) -> Path:
    """The export for any size of a random Johnson net of widths 4, 6, 8 with one block; the TorchScript file and the
    checkpoint lie beside it."""

    def fill(folder: Path) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            torch.save(layouts.vivid(layouts.johnson(blocks=1), "deconv3.conv2d", 20, 128), folder / "tiny.pth")
        export_net(ExportSpec(folder / "tiny.pth", folder / "tiny.onnx", folder / "tiny.ts"))

    return once("net", fill) / "tiny.onnx"


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_onnx: Path) -> Path:
    """The checkpoint of `tiny_onnx`."""
    return tiny_onnx.with_suffix(".pth")


@pytest.fixture(scope="session")
def tiny_fixed_onnx(once: Once, tiny_checkpoint: Path) -> Path:
    """Its export for 33x50 only."""

    def fill(folder: Path) -> None:
        export_net(ExportSpec(tiny_checkpoint, folder / "fixed.onnx", size=Size(33, 50)))

    return once("fixed", fill) / "fixed.onnx"


@pytest.fixture(scope="session")
def export_family(once: Once) -> Callable[[str], Exported]:
    """Exports each of FAMILIES once, for any size; the checkpoint, net.pth, and net.ts lie beside net.onnx."""

    def export(name: str) -> Exported:
        def fill(folder: Path) -> None:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                torch.save(FAMILIES[name](), folder / "net.pth")
            exported = export_net(ExportSpec(folder / "net.pth", folder / "net.onnx", folder / "net.ts"))
            (folder / "exported.pickle").write_bytes(pickle.dumps(exported))

        loaded: Exported = pickle.loads((once(name.replace(" ", "-"), fill) / "exported.pickle").read_bytes())
        return loaded

    return export


@pytest.fixture(scope="session")
def realtime_onnx(once: Once) -> Path:
    """The export of the bundled realtime_starry, for any size."""

    def fill(folder: Path) -> None:
        export_net(ExportSpec(SAMPLES["realtime_starry"], folder / "realtime_starry.onnx"))

    return once("realtime", fill) / "realtime_starry.onnx"


@pytest.fixture(scope="session")
def adain(once: Once) -> Exported:
    """The export of an AdaIN net with a style in it, for any size; decoder.pth, vgg.pth and net.ts lie beside it."""

    def fill(folder: Path) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            torch.save(layouts.vivid(layouts.adain_decoder(), "28", 0.15, 0.5), folder / "decoder.pth")
            torch.save(layouts.adain_vgg(), folder / "vgg.pth")
        spec = ExportSpec(
            folder / "decoder.pth",
            folder / "net.onnx",
            folder / "net.ts",
            vgg=folder / "vgg.pth",
            styles=ADAIN_STYLES,
            alpha=0.8,
        )
        (folder / "exported.pickle").write_bytes(pickle.dumps(export_net(spec)))

    loaded: Exported = pickle.loads((once("adain", fill) / "exported.pickle").read_bytes())
    return loaded


@pytest.fixture
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' nets take microseconds: they need not run for half a second."""
    monkeypatch.setattr(statistics, "MIN_WARMUP_MS", 0.0)
    monkeypatch.setattr(statistics, "MAX_WARMUP_MS", 50.0)


def int8_spec(model: Path, folder: Path, photos: Path, **fields: object) -> BuildSpec:
    """INT8 for 48x64 without raised layers: eight channels of random weights come to no 40 dB in 8 bits."""
    return BuildSpec(model, folder, precision="int8", sizes=Sizes(SMALL), calib=photos, min_psnr_db=20, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def int8_bundle(once: Once, tiny_onnx: Path, photos: Path) -> Bundle:
    """Its OpenVINO bundle in INT8 for 48x64."""
    spec = int8_spec(tiny_onnx, tiny_onnx.parent, photos)
    once("int8", lambda _: build_engine(spec))
    return open_bundle(spec.bundle_path())


@pytest.fixture(scope="session")
def any_size_bundle(once: Once, tiny_onnx: Path, photos: Path) -> Bundle:
    """Its OpenVINO bundle in FP32 for any size, judged on two photographs at the default size."""

    def fill(two: Path) -> None:
        for name in ("0.png", "1.png"):
            (two / name).write_bytes((photos / name).read_bytes())
        build_engine(BuildSpec(tiny_onnx, tiny_onnx.parent, sizes=Sizes(), val=two))

    once("any-size", fill)
    return open_bundle(BuildSpec(tiny_onnx, tiny_onnx.parent, sizes=Sizes()).bundle_path())


def noise(height: int, width: int, seed: int = 0) -> Picture:
    """Random bytes, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_video(path: Path, pictures: list[Picture]) -> Path:
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


ADAIN_STYLES = [(noise(40, 50), 1.0)]
