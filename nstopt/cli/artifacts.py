"""The folder for artifacts without a path of their own, and the newest artifact in it, which a command takes when none
is named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nstopt.bundle import MANIFEST, SUFFIX
from nstopt.errors import BuildError, BundleError

FOLDER = Path("nstopt-out")
RUN_PREFIX = "bench-"


def newest_onnx() -> Path:
    """Return the newest ONNX file in ./nstopt-out. Raises BuildError if there is none."""
    found = _newest(FOLDER.glob("*.onnx"))
    if found is None:
        raise BuildError(f"no ONNX file in ./{FOLDER}: name one, or run nstopt export first")
    return found


def newest_bundle() -> Path:
    """Return the newest engine bundle in ./nstopt-out. Raises BundleError if there is none."""
    manifests = FOLDER.glob(f"*{SUFFIX}/{MANIFEST}")
    found = _newest(path for path in manifests if not path.parent.name.startswith("."))
    if found is None:
        raise BundleError(f"no engine bundle in ./{FOLDER}: name one, or run nstopt build-engine first")
    return found.parent


def newest_run() -> Path:
    """Return the newest run file of `nstopt bench` in ./nstopt-out. Raises BuildError if there is none."""
    found = _newest(FOLDER.glob(f"{RUN_PREFIX}*.json"))
    if found is None:
        raise BuildError(f"no run file in ./{FOLDER}: name one, or run nstopt bench first")
    return found


def _newest(files: Iterable[Path]) -> Path | None:
    """Temporary files start with a dot and do not count."""
    finished = [path for path in files if not path.name.startswith(".")]
    return max(finished, key=lambda path: path.stat().st_mtime_ns, default=None)
