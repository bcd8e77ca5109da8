"""Where artifacts go when no path is given, and which one a command takes when none is named: the newest."""

from __future__ import annotations

from pathlib import Path

from nstopt.bundle import MANIFEST, SUFFIX
from nstopt.errors import BuildError, BundleError

FOLDER = Path("nstopt-out")


def newest_onnx() -> Path:
    """The newest ONNX file in ./nstopt-out. Raises BuildError if there is none."""
    files = [path for path in FOLDER.glob("*.onnx") if not path.name.startswith(".")]
    if not files:
        raise BuildError(f"no ONNX file in ./{FOLDER}: name one, or run nstopt export first")
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def newest_bundle() -> Path:
    """The newest engine bundle in ./nstopt-out. Raises BundleError if there is none."""
    bundles = [path.parent for path in FOLDER.glob(f"*{SUFFIX}/{MANIFEST}") if not path.parent.name.startswith(".")]
    if not bundles:
        raise BundleError(f"no engine bundle in ./{FOLDER}: name one, or run nstopt build-engine first")
    return max(bundles, key=lambda path: (path / MANIFEST).stat().st_mtime_ns)
