"""Engines for the GPU tests. Needs a GPU and TensorRT; of nstopt only what runs engines, so that these tests also run
where torch and onnx are not, with the models made elsewhere (see models.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nstopt.bundle import (
    FORMAT_VERSION,
    BackendInfo,
    Bundle,
    InputShape,
    Manifest,
    NetInfo,
    PrecisionInfo,
    new_bundle,
)
from nstopt.engines.tensorrt.requirements import installed, is_typed, timing_cache_name
from nstopt.gpu.driver import devices
from nstopt.pictures.size import Size, Sizes

from .models import SEVERAL, SIZES, make, name

Build = Callable[..., Bundle]


@pytest.fixture(scope="session", autouse=True)
def _gpu() -> None:
    """Skips where there is nothing to test."""
    if not devices():
        pytest.skip("needs an NVIDIA GPU")
    if installed() is None:
        pytest.skip("needs TensorRT: nstopt doctor says which")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of $NSTOPT_GPU_MODELS, or one made now."""
    if given := os.environ.get("NSTOPT_GPU_MODELS"):
        return Path(given)
    folder = tmp_path_factory.mktemp("models")
    make(folder)
    return folder


@pytest.fixture(scope="session")
def build(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a bundle of a precision and a size, or of all sizes in one plan, each once."""
    from nstopt.engines.tensorrt.build import build_plan
    from nstopt.engines.tensorrt.messages import BuildRequest
    from nstopt.progress import Silent

    done: dict[tuple[str, Sequence[int] | None], Bundle] = {}
    folder = tmp_path_factory.mktemp("bundles")
    device = devices()[0]

    def bundle(precision: str, size: Sequence[int] | None) -> Bundle:
        if (precision, size) in done:
            return done[precision, size]
        if precision == "int8-fp16" and not is_typed(str(installed())):
            pytest.skip("INT8 with FP16 between needs TensorRT 10")
        sizes = () if size else tuple(Size(*one) for one in SIZES)
        model = models / (name(precision, size) if size else SEVERAL)
        shape = InputShape.of(1, Size(*size)) if size else InputShape(1, Sizes(*sizes))

        path = folder / f"{precision}-{size or 'several'}.nst".replace(" ", "")
        with new_bundle(path) as draft:
            cache = folder / timing_cache_name(device)
            request = BuildRequest(str(model), "", precision, tuple((1, *one) for one in sizes), None, str(cache))
            version = build_plan(request, draft.folder, cache, Silent())
            done[precision, size] = draft.commit(
                Manifest(
                    FORMAT_VERSION,
                    NetInfo("sample", "johnson", (), 0, ""),
                    shape,
                    PrecisionInfo(precision, precision, {}),
                    None,
                    None,
                    BackendInfo("tensorrt", device.name, {"tensorrt": version}),
                    {},
                    "",
                )
            )
        return done[precision, size]

    return bundle
