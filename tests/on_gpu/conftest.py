"""Bundles for the GPU tests. They need a GPU and TensorRT, but neither torch nor onnx if the models were made elsewhere
(see models.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from nstopt.bundle import Bundle, evidence_of, new_bundle
from nstopt.engines.tensorrt.requirements import check_precision, installed, is_typed, timing_cache_name
from nstopt.errors import BuildError
from nstopt.gpu.driver import devices
from nstopt.manifest import FORMAT_VERSION, BackendInfo, InputShape, Manifest, NetInfo, PrecisionInfo
from nstopt.pictures.size import Size, Sizes

from .models import SEVERAL, SIZES, make, name, types_file

Build = Callable[..., Bundle]


@pytest.fixture(scope="session", autouse=True)
def _gpu() -> None:
    """Skips all tests on a machine without a GPU or TensorRT."""
    if not devices():
        pytest.skip("needs an NVIDIA GPU")
    if installed() is None:
        pytest.skip("needs TensorRT: nstopt doctor says which")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder $NSTOPT_GPU_MODELS, or makes the models in a new one."""
    if given := os.environ.get("NSTOPT_GPU_MODELS"):
        return Path(given)
    folder = tmp_path_factory.mktemp("models")
    make(folder)
    return folder


@pytest.fixture(scope="session")
def build(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds the bundle of a precision for one size, or for all sizes in one plan if the size is None; each once."""
    from nstopt.engines.tensorrt.build import build_plan
    from nstopt.engines.tensorrt.messages import BuildRequest, GraphInfo
    from nstopt.progress import Silent

    built: dict[tuple[str, Sequence[int] | None], Bundle] = {}
    folder = tmp_path_factory.mktemp("bundles")
    device = devices()[0]

    def bundle(precision: str, size: Sequence[int] | None) -> Bundle:
        if (precision, size) in built:
            return built[precision, size]
        if precision == "int8-fp16" and not is_typed(str(installed())):
            pytest.skip("INT8 with FP16 between needs TensorRT 10")
        try:
            check_precision(device, precision, force=False)
        except BuildError as error:
            pytest.skip(str(error))
        sizes = () if size else tuple(Size(*each) for each in SIZES)
        model = models / (name(precision, size) if size else SEVERAL)
        shape = InputShape.of(1, Size(*size)) if size else InputShape(1, Sizes(*sizes))

        path = folder / f"{precision}-{size or 'several'}.nst".replace(" ", "")
        with new_bundle(path) as draft:
            cache = folder / timing_cache_name(device)
            types = msgspec.json.decode(types_file(model).read_bytes(), type=GraphInfo)
            shapes = tuple((1, *each) for each in sizes)
            request = BuildRequest(str(model), "", precision, types, shapes, None, str(cache))
            plan = build_plan(request, draft.folder, cache, Silent(), evidence_of(path))
            built[precision, size] = draft.commit(
                Manifest(
                    FORMAT_VERSION,
                    NetInfo("sample", "johnson", (), 0, ""),
                    shape,
                    PrecisionInfo(precision, plan.types.computes, {}, plan.types.differences),
                    None,
                    None,
                    BackendInfo("tensorrt", device.name, {"tensorrt": plan.version}),
                    {},
                    "",
                )
            )
        return built[precision, size]

    return bundle
