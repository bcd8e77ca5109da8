"""Builds of cpp/ with CMake, and the data that the C++ tests read.

The build folders under build/ are kept, so that only changed files are compiled again. Tests that lack their tools are
skipped. `make cpp` sets NSTOPT_CPP=all: then missing tools are an error, and the tests that take long run too.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL, int8_spec

from cpp.data import prepare, prepare_plans, prepare_variants
from nstopt.bundle import Bundle
from nstopt.engines.openvino import core
from nstopt.engines.openvino_bf16 import is_native
from nstopt.pictures.size import Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec

ROOT = Path(__file__).resolve().parents[2]
WHOLE = os.environ.get("NSTOPT_CPP") == "all"
PACKAGES = "cmake g++ nlohmann-json3-dev libssl-dev doctest-dev libstb-dev"
HEADERS = ("nlohmann/json.hpp", "openssl/evp.h", "doctest/doctest.h", "stb/stb_image.h")


def missing() -> list[str]:
    """Return the tools and headers that the build needs and this machine lacks."""
    found = [name for name in ("cmake", "c++") if shutil.which(name) is None]
    folders = [Path("/usr/include"), Path("/usr/local/include"), Path("/opt/homebrew/include")]
    return found + [name for name in HEADERS if not any((folder / name).is_file() for folder in folders)]


def tool(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program, and show its output if it fails."""
    command = [str(argument) for argument in arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done


def openvino_cmake() -> Path:
    """Return the folder of the CMake files in OpenVINO's wheel."""
    spec = importlib.util.find_spec("openvino")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "cmake"


def build(name: str, *options: str) -> Path:
    """Configure and build cpp/ in build/NAME, and return that folder."""
    if lacking := missing():
        reason = f"{', '.join(lacking)} missing: apt-get install {PACKAGES}"
        pytest.fail(reason) if WHOLE else pytest.skip(f"the C++ part is not built: {reason}")
    folder = ROOT / "build" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:  # several test processes may build at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        tool("cmake", "-S", ROOT / "cpp", "-B", folder, f"-DOpenVINO_DIR={openvino_cmake()}", *options)
        tool("cmake", "--build", folder, "--parallel", os.cpu_count())
    return folder


@pytest.fixture(scope="session")
def built() -> Path:
    """The library, its tests and the example, in build/cpp."""
    return build("cpp", "-DNSTOPT_TESTS=ON", "-DNSTOPT_EXAMPLE=ON", f"-DNSTOPT_BENCH={'ON' if WHOLE else 'OFF'}")


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The library and its tests with AddressSanitizer and UndefinedBehaviorSanitizer, in build/cpp-sanitized."""
    if not WHOLE:
        pytest.skip("only `make cpp` builds with sanitizers")
    return build("cpp-sanitized", "-DNSTOPT_TESTS=ON", "-DNSTOPT_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")


@pytest.fixture(scope="session")
def any_bundle(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The OpenVINO bundle of the tiny net in FP32, for any size and any number of pictures."""
    one = tmp_path_factory.mktemp("one")
    shutil.copyfile(photos / "0.png", one / "0.png")
    return build_engine(BuildSpec(tiny_onnx, one, sizes=Sizes(), batch=None, val=one))


@pytest.fixture(scope="session")
def data(
    any_bundle: Bundle, int8_bundle: Bundle, tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that the C++ tests read. It has BF16 engines where the CPU computes in BF16."""
    folder = tmp_path_factory.mktemp("cpp")
    pictures = [(any_bundle, 1, 33, 51), (any_bundle, 3, *SMALL), (any_bundle, 2, 17, 90), (int8_bundle, 1, *SMALL)]
    if is_native(core()):
        for precision in ("bf16", "int8-bf16"):
            pictures.append(
                (build_engine(replace(int8_spec(tiny_onnx, folder / "built", photos), precision=precision)), 1, *SMALL)
            )
    prepare(folder, pictures)
    pair = build_engine(BuildSpec(tiny_onnx, folder / "built", sizes=Sizes(SMALL), batch=2, val=photos))
    prepare_variants(folder, any_bundle, pair)
    prepare_plans(folder)
    return folder
