"""Chooses by measuring: instance norms as basic operators, or as TensorRT's own operator.

TensorRT 8.6.0 and older have that operator only as a plugin that needs a cuDNN handle, which TensorRT gives no plugin
while the tactics of cuDNN are disabled: it is not tried. Later versions may fall back to the plugin; a plan is run once
in the process that builds it, so that a crash there only drops this form.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nstopt.engines.backend import take_turns
from nstopt.engines.tensorrt.build import Plan
from nstopt.engines.tensorrt.session import Session
from nstopt.errors import BuildError
from nstopt.manifest import InputShape, TunedInfo
from nstopt.pictures.noise import noise

LAYER, OPERATORS, OWN = "instance norms", "operators", "own"
# (folder, own norms) → the plan that was built into the folder.
BuildInto = Callable[[Path, bool], Plan]


def faster_norms(build: BuildInto, shape: InputShape, folder: Path) -> tuple[Plan, TunedInfo]:
    """Build both forms for the one size of `shape`, time the plans in turns, and move the files of the faster one into
    `folder`. A plan of TensorRT's own norms that cannot be built, or that crashes, is no choice: build.log says why.
    Raises BuildError, DeviceError."""
    size = shape.sizes.only
    assert size is not None  # --tune asks for one
    feed = {"image": noise(size, shape.batch or 1)}
    with tempfile.TemporaryDirectory(prefix="nstopt-", dir=folder) as temporary:
        folders = {form: Path(temporary) / form for form in (OPERATORS, OWN)}
        plans: dict[str, Plan] = {}
        left_out = ""
        for form, into in folders.items():
            into.mkdir()
            try:
                plans[form] = build(into, form == OWN)
            except BuildError as error:
                if form == OPERATORS:
                    raise
                left_out = f"TensorRT's own norms are left out: {error}\n"
        sessions = [Session((folders[form] / "engine.plan").read_bytes()) for form in plans]
        times = dict(zip(plans, take_turns([partial(session, feed) for session in sessions]), strict=True))
        best = min(times, key=times.__getitem__)
        for file in folders[best].iterdir():
            shutil.move(file, folder / file.name)
    with (folder / "build.log").open("a") as log:
        log.write(left_out)
    return plans[best], TunedInfo(LAYER, best, times)
