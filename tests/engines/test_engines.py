"""Every backend: what all engines do alike, each one real."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import SMALL, noise
from PIL import Image

import nstopt
from nstopt import engines
from nstopt.bundle import Bundle, open_bundle
from nstopt.engines.engine import Engine
from nstopt.errors import BuildError, BundleError, DeviceError
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec

BACKENDS = ["openvino", "onnxruntime", "torchscript"]
Build = Callable[..., Bundle]


@pytest.fixture(scope="module")
def build(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds the tiny net for a backend, size, precision and batch, each once."""
    made: dict[tuple[object, ...], Bundle] = {}
    folder = tmp_path_factory.mktemp("bundles")
    one = tmp_path_factory.mktemp("one")
    (one / "0.png").write_bytes((photos / "0.png").read_bytes())

    def make(backend: str, size: Size | None = SMALL, precision: str = "fp32", batch: int | None = 1) -> Bundle:
        key = (backend, size, precision, batch)
        if key not in made:
            spec = BuildSpec(
                tiny_onnx,
                folder,
                None,
                precision,
                backend,
                InputShape.of(batch, size).sizes,
                batch,
                calib=photos,
                val=one,
                min_psnr_db=20,
            )
            made[key] = build_engine(spec)
        return made[key]

    return make


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, build: Build) -> Engine:
    return nstopt.load(build(request.param).path)


@pytest.fixture(scope="module")
def net(tiny_onnx: Path) -> Callable[[Picture], Picture]:
    """The exported graph in ONNX Runtime, for a picture of any size."""
    opened = session(tiny_onnx)
    return lambda picture: np.asarray(opened.run(None, {"image": picture[None]})[0][0], np.uint8)


def differ(left: Picture, right: Picture) -> int:
    return int(np.abs(left.astype(int) - right).max())


def test_a_picture_and_a_batch_of_one(engine: Engine, net: Callable[[Picture], Picture]) -> None:
    picture = noise(*SMALL)
    result = engine(picture)
    assert result.shape == (*SMALL, 3)
    assert result.dtype == np.uint8
    assert differ(result, net(picture)) <= 1
    np.testing.assert_array_equal(engine(picture[None]), result[None])
    assert engine.shape.sizes.only == SMALL


def test_the_picture_is_not_changed_and_results_are_not_shared(engine: Engine) -> None:
    first, second = noise(*SMALL), noise(*SMALL, 1)
    kept = first.copy()
    result = engine(first)
    before = result.copy()
    engine(second)
    np.testing.assert_array_equal(result, before)
    np.testing.assert_array_equal(first, kept)


def test_out_is_written_in_place(engine: Engine) -> None:
    picture = noise(*SMALL)
    out = np.zeros_like(picture)
    assert engine(picture, out=out) is out
    np.testing.assert_array_equal(out, engine(picture))
    batch = np.zeros((1, *SMALL, 3), np.uint8)
    assert engine(picture[None], out=batch) is batch
    np.testing.assert_array_equal(batch[0], out)


def test_pictures_that_are_not_contiguous(engine: Engine) -> None:
    large = noise(2 * SMALL.height, 2 * SMALL.width)
    for view in (large[::2, ::2], large[: SMALL.height, : SMALL.width][::-1, ::-1, ::-1]):
        np.testing.assert_array_equal(engine(view), engine(view.copy()))


def test_pictures_that_cannot_be_written_as_pillow_gives_them(engine: Engine) -> None:
    picture = noise(*SMALL)
    frozen = np.asarray(Image.fromarray(picture))
    assert not frozen.flags.writeable
    np.testing.assert_array_equal(engine(frozen), engine(picture))


