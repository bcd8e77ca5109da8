"""The C++ library: its own tests on Python's bundles and results, its example, and the program in docs/cpp.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from PIL import Image

import nstopt
from cpp.building import ROOT, WHOLE, cmake, openvino_cmake, tool
from cpp.conftest import require_tools
from cpp.data import DAMAGES, prepare
from nstopt.bundle import Bundle
from nstopt.errors import BundleError
from nstopt.export.exporter import ExportSpec, export_net
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec
from nstopt.samples import SAMPLE


def test_library(built: Path, data: Path) -> None:
    tool("ctest", "--test-dir", built, "--output-on-failure", NSTOPT_TEST_DATA=str(data))


def test_library_with_sanitizers(sanitized: Path, data: Path) -> None:
    tool("ctest", "--test-dir", sanitized, "--output-on-failure", NSTOPT_TEST_DATA=str(data))


def test_changed_manifests(built: Path, data: Path) -> None:
    assert "2000 manifests" in tool(built / "tests" / "nstopt-fuzz-bundle", data / "fixed.nst", 2000).stdout


def test_many_changed_manifests_with_sanitizers(sanitized: Path, data: Path) -> None:
    assert "100000 manifests" in tool(sanitized / "tests" / "nstopt-fuzz-bundle", data / "fixed.nst", 100_000, 1).stdout


@pytest.mark.skipif(not WHOLE, reason="only `make cpp` exports and builds the bundled net")
def test_bundled_net_in_fp32_and_int8(built: Path, tmp_path: Path) -> None:
    model, size = tmp_path / "sample.onnx", Size(96, 128)
    export_net(ExportSpec(SAMPLE, model))
    precise = build_engine(BuildSpec(model, tmp_path, sizes=Sizes(size), batch=None))
    int8 = build_engine(BuildSpec(model, tmp_path, precision="int8", sizes=Sizes(size), min_psnr_db=30))
    folder = tmp_path / "data"
    folder.mkdir()
    prepare(folder, [(precise, 2, *size), (int8, 1, *size)])
    only = "--test-case=results equal Python's bit for bit"
    output = tool(built / "tests" / "nstopt-tests", only, NSTOPT_TEST_DATA=str(folder)).stdout
    assert re.search(r"test cases: +1 \| +1 passed", output)


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_python_refuses_the_same_bundles(data: Path, name: str) -> None:
    with pytest.raises(BundleError):
        nstopt.load(data / f"{name}.nst")


def test_example(built: Path, int8_bundle: Bundle, tmp_path: Path) -> None:
    program = built / "examples" / "nstopt-stylize"
    picture = noise(48, 64)
    Image.fromarray(picture).save(tmp_path / "in.png")
    output = tool(program, int8_bundle.path, tmp_path / "in.png", tmp_path / "out.png", 3).stdout
    assert re.search(r"48x64, openvino\nloaded in [\d.]+ ms, first run [\d.]+ ms, median of 2 more [\d.]+ ms\n", output)
    with nstopt.load(int8_bundle.path) as engine:
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), engine(picture))
    for arguments, message in (
        (["no.nst", "in.png", "out.png"], "error: no.nst: no such folder"),
        ([int8_bundle.path, "no.png", "out.png"], "error: no.png: cannot be read"),
        ([int8_bundle.path, "in.png", "no/out.png"], "error: no/out.png: cannot be written"),
    ):
        ran = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr[: len(message)]) == (1, message)
    assert subprocess.run([program], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_example_of_frames(built: Path, int8_bundle: Bundle, jobs: str) -> None:
    frames = np.stack([noise(48, 64, seed) for seed in range(7)])
    command: list[str | Path] = [built / "examples" / "nstopt-frames", int8_bundle.path, "48x64", jobs]
    ran = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=True)
    stylized = np.frombuffer(ran.stdout, np.uint8).reshape(frames.shape)
    with nstopt.load(int8_bundle.path) as engine:
        for frame, result in zip(frames, stylized, strict=True):
            np.testing.assert_array_equal(result, engine(frame))
    cut = subprocess.run(command, input=frames.tobytes()[:-1], capture_output=True, check=False)
    assert (cut.returncode, cut.stdout) == (1, ran.stdout[: stylized[:6].nbytes])
    assert cut.stderr == b"error: the input ends within a frame: is the size right?\n"
    assert subprocess.run(command, input=b"", capture_output=True, check=True).stdout == b""
    other = subprocess.run([*command[:2], "48x63"], input=frames.tobytes(), capture_output=True, check=False)
    assert (other.returncode, other.stdout) == (1, b"")
    assert other.stderr.startswith(b"error: ")
    assert subprocess.run([*command[:2], "48"], input=b"", capture_output=True, check=False).returncode == 2


def test_program_in_the_documentation(built: Path, int8_bundle: Bundle, tmp_path: Path) -> None:
    """Build the program of docs/cpp.md with its CMakeLists.txt against the installed library, and run it."""
    text = (ROOT / "docs" / "cpp.md").read_text()
    for kind, name in (("cmake", "CMakeLists.txt"), ("cpp", "main.cpp")):
        found = re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)
        assert len(found) == 1
        (tmp_path / name).write_text(found[0])
    assert len((tmp_path / "main.cpp").read_text().splitlines()) <= 20
    tool("cmake", "--install", built, "--prefix", tmp_path / "installed")
    tool("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    tool("cmake", "--build", tmp_path / "build")
    picture = noise(48, 64)
    (tmp_path / "photo.ppm").write_bytes(b"P6\n64 48\n255\n" + picture.tobytes())
    paths = int8_bundle.path, tmp_path / "photo.ppm", tmp_path / "stylized.ppm"
    tool(tmp_path / "build" / "paint", *paths)
    with nstopt.load(int8_bundle.path) as engine:
        np.testing.assert_array_equal(np.asarray(Image.open(paths[2])), engine(picture))
    ran = subprocess.run(
        [tmp_path / "build" / "paint", "no.nst", *paths[1:]], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr[:23]) == (1, "no.nst: no such folder;")


@pytest.mark.skipif(not WHOLE, reason="only `make cpp` builds the static library")
def test_static_library(tmp_path: Path) -> None:
    """A user of the static library gets its dependencies from the package configuration."""
    require_tools()
    static = cmake("cpp-static", "-DBUILD_SHARED_LIBS=OFF")
    tool("cmake", "--install", static, "--prefix", tmp_path / "installed")
    (tmp_path / "main.cpp").write_text((ROOT / "cpp" / "tests" / "header.cpp").read_text())
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(user CXX)\nfind_package(nstopt 0.1 REQUIRED)\n"
        "add_executable(user main.cpp)\ntarget_link_libraries(user nstopt::nstopt)\n"
        "target_compile_features(user PRIVATE cxx_std_17)\n"
    )
    prefix = f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}"
    tool("cmake", "-S", tmp_path, "-B", tmp_path / "build", prefix, f"-DOpenVINO_DIR={openvino_cmake()}")
    tool("cmake", "--build", tmp_path / "build")
    tool(tmp_path / "build" / "user")
