"""The wheel with its base dependencies, which exclude torch, installed for the oldest and the newest Python.

It takes minutes, most of them pip's, so it runs only with NSTOPT_WHEEL=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nstopt
from nstopt.bundle import Bundle

pytestmark = pytest.mark.skipif(os.environ.get("NSTOPT_WHEEL") != "1", reason="takes minutes: set NSTOPT_WHEEL=1")

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.13")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository. Skips where pip reaches no package index."""
    folder = tmp_path_factory.mktemp("wheel")
    reached = _pip(sys.executable, "download", "--no-deps", "--dest", str(folder / "probe"), "hatchling")
    if reached.returncode:
        pytest.skip(f"pip reaches no package index: {reached.stderr.strip().splitlines()[-1]}")
    built = _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY))
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session", params=PYTHONS)
def command(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nstopt command that the wheel installs for a version of Python. Skips where there is no such Python."""
    python = _interpreter(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} with venv here")
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([python, "-m", "venv", folder], check=True)
    installed = _pip(str(folder / "bin" / "python"), "install", "--no-compile", str(wheel))
    assert installed.returncode == 0, installed.stderr
    return folder / "bin" / "nstopt"


def _interpreter(version: str) -> str | None:
    """Path of an interpreter of this version: that of PATH, or one that pyenv installed."""
    name = f"python{version}"
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"), reverse=True)
    for python in filter(None, (shutil.which(name), *map(str, of_pyenv))):
        # pyenv's own command of that name fails where that version is not the active one.
        if subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def _pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True, check=False)


def _run(command: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run nstopt in `folder`, away from the repository's own package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [command, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        (metadata,) = (files.read(name).decode() for name in names if name.endswith("/METADATA"))
    data = ("py.typed", "gpu/gpus.toml", "report/page.html.j2", "samples/johnson_starry.safetensors")
    assert {f"nstopt/{name}" for name in data} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].removesuffix(".dist-info") for name in names} == {
        "nstopt", f"nstopt-{nstopt.__version__}"
    }  # fmt: skip
    base = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert base
    assert not any("torch" in line for line in base)


def test_version_and_help(command: Path, tmp_path: Path) -> None:
    version = _run(command, tmp_path, "--version")
    assert (version.returncode, version.stdout) == (0, f"nstopt {nstopt.__version__}\n"), version.stderr
    assert "build-engine" in _run(command, tmp_path, "--help").stdout
    assert _run(command, tmp_path, "doctor").returncode == 0


def test_a_bundle_is_inspected_and_run(command: Path, int8_bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    inspected = _run(command, tmp_path, "inspect", int8_bundle.path)
    assert inspected.returncode == 0, inspected.stderr
    assert "int8" in inspected.stdout
    stylized = _run(command, tmp_path, "stylize", int8_bundle.path, photos / "0.png", "-o", "out.png")
    assert stylized.returncode == 0, stylized.stderr
    assert (tmp_path / "out.png").is_file()


def test_an_onnx_file_is_built_benched_and_planned(
    command: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "tiny.nst"
    int8 = ("--int8", "--calib", photos, "--res", "48x64", "--min-psnr", 20)
    for arguments in (
        ("build-engine", tiny_onnx, *int8, "-o", bundle),
        ("bench", bundle, "--runs", 3, "--json", "run.json"),
        ("plan", tiny_onnx),
    ):
        done = _run(command, tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert bundle.is_dir()
    assert (tmp_path / "run.json").is_file()


def test_export_says_that_it_needs_torch(command: Path, tmp_path: Path) -> None:
    done = _run(command, tmp_path, "export")
    expected = "error: exporting needs torch, which is not installed: pip install 'nstopt[torch]'\n"
    assert (done.returncode, done.stderr) == (1, expected)
