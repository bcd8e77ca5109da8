"""The finishing of a BF16 engine: centered channels, and FP32 sums only as far as the picture needs them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from nstopt.bundle import read_files
from nstopt.calib import picture_sets
from nstopt.calib.calibrate import Stylize
from nstopt.calib.center import center
from nstopt.calib.quality import psnr_db
from nstopt.engines.backend import Backend, BuildOptions, Source
from nstopt.pipeline.spec import BuildSpec
from nstopt.progress import Progress

# PSNR that a BF16 engine aims at on scikit-image's photographs, in dB. These have dark and even areas, which are hard:
# it is about 58 dB on other photographs.
AIM_DB = 57.5
# Smallest gain for which FP32 sums are worth their time.
MIN_GAIN_DB = 0.1
# Numbers of convolutions that pass FP32 on to their norms. Each costs about 1% of the time, and so all of wave 17%
# (docs/performance.md).
COUNTS = (0, 4, 8, 16, 1000)


def centered(spec: BuildSpec, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an FP32 graph whose channels before norms are centered on scikit-image's photographs."""
    return center(model, picture_sets.demo().load(spec.sizes.first), spec.judged_batch)


def choose_fp32_sums(
    spec: BuildSpec, backend: Backend, model: onnx.ModelProto, exact: Stylize, progress: Progress
) -> int:
    """Return the first of COUNTS that reaches AIM_DB on scikit-image's photographs, or else the best one. `exact` is
    the FP32 net as a function of a picture."""
    pictures = list(picture_sets.demo().load(spec.sizes.first))
    best, best_db = COUNTS[0], -np.inf
    for count in COUNTS:
        progress.step(f"choosing FP32 sums (at most {count})")
        with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
            source = Source(Path(temporary) / "model.onnx")
            onnx.save(model, source.onnx)
            backend.build(source, spec.shape, spec.precision, Path(temporary), BuildOptions(fp32_sums=count))
            with backend.load(read_files(Path(temporary)), spec.shape, "bf16") as engine:
                results = [engine(np.repeat(one[None], spec.judged_batch, axis=0))[0] for one in pictures]
        reached_db = float(np.mean([psnr_db(ours, exact(one)) for ours, one in zip(results, pictures, strict=True)]))
        if reached_db > best_db + MIN_GAIN_DB:
            best, best_db = count, reached_db
        if reached_db >= AIM_DB:
            break
    return best
