"""The engine for a machine on which nothing was built yet: the bundled net's fastest, built once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nstopt import engines
from nstopt.bench.fastest import build_fastest
from nstopt.bundle import open_bundle
from nstopt.errors import BundleError
from nstopt.export.metadata import read_info
from nstopt.export.onnx_file import read_onnx
from nstopt.files import cache_folder
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.ensure import export
from nstopt.pipeline.fingerprint import is_engine_up_to_date
from nstopt.pipeline.spec import BuildSpec
from nstopt.progress import Progress
from nstopt.samples import SAMPLES

# The net that runs in real time on the slowest machines.
NET = SAMPLES["realtime_starry"]


def default_engine(size: Size | None, progress: Progress, say: Callable[[str], None]) -> Path:
    """Return the fastest engine of the bundled net for pictures of `size`; for any size, one of OpenVINO in the fastest
    precision that needs no calibration. It is built if it is not in the cache, and `say` gets a line then.

    Raises DeviceError if torch, which exports the net, is not installed."""
    folder = cache_folder() / "live"
    model = export(NET, folder, {}, progress=progress)
    output = folder / f"{NET.stem}-{size or 'dynamic'}.nst"
    spec = BuildSpec(model, folder, output, sizes=Sizes(size) if size else Sizes())
    if _is_kept(spec):
        return spec.bundle_path()
    say(f"building the bundled net {NET.stem} for {spec.sizes}, once; next time it starts at once")
    if size:
        return build_fastest(spec, progress).bundle.path
    native = [one for one in ("bf16", "fp32") if engines.backend(spec.backend).is_native(one)]
    return build_engine(replace(spec, precision=native[0]), progress).path


def _is_kept(spec: BuildSpec) -> bool:
    try:
        manifest = open_bundle(spec.bundle_path()).manifest
    except BundleError:
        return False
    kept = replace(spec, backend=manifest.backend.name, precision=manifest.precision.asked)
    return is_engine_up_to_date(kept, read_info(read_onnx(spec.model), spec.model))
