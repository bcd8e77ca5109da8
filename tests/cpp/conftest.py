"""The builds of cpp/, and the data that the C++ tests read.

Tests that lack their tools are skipped. `make cpp` sets NSTOPT_CPP=all: then missing tools are an error, and the tests
that take long run too.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL, int8_spec

from cpp.building import WHOLE, build_library, cmake, missing
from cpp.data import prepare, prepare_plans, prepare_variants
from nstopt.bundle import Bundle
from nstopt.engines.openvino import core
from nstopt.engines.openvino_bf16 import is_native
from nstopt.pictures.size import Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec

PACKAGES = "cmake g++ nlohmann-json3-dev libssl-dev doctest-dev libstb-dev"


def require_tools() -> None:
    """Skip the test if the build lacks tools; `make cpp` fails then."""
    if lacking := missing():
        reason = f"{', '.join(lacking)} missing: apt-get install {PACKAGES}"
        pytest.fail(reason) if WHOLE else pytest.skip(f"the C++ part is not built: {reason}")


@pytest.fixture(scope="session")
def built() -> Path:
    """The library, its tests and the example, in build/cpp."""
    require_tools()
    return build_library()


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The library and its tests with AddressSanitizer and UndefinedBehaviorSanitizer, in build/cpp-sanitized."""
    if not WHOLE:
        pytest.skip("only `make cpp` builds with sanitizers")
    require_tools()
    return cmake("cpp-sanitized", "-DNSTOPT_TESTS=ON", "-DNSTOPT_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")


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
