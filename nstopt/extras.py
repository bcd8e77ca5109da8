"""Optional packages: the extra of nstopt that installs each, and the error if one is missing."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from nstopt.errors import DeviceError

EXTRAS = {
    "cv2": "stabilize",
    "ray": "ray",
    "torch": "torch",
    "jinja2": "report",
    "matplotlib": "report",
    "nncf": "peers",
    "aiohttp": "live",
    "aiortc": "live",
    "pygame": "window",
    "pyvirtualcam": "virtual-camera",
}
# Modules that import an optional package at their top, and the task that the message names.
TASKS = {
    "nstopt.export": "exporting",
    "nstopt.nets": "reading a net's own file",
    "nstopt.train": "training",
    "nstopt.live.page": "the page",
    "nstopt.live.window": "a window",
    "nstopt.live.virtual_camera": "a virtual camera",
    "nstopt.engines.torchscript": "the torchscript backend",
    "nstopt.pictures.motion": "--stabilize",
    "nstopt.cluster": "--ray",
}


def require(package: str, task: str) -> None:
    """Raise DeviceError if an optional package is not installed. The package is not imported."""
    if importlib.util.find_spec(package) is None:
        raise _missing(package, task)


@contextmanager
def explain_missing_packages() -> Iterator[None]:
    """Raise DeviceError, with the command that helps, where the block imports an optional package that is missing.

    The message names the task of the outermost module of TASKS in the traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        modules = [f"{frame.f_globals['__name__']}." for frame, _ in traceback.walk_tb(error.__traceback__)]
        tasks = [task for module in modules for home, task in TASKS.items() if module.startswith(f"{home}.")]
        raise _missing(error.name, tasks[0] if tasks else "this command") from error


def _missing(package: str, task: str) -> DeviceError:
    return DeviceError(f"{task} needs {package}, which is not installed: pip install 'nstopt[{EXTRAS[package]}]'")
