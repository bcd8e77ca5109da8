"""BF16 in OpenVINO: the types that its kernels compute in, the picture, and CPUs without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import openvino as ov
import pytest
from conftest import SMALL, noise

import nstopt
from nstopt import engines
from nstopt.bundle import Bundle, open_bundle
from nstopt.calib.placeholder import quantize_with_placeholders
from nstopt.engines import openvino
from nstopt.engines.backend import Source
from nstopt.engines.openvino import MODEL, PRECISION_ENTRY, core
from nstopt.engines.openvino_bf16 import is_native, keep_sums
from nstopt.errors import DeviceError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.lower import int8_inputs, lower
from nstopt.pipeline.spec import BuildSpec

needs_bf16 = pytest.mark.skipif(not is_native(core()), reason="this CPU has no BF16 arithmetic")
CONVOLUTIONS = ("Convolution", "Deconvolution")


def kernel_types(path: Path) -> dict[str, tuple[str, str]]:
    """The type that each convolution computes in and the type that it writes, by name."""
    model = core().compile_model(path, "CPU", openvino.config("bf16"))
    found = {}
    for kernel in model.get_runtime_model().get_ordered_ops():
        info = kernel.get_rt_info()
        if info["layerType"].astype(str) in CONVOLUTIONS:
            name = info["originalLayersNames"].astype(str).split(",")[0]
            found[name] = (info["runtimePrecision"].astype(str), info["outputPrecisions"].astype(str))
    return found


@pytest.fixture(scope="module")
def bf16_bundle(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bf16")
    spec = BuildSpec(tiny_onnx, folder, precision="bf16", sizes=Sizes(SMALL), val=photos)
    return build_engine(spec)


@needs_bf16
def test_the_bundle_says_what_it_computes_in(bf16_bundle: Bundle) -> None:
    manifest = open_bundle(bf16_bundle.path).manifest
    assert bf16_bundle.path.name == "tiny-48x64-bf16.nst"
    assert (manifest.precision.asked, manifest.precision.computes) == ("bf16", "bf16")
    assert set(manifest.precision.layers.values()) == {"bf16"}
    assert manifest.calibration is None
    assert manifest.quality
    assert 40 < manifest.quality.psnr_db_mean < 75  # close to FP32, and not FP32 itself
    model = core().read_model(bf16_bundle.path / MODEL)
    assert model.get_rt_info(PRECISION_ENTRY).astype(str) == "bf16"


@needs_bf16
def test_every_convolution_multiplies_in_bf16(bf16_bundle: Bundle) -> None:
    types = kernel_types(bf16_bundle.path / MODEL)
    assert len(types) == 8
    assert {computes for computes, _ in types.values()} == {"bf16"}


@needs_bf16
@pytest.mark.parametrize("sizes", [InputShape.of(1, Size(96, 128)), InputShape.of(None, None)])
def test_small_sums_and_the_last_stay_in_fp32(tiny_onnx: Path, tmp_path: Path, sizes: InputShape) -> None:
    lowered = lower(onnx.load(tiny_onnx), sizes, engines.backend("openvino"), "bf16")
    model = core().read_model(lowered.model.SerializeToString())
    keep_sums(model, 3)
    ov.save_model(model, tmp_path / "model.xml")
    written = [out for _, out in kernel_types(tmp_path / "model.xml").values()]
    # Three downwards and two in the block, of which three write the fewest numbers; then two transposed, and the last.
    assert written == ["bf16", "bf16", *["f32"] * 3, "bf16", "bf16", "f32"]


@needs_bf16
def test_pictures_are_closer_with_fp32_sums(bf16_bundle: Bundle, tiny_onnx: Path) -> None:
    lowered = lower(onnx.load(tiny_onnx), InputShape.of(1, SMALL), engines.backend("openvino"), "bf16")
    plain = engines.backend("openvino").compile(lowered.model.SerializeToString(), "bf16")
    exact = engines.backend("openvino").compile(lowered.reference.SerializeToString(), "fp32")
    errors = {"plain": 0.0, "kept": 0.0}
    with nstopt.load(bf16_bundle.path) as engine:
        for seed in range(6):
            picture = noise(*SMALL, seed)
            wanted = exact({"image": picture[None]})[0][0].astype(float)
            errors["plain"] += ((plain({"image": picture[None]})[0][0] - wanted) ** 2).mean()
            errors["kept"] += ((engine(picture) - wanted) ** 2).mean()
    assert errors["kept"] < errors["plain"]


def test_a_cpu_without_bf16_refuses_to_build_and_to_load(
    tiny_onnx: Path, bf16_or_any: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "is_native", lambda core: False)
    said = r"bf16 needs a CPU with BF16 arithmetic \(AVX512-BF16 or AMX\), and this one \(.+\) would only emulate it"
    for precision in ("bf16", "int8-bf16"):
        with pytest.raises(DeviceError, match=said):
            build_engine(BuildSpec(tiny_onnx, tmp_path, precision=precision, sizes=Sizes(SMALL)))
    assert not list(tmp_path.iterdir())
    if bf16_or_any.manifest.precision.asked == "bf16":
        with pytest.raises(DeviceError, match=said):
            nstopt.load(bf16_or_any.path)


@pytest.fixture
def bf16_or_any(request: pytest.FixtureRequest, int8_bundle: Bundle) -> Bundle:
    """The BF16 bundle where this CPU can build it."""
    if not is_native(core()):
        return int8_bundle
    found: Bundle = request.getfixturevalue("bf16_bundle")
    return found


def test_other_precisions_leave_the_hint_alone() -> None:
    hints = {name: openvino.config(name)["INFERENCE_PRECISION_HINT"] for name in ("fp32", "fp16", "int8")}
    assert set(hints.values()) == {"f32"}
    assert openvino.config("int8-bf16")["INFERENCE_PRECISION_HINT"] == "bf16"


@needs_bf16
def test_transposed_convolutions_of_int8_write_bf16(tiny_onnx: Path, tmp_path: Path) -> None:
    backend = engines.backend("openvino")
    lowered = lower(onnx.load(tiny_onnx), InputShape.of(1, SMALL), backend, "int8-bf16")
    transposed = [node.name for node in lowered.model.graph.node if node.op_type == "ConvTranspose"]
    assert len(transposed) == 2
    source = Source(tmp_path / "model.onnx")
    for norms, wanted in ((False, "bf16"), (True, "i8")):
        inputs = replace(int8_inputs(backend), norms=norms)
        onnx.save(quantize_with_placeholders(lowered.rewritten, inputs), source.onnx)
        backend.build(source, InputShape.of(1, SMALL), "int8-bf16", tmp_path)
        written = {name: out for name, (_, out) in kernel_types(tmp_path / MODEL).items()}
        assert {written[name] for name in transposed} == {wanted}
