"""Chooses by measuring: instance norms as basic operators, or as TensorRT's own operator; and where the graph is INT8
with FP16 between, scales in FP32 or FP16.

TensorRT 8.6.0 and older have the operator only as a plugin that needs a cuDNN handle, which TensorRT gives no plugin
while the tactics of cuDNN are disabled: it is not tried. Later versions may fall back to the plugin; a plan is run once
in the process that builds it, so that a crash there only drops this form.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from nstopt.engines.backend import take_turns
from nstopt.engines.tensorrt.build import Plan
from nstopt.engines.tensorrt.forms import Forms
from nstopt.engines.tensorrt.session import Session
from nstopt.errors import BuildError
from nstopt.manifest import InputShape, TunedInfo
from nstopt.pictures.noise import noise

LAYER = "norms and scales"
# (folder, forms) → the plan that was built into the folder.
BuildInto = Callable[[Path, Forms], Plan]


def fastest_forms(
    build: BuildInto, choices: Mapping[str, Forms], shape: InputShape, folder: Path
) -> tuple[Plan, TunedInfo]:
    """Build `choices`, the default first, for the one size of `shape`, time the plans in turns, and move the files of
    the fastest one into `folder`. A plan that cannot be built, or that crashes, is no choice, unless it is the default:
    build.log says why. Raises BuildError, DeviceError."""
    size = shape.sizes.only
    assert size is not None  # --tune asks for one
    feed = {"image": noise(size, shape.batch or 1)}
    with tempfile.TemporaryDirectory(prefix="nstopt-", dir=folder) as temporary:
        folders = {name: Path(temporary) / name for name in choices}
        plans: dict[str, Plan] = {}
        left_out = []
        for name, into in folders.items():
            into.mkdir()
            try:
                plans[name] = build(into, choices[name])
            except BuildError as error:
                if not plans:
                    raise
                left_out.append(f"--tune leaves out {name}: {error}\n")
        sessions = [Session((folders[name] / "engine.plan").read_bytes()) for name in plans]
        times = dict(zip(plans, take_turns([partial(session, feed) for session in sessions]), strict=True))
        best = min(times, key=times.__getitem__)
        for file in folders[best].iterdir():
            shutil.move(file, folder / file.name)
    with (folder / "build.log").open("a") as log:
        log.writelines(left_out)
    return plans[best], TunedInfo(LAYER, best, times)
