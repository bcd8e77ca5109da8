"""Reports on GPUs that are not here, and on a machine without one."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from nstopt.cli import app
from nstopt.errors import DeviceError
from nstopt.gpu import doctor
from nstopt.gpu.doctor import PIP_GPU, PIP_GPU_CUDA_12, PIP_PASCAL, Line, Report, command, examine
from nstopt.gpu.driver import GpuDevice, count_gpus, devices
from nstopt.gpu.facts import architectures, gpus


def findings(report: Report) -> dict[str, str]:
    return {line.what: line.finding for line in report.lines}


@pytest.mark.parametrize("name", list(gpus()))
def test_every_gpu_has_a_report(name: str) -> None:
    (report,) = examine(name)
    found = findings(report)
    assert report.title == gpus()[name].title
    assert {"generation", "memory", "FP32", "FP16", "INT8", "TensorRT", "torch", "cuDNN"} <= found.keys()
    assert report.command
    assert all(line.fits is None for line in report.lines)  # installed packages say nothing about a GPU elsewhere


def test_pascal() -> None:
    (report,) = examine("gtx-1060")
    found = findings(report)
    assert found["FP16"] == "0.07 TFLOPS at most, 1/64 of FP32: not worth building"
    assert found["INT8"] == "17.50 TOPS at most, 4× FP32"
    assert found["TensorRT"] == "8.5 to 8.6"
    assert found["torch"] == "2.0 to 2.14, from its index cu126"
    assert report.command.startswith(PIP_PASCAL)


def test_blackwell_names_its_oldest_software() -> None:
    (report,) = examine("rtx-5060")
    found = findings(report)
    assert found["TensorRT"] == "10.8 and newer"
    assert found["CUDA bindings"] == "12.8 and newer"
    assert found["torch"] == "2.7 and newer"


def test_commands() -> None:
    known = architectures()
    assert command(known["ada"]) == command(known["ada"], "13.0") == PIP_GPU
    assert command(known["ada"], "12.8") == PIP_GPU_CUDA_12
    assert "tensorrt<=10.4.99" in command(known["volta"])
    assert "jetpack" in command(known["ampere-orin"])


def test_a_gpu_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(cuda: str) -> tuple[str, dict[str, Line]]:
        pascal = GpuDevice("NVIDIA GeForce GTX 1060 6GB", (6, 1), 5.9, "", cuda)
        ada = GpuDevice("NVIDIA GeForce RTX 4060", (8, 9), 7.6, "", cuda)
        monkeypatch.setattr(doctor, "devices", lambda: (pascal, ada))
        _, report = examine()
        return report.command, {line.what: line for line in report.lines}

    installed = {"torch": "2.13.0+cpu", "tensorrt": "11.4.0", "tensorrt-cu13-libs": "11.4.0", "cuda-python": "12.9"}
    monkeypatch.setattr(doctor, "_installed", lambda names: next((installed[n] for n in names if n in installed), None))
    needed, found = here("12.8")
    assert found["torch"].fits is None
    assert "2.13.0+cpu installed, enough for nstopt; on the GPU itself: 2.0 and newer" in found["torch"].finding
    assert found["TensorRT"] == Line("TensorRT", "11.4.0 installed, for CUDA 13, which the driver does not run", False)
    assert needed == PIP_GPU_CUDA_12
    needed, found = here("13.1")
    assert found["TensorRT"].fits is found["CUDA bindings"].fits is True
    assert (found["driver"].fits, needed) == (None, "")
    assert here("11.4")[1]["driver"].fits is False


def test_tensorrt_8_needs_cudnn_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's builds for CUDA replace it by cuDNN 9."""
    pascal = GpuDevice("NVIDIA GeForce GTX 1060 6GB", (6, 1), 5.9, "580.95", "13.0")
    monkeypatch.setattr(doctor, "devices", lambda: (pascal,))

    def cudnn(version: str, tensorrt: str) -> Line:
        installed = {"nvidia-cudnn-cu12": version, "tensorrt": tensorrt}
        monkeypatch.setattr(doctor, "_installed", lambda names: next(filter(None, map(installed.get, names)), None))
        (report,) = examine()
        found = {line.what: line for line in report.lines}
        assert found["driver"].finding.endswith("runs CUDA up to 13.0; r580 is the last branch")
        return found["cuDNN"]

    assert cudnn("8.9.7.29", "8.6.0").fits is True
    assert cudnn("9.10.2.21", "8.6.0").fits is False
    assert "9.10.2.21 installed, but TensorRT 8 loads cuDNN 8: pip install 'nvidia-cudnn-cu12<9'" in (
        cudnn("9.10.2.21", "8.6.0").finding
    )
    assert cudnn("9.10.2.21", "10.8.0").fits is True


def test_pascal_has_a_last_driver() -> None:
    (report,) = examine("gtx-1060")
    assert findings(report)["driver"] == "up to r580, the last branch for it"


def test_an_unknown_gpu() -> None:
    with pytest.raises(DeviceError, match="no GPU 'voodoo2' is known; there are: gtx-1050ti, "):
        examine("voodoo2")


def test_a_machine_without_a_gpu() -> None:
    if count_gpus():
        pytest.skip("this machine has an NVIDIA GPU")
    assert devices() == ()
    assert examine() == ()
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 0
    assert "no NVIDIA GPU" in shown.output
    assert "nstopt doctor --target gtx-1060" in shown.output


def test_the_command_for_a_named_gpu() -> None:
    shown = CliRunner().invoke(app, ["doctor", "--target", "rtx-4060"])
    assert shown.exit_code == 0
    assert "Ada Lovelace, compute capability 8.9" in shown.output
    assert f"install with: {PIP_GPU}" in shown.output
