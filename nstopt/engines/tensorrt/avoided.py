"""The forms that failed in a smoke test of this GPU and this version of TensorRT; builds avoid them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nstopt.engines.tensorrt.requirements import label_of
from nstopt.files import atomic_path, cache_folder
from nstopt.gpu.driver import GpuDevice


def path_of(device: GpuDevice) -> Path:
    """Return the file that keeps the forms to avoid on a GPU with the TensorRT that is installed."""
    return cache_folder() / f"{label_of(device)}.avoided.json"


def read_avoided(device: GpuDevice) -> frozenset[str]:
    """Return the names of the forms to avoid (`smoke.TRIALS`). A missing or damaged file holds none: the smoke test can
    be run again."""
    try:
        return frozenset(msgspec.json.decode(path_of(device).read_bytes(), type=list[str]))
    except (OSError, msgspec.DecodeError):
        return frozenset()


def write_avoided(device: GpuDevice, names: frozenset[str]) -> None:
    """Keep the names of the forms to avoid, in place of earlier ones. Raises OSError."""
    with atomic_path(path_of(device)) as temporary:
        temporary.write_bytes(msgspec.json.encode(sorted(names)))