def test_the_result_may_take_the_pictures_place(engine: Engine) -> None:
    picture = noise(*SMALL)
    expected = engine(picture)
    assert engine(picture, out=picture) is picture
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((*SMALL, 3), np.float32), r"engine takes uint8 RGB arrays .*, not float32 \[48, 64, 3\]"),
        (np.zeros((*SMALL, 4), np.uint8), r"not uint8 \[48, 64, 4\]"),
        (np.zeros(SMALL, np.uint8), r"not uint8 \[48, 64\]"),
        (np.zeros((1, 1, *SMALL, 3), np.uint8), r"not uint8 \[1, 1, 48, 64, 3\]"),
        (
            np.zeros((64, 48, 3), np.uint8),
            r"\.nst is built for pictures of \(batch x height x width\) 1x48x64, not 1x64x48; build with --res 64x48",
        ),
        (np.zeros((2, *SMALL, 3), np.uint8), r"1x48x64, not 2x48x64; build with --res 48x64 --batch 2"),
        (np.zeros((0, *SMALL, 3), np.uint8), "not 0x48x64"),
    ],
)
def test_pictures_that_do_not_fit(engine: Engine, picture: Picture, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        engine(picture)


def test_an_out_that_does_not_fit(engine: Engine) -> None:
    picture = noise(*SMALL)
    outs: list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = [
        np.zeros((*SMALL, 3), np.float32),
        np.zeros((1, *SMALL, 3), np.uint8),
        np.zeros((SMALL.height, 2 * SMALL.width, 3), np.uint8)[:, ::2],
        np.asarray(Image.fromarray(picture)),  # read-only
    ]
    for out in outs:
        with pytest.raises(
            BundleError, match=r"`out` must be a writable C-contiguous uint8 array of shape \[48, 64, 3\]"
        ):
            engine(picture, out=out)  # type: ignore[arg-type]


def test_threads_share_an_engine(engine: Engine) -> None:
    pictures = [noise(*SMALL, seed) for seed in range(8)]
    expected = [engine(picture) for picture in pictures]
    found: dict[int, Picture] = {}

    def work(number: int) -> None:
        found[number] = [engine(pictures[number]) for _ in range(5)][-1]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in enumerate(expected):
        np.testing.assert_array_equal(found[number], result)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_for_any_size(build: Build, net: Callable[[Picture], Picture], backend: str) -> None:
    with engines.load(build(backend, size=None).path) as engine:
        assert engine.shape.sizes.is_any
        for size in ((16, 16), (33, 51), (48, 64), (17, 90), (33, 51)):
            picture = noise(*size)
            assert differ(engine(picture), net(picture)) <= 1
        with pytest.raises(BundleError, match="a picture of 15x64 is too small: each side needs 16 pixels"):
            engine(noise(15, 64))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_of_a_batch(build: Build, net: Callable[[Picture], Picture], backend: str) -> None:
    with engines.load(build(backend, batch=3).path) as engine:
        pictures = np.stack([noise(*SMALL, seed) for seed in range(3)])
        for picture, result in zip(pictures, engine(pictures), strict=True):
            assert differ(result, net(picture)) <= 1
        with pytest.raises(BundleError, match=r"3x48x64, not 1x48x64; build with --res 48x64 --batch 1"):
            engine(pictures[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_of_any_batch(build: Build, net: Callable[[Picture], Picture], backend: str) -> None:
    bundle = build(backend, batch=None)
    assert bundle.path.stem.startswith("tiny-48x64-fp32-bany")
    with engines.load(bundle.path) as engine:
        assert (engine.shape.batch, engine.shape.sizes.only) == (None, SMALL)
        for count in (1, 3, 2):
            pictures = np.stack([noise(*SMALL, seed) for seed in range(count)])
            for picture, result in zip(pictures, engine(pictures), strict=True):
                assert differ(result, net(picture)) <= 1


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions(build: Build, photographs: list[Picture], backend: str, precision: str) -> None:
    bundle = build(backend, precision=precision)
    info = bundle.manifest.precision
    assert (info.asked, info.computes) == (
        precision,
        "int8" if (backend, precision) == ("openvino", "int8") else "fp32",
    )
    assert bundle.manifest.quality
    assert bundle.manifest.quality.psnr_db_mean > 30
    with engines.load(bundle.path) as engine:
        assert engine(noise(*SMALL)).shape == (*SMALL, 3)


def test_backends_and_manifests_say_what_they_are(build: Build) -> None:
    files = {
        "openvino": {"model.xml", "model.bin", "graph.onnx"},
        "onnxruntime": {"model.onnx"},
        "torchscript": {"model.ts"},
    }
    for backend, names in files.items():
        manifest = open_bundle(build(backend).path).manifest
        assert manifest.files.keys() == names
        assert bool(manifest.rewrites) == (backend != "torchscript")  # which runs what was traced
        assert manifest.backend.name == backend
        assert manifest.backend.device
        assert all(manifest.backend.versions.values())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_lowered_graph(build: Build, backend: str) -> None:
    bundle = build(backend, precision="int8")
    graph = engines.lowered_graph(open_bundle(bundle.path))
    assert "QuantizeLinear" in {node.op_type for node in graph.graph.node}
    picture = noise(*SMALL)[None]
    (result,) = engines.backend(backend).compile(graph.SerializeToString(), "int8")({"image": picture})
    with engines.load(bundle.path) as engine:
        assert np.array_equal(result, engine(picture))


def test_a_backend_without_a_graph(build: Build) -> None:
    with pytest.raises(BundleError, match="engines of the torchscript backend hold no graph that can be taken apart; "):
        engines.lowered_graph(build("torchscript"))


def test_a_bundle_of_an_older_version_without_a_graph(build: Build) -> None:
    bundle = build("openvino")
    files = {name: digest for name, digest in bundle.manifest.files.items() if name != "graph.onnx"}
    older = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, files=files))
    with pytest.raises(BundleError, match=r"the manifest lists no graph\.onnx; build the engine again"):
        engines.lowered_graph(older)


def test_what_a_backend_cannot_do(build: Build) -> None:
    with pytest.raises(BuildError, match="the torchscript backend runs fp32 only, not int8; choose another --backend"):
        build("torchscript", precision="int8")
    with pytest.raises(
        BuildError, match="unknown backend 'magic'; there are: openvino, onnxruntime, torchscript, tens"
    ):
        build("magic")


def test_what_only_tensorrt_can_do(tiny_onnx: Path, tmp_path: Path) -> None:
    def spec(backend: str, **fields: object) -> BuildSpec:
        return BuildSpec(tiny_onnx, tmp_path, backend=backend, **fields)  # type: ignore[arg-type]

    with pytest.raises(BuildError, match="openvino backend builds for one size or, with --dynamic, for any: give one"):
        build_engine(spec("openvino", sizes=Sizes(SMALL, Size(64, 64))))
    with pytest.raises(BuildError, match="openvino backend knows no limit for its workspace: leave --workspace out"):
        build_engine(spec("openvino", workspace_mib=64))
    with pytest.raises(BuildError, match="tensorrt backend must know the sizes: repeat --res for each, without --dyn"):
        build_engine(spec("tensorrt", sizes=Sizes()))


def test_a_request_gives_its_result_once(engine: Engine) -> None:
    pictures = [noise(*SMALL, seed) for seed in range(3)]
    pending = [engine.submit(picture) for picture in pictures]
    for request, picture in zip(pending, pictures, strict=True):
        out = np.zeros_like(picture)
        with pytest.raises(BundleError, match="`out` must be a writable C-contiguous uint8 array"):
            request.result(out=out[:, ::2])
        assert request.result(out=out) is out
        np.testing.assert_array_equal(out, engine(picture))
        with pytest.raises(BundleError, match="the result of this request was taken before"):
            request.result()
    assert engine.submit(pictures[0]).result().shape == pictures[0].shape
    assert engine.notes == ()


def test_streams_change_no_result(int8_bundle: Bundle) -> None:
    pictures = [noise(*SMALL, seed) for seed in range(8)]
    with nstopt.load(int8_bundle.path, streams=2) as engine:
        assert engine.streams == 2
        pending = [engine.submit(picture) for picture in pictures]
        dropped = engine.submit(pictures[0])
        del dropped
        for request, picture in reversed(list(zip(pending, pictures, strict=True))):
            np.testing.assert_array_equal(request.result(), engine(picture))
    with nstopt.load(int8_bundle.path, streams=None) as engine:
        assert engine.streams == min(len(os.sched_getaffinity(0)), 4)


def test_streams_of_a_backend_without(build: Build) -> None:
    path = build("onnxruntime").path
    with pytest.raises(DeviceError, match="the onnxruntime backend works on one picture at a time: leave --streams"):
        nstopt.load(path, streams=2)
    with nstopt.load(path, streams=None) as engine:
        assert engine.streams == 1


def test_an_engine_for_a_list_of_sizes_takes_no_other(engine: Engine) -> None:
    sizes = (Size(*SMALL), Size(64, 96))
    engine.shape = InputShape(1, Sizes(*sizes))
    assert engine(noise(*SMALL)).shape == (*SMALL, 3)
    with pytest.raises(
        BundleError, match=r"is built for pictures of .* 1x48x64, 64x96, not 1x32x32; build with --res 32x32"
    ):
        engine(noise(32, 32))


def test_tensorrt_says_what_it_needs(build: Build) -> None:
    from nstopt.gpu.driver import count_gpus

    if count_gpus():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(DeviceError, match="cannot build an engine with TensorRT: it needs an NVIDIA GPU, and this mac"):
        build("tensorrt")


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_match_their_hash_but_not_the_runtime(build: Build, backend: str) -> None:
    good = build(backend)
    nonsense = dict.fromkeys(good.manifest.files, b"nonsense")
    with pytest.raises(DeviceError, match=r"cannot load .*: \S") as raised:
        engines.backend(backend).load(nonsense, good.manifest.shape, "nonsense")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_running_a_bundle_imports_neither_torch_nor_onnx(build: Build, backend: str) -> None:
    code = (
        "import sys, numpy, nstopt\n"
        f"engine = nstopt.load({str(build(backend, precision='int8').path)!r})\n"
        "engine(numpy.zeros((48, 64, 3), numpy.uint8))\n"
        "print(*sorted({'torch', 'onnx', 'onnxscript', 'skimage', 'scipy', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert done.stderr == ""


def test_a_signal_after_engines_that_were_closed_in_the_order_they_were_opened(build: Build) -> None:
    """Each OpenVINO Core has signals handled on a stack of its own: the process used to end here."""
    code = (
        "import signal, nstopt\n"
        f"first, second = (nstopt.load({str(build('openvino').path)!r}) for _ in range(2))\n"
        "first.close()\n"
        "second.close()\n"
        "del first, second\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "interrupted"
