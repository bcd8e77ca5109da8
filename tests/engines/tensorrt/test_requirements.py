"""What is asked before TensorRT is touched."""

from __future__ import annotations

import msgspec
import pytest

from nstopt.bundle import BackendInfo, Bundle, Manifest
from nstopt.engines.tensorrt import requirements as gate
from nstopt.errors import BuildError, DeviceError
from nstopt.gpu.driver import GpuDevice
from nstopt.gpu.facts import architectures

GTX_1060 = GpuDevice("NVIDIA GeForce GTX 1060 6GB", (6, 1), 5.9, "535.183", "12.2")
RTX_4060 = GpuDevice("NVIDIA GeForce RTX 4060", (8, 9), 7.6, "570.1", "12.8")
UNHEARD_OF = GpuDevice("NVIDIA Rubin", (15, 0), 100.0, "", "14.0")


def test_half_precision_on_pascal_is_refused_unless_forced() -> None:
    with pytest.raises(BuildError, match=r"FP16 runs at 1/64 of FP32's rate on NVIDIA GeForce GTX 1060 .* --force"):
        gate.check_precision(GTX_1060, "fp16", force=False)
    with pytest.raises(BuildError, match=r"FP16 runs at 1/64 .* build --int8 or FP32"):
        gate.check_precision(GTX_1060, "int8-fp16", force=False)
    gate.check_precision(GTX_1060, "fp16", force=True)
    gate.check_precision(RTX_4060, "int8-fp16", force=False)
    for device, precision in ((GTX_1060, "int8"), (GTX_1060, "fp32"), (RTX_4060, "fp16"), (UNHEARD_OF, "fp16")):
        gate.check_precision(device, precision, force=False)


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
        (UNHEARD_OF, "8.6.0", True),  # nothing is known that speaks against it
        (GTX_1060, gate.UNKNOWN, True),
    ],
)
def test_versions_on_gpus(device: GpuDevice, version: str, runs: bool) -> None:
    if runs:
        gate.check_supported(device, version)
        return
    with pytest.raises(
        DeviceError, match=rf"TensorRT {version} does not run on NVIDIA .* it needs 8\.5 to 8\.6; nstopt doc"
    ):
        gate.check_supported(device, version)


def test_blackwell_needs_a_new_one() -> None:
    blackwell = architectures()["blackwell"]
    assert [gate.runs_on(blackwell, version) for version in ("8.6.1", "10.7.0", "10.8.0", "11.0")] == [
        False,
        False,
        True,
        True,
    ]


def test_a_plan_is_for_one_version_and_one_gpu(int8_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def built_by(version: str, device: str) -> Manifest:
        info = BackendInfo("tensorrt", device, {"tensorrt": version})
        return msgspec.structs.replace(int8_bundle.manifest, backend=info)

    monkeypatch.setattr(gate, "installed", lambda: "8.6.1.post1")
    gate.check_built_for(built_by("8.6.1", GTX_1060.name), GTX_1060)
    with pytest.raises(DeviceError, match=r"tiny: built with TensorRT 8\.5\.3\.1, but 8\.6\.1\.post1 is installed"):
        gate.check_built_for(built_by("8.5.3.1", GTX_1060.name), GTX_1060)
    with pytest.raises(
        DeviceError, match=r"built for NVIDIA GeForce GTX 1060 6GB, but this is NVIDIA GeForce RTX 4060"
    ):
        gate.check_built_for(built_by("8.6.1", GTX_1060.name), RTX_4060)


def test_timing_caches_are_told_apart() -> None:
    names = {gate.timing_cache_name(device) for device in (GTX_1060, RTX_4060)}
    assert len(names) == 2
    assert any(name.endswith("-sm61-geforce-gtx-1060-6gb.timing") for name in names)


@pytest.mark.parametrize("version", ["8.6.1.post1", gate.UNKNOWN])
def test_several_types_need_a_version_that_takes_them_from_the_graph(version: str) -> None:
    gate.check_types("10.0.1", "int8-fp16")
    gate.check_types(version, "fp16")
    with pytest.raises(BuildError, match=rf"needs TensorRT 10 or newer, and {version} is installed: build --int8 or"):
        gate.check_types(version, "int8-fp16")


def test_which_tensorrt_has_its_own_norm() -> None:
    found = [gate.has_own_norm(version) for version in ("8.6.1.post1", "10.0.1", "11.4.0.106", gate.UNKNOWN)]
    assert found == [False, True, True, False]
