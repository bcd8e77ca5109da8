"""The checks before TensorRT is imported."""

from __future__ import annotations

import msgspec
import pytest
from made import MakeBundle

from nstopt.bundle import open_bundle
from nstopt.engines.tensorrt import requirements
from nstopt.errors import BuildError, DeviceError
from nstopt.gpu.driver import GpuDevice
from nstopt.manifest import BackendInfo, Manifest

GTX_1060 = GpuDevice("NVIDIA GeForce GTX 1060 6GB", (6, 1), 5.9, "535.183", "12.2")
RTX_4060 = GpuDevice("NVIDIA GeForce RTX 4060", (8, 9), 7.6, "570.1", "12.8")
RTX_5060 = GpuDevice("NVIDIA GeForce RTX 5060", (12, 0), 7.6, "575.1", "12.9")
UNKNOWN_GPU = GpuDevice("NVIDIA Rubin", (15, 0), 100.0, "", "14.0")


def test_half_precision_on_pascal_is_refused_unless_forced() -> None:
    with pytest.raises(BuildError, match=r"FP16 runs at 1/64 of FP32's rate on NVIDIA GeForce GTX 1060 .* --force"):
        requirements.check_precision(GTX_1060, "fp16", force=False)
    with pytest.raises(BuildError, match=r"FP16 runs at 1/64 .* build --int8 or FP32"):
        requirements.check_precision(GTX_1060, "int8-fp16", force=False)
    requirements.check_precision(GTX_1060, "fp16", force=True)
    requirements.check_precision(RTX_4060, "int8-fp16", force=False)
    for device, precision in ((GTX_1060, "int8"), (GTX_1060, "fp32"), (RTX_4060, "fp16"), (UNKNOWN_GPU, "fp16")):
        requirements.check_precision(device, precision, force=False)


@pytest.mark.parametrize(
    ("device", "version", "runs"),
    [
        (GTX_1060, "8.5.3.1", True),
        (GTX_1060, "8.6.1.post1", True),
        (GTX_1060, "8.4.1", False),
        (GTX_1060, "10.0.1", False),
        (GTX_1060, "11.1.0.106", False),
        (RTX_4060, "8.6.0", True),
        (RTX_4060, "11.4.0.106", True),
        (RTX_5060, "8.6.1", False),
        (RTX_5060, "10.7.0", False),
        (RTX_5060, "10.8.0", True),
        (RTX_5060, "11.0", True),
        (UNKNOWN_GPU, "8.6.0", True),  # not in the table: nothing is known against it
        (GTX_1060, requirements.UNKNOWN, True),
    ],
)
def test_supported_versions(device: GpuDevice, version: str, runs: bool) -> None:
    if runs:
        requirements.check_supported(device, version)
        return
    lines = r"8\.5 to 8\.6" if device is GTX_1060 else r"10\.8 to the newest"
    with pytest.raises(
        DeviceError, match=rf"TensorRT {version} does not run on NVIDIA .* it needs {lines}; nstopt doc"
    ):
        requirements.check_supported(device, version)


def test_a_plan_is_for_one_version_and_one_gpu(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = open_bundle(make_bundle("wave")).manifest

    def built_by(version: str, device: str) -> Manifest:
        info = BackendInfo("tensorrt", device, {"tensorrt": version})
        return msgspec.structs.replace(manifest, backend=info)

    monkeypatch.setattr(requirements, "installed", lambda: "8.6.1.post1")
    requirements.check_built_for(built_by("8.6.1", GTX_1060.name), GTX_1060)
    with pytest.raises(DeviceError, match=r"wave: built with TensorRT 8\.5\.3\.1, but 8\.6\.1\.post1 is installed"):
        requirements.check_built_for(built_by("8.5.3.1", GTX_1060.name), GTX_1060)
    with pytest.raises(
        DeviceError, match=r"built for NVIDIA GeForce GTX 1060 6GB, but this is NVIDIA GeForce RTX 4060"
    ):
        requirements.check_built_for(built_by("8.6.1", GTX_1060.name), RTX_4060)


def test_each_gpu_has_its_own_timing_cache() -> None:
    names = {requirements.timing_cache_name(device) for device in (GTX_1060, RTX_4060)}
    assert len(names) == 2
    assert any(name.endswith("-sm61-geforce-gtx-1060-6gb.timing") for name in names)


@pytest.mark.parametrize("version", ["8.6.1.post1", requirements.UNKNOWN])
def test_int8_with_fp16_needs_strongly_typed_networks(version: str) -> None:
    requirements.check_types("10.0.1", "int8-fp16")
    requirements.check_types(version, "fp16")
    with pytest.raises(BuildError, match=rf"needs TensorRT 10 or newer, and {version} is installed: build --int8 or"):
        requirements.check_types(version, "int8-fp16")


def test_norms_without_cudnn_begin_with_8_6_1() -> None:
    versions = ("8.5.3.1", "8.6.0", "8.6.1", "8.6.1.post1", "11.4.0.106", requirements.UNKNOWN)
    assert [requirements.has_own_norm(version) for version in versions] == [False, False, True, True, True, False]


def test_tf32_begins_with_ampere() -> None:
    requirements.check_tf32(RTX_4060)
    with pytest.raises(BuildError, match="GTX 1060 6GB has no TF32, which begins with Ampere: leave --tf32 out"):
        requirements.check_tf32(GTX_1060)
