"""Builds of cpp/ with CMake. `python -m cpp.building`, in tests/, builds what the tests need, if its tools are there.

The build folders under build/ are kept, so that only changed files are compiled again.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHOLE = os.environ.get("NSTOPT_CPP") == "all"
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


def cmake(name: str, *options: str) -> Path:
    """Configure and build cpp/ in build/NAME, and return that folder."""
    folder = ROOT / "build" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:  # several test processes may build at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        tool("cmake", "-S", ROOT / "cpp", "-B", folder, f"-DOpenVINO_DIR={openvino_cmake()}", *options)
        tool("cmake", "--build", folder, "--parallel", os.cpu_count())
    return folder


def build_library() -> Path:
    """Build the library, its tests and the example in build/cpp."""
    bench = "ON" if WHOLE else "OFF"
    return cmake("cpp", "-DNSTOPT_TESTS=ON", "-DNSTOPT_EXAMPLE=ON", f"-DNSTOPT_BENCH={bench}")


if __name__ == "__main__" and not missing():
    build_library()
