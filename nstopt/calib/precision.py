"""FP32 graph → graph of the precision asked for, and the record of how it was made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import nstopt
from nstopt.bundle import CalibrationInfo, CandidateInfo
from nstopt.calib import cache
from nstopt.calib.coverage import coverage
from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.search import Candidate, QualityTarget, Render, Search
from nstopt.calib.statistics import CalibrationStats, collect
from nstopt.errors import CalibrationError
from nstopt.graph.nodes import multiplying
from nstopt.pictures.size import Size
from nstopt.progress import Progress

INT8_METHOD = (
    "8-bit inputs of convolutions; int8 weights per channel, rounded with feedback; channels equalized through the "
    "norms; exponents, ranges, rounding and levels of layers searched by the error of the picture"
)
# Pictures that candidates of the search are judged by, spread over the calibration set.
SEARCHED_PICTURES = 6


@dataclass(frozen=True)
class Calibration:
    """What INT8 is found with: `pictures`, run at `size` and in batches of `batch`; the `inputs` that convolutions may
    have; the backend as a judge of candidates, and `judge`, which names it; and how close to FP32 the picture shall
    be."""

    pictures: PictureSet | None
    size: Size
    batch: int
    inputs: Int8Inputs
    render: Render
    judge: str
    aim: QualityTarget


class Precise(NamedTuple):
    """`layers`: level of each convolution by name; `calibration` and `search` say how INT8 was found. `search` holds
    all candidates."""

    model: onnx.ModelProto
    layers: dict[str, str]
    calibration: CalibrationInfo | None
    search: tuple[CandidateInfo, ...]


def to_precision(model: onnx.ModelProto, precision: str, calibration: Calibration, progress: Progress) -> Precise:
    """Put `precision` into FP32 `model` (I/O contract, shapes inferred, convolutions named).

    Raises CalibrationError if INT8 has no pictures, or if the net gives no finite activations on them.
    """
    layers = {node.name: precision for node in multiplying(model.graph)}
    if precision == "fp16":
        return Precise(to_fp16(model), layers, None, ())
    if precision == "int8":
        return _to_int8(model, calibration, progress)
    if precision == "int8-fp16":
        int8 = _to_int8(model, calibration, progress)
        layers = {name: "fp16" if level == "fp32" else level for name, level in int8.layers.items()}
        return int8._replace(model=to_int8_fp16(int8.model), layers=layers)
    return Precise(model, layers, None, ())


def _to_int8(model: onnx.ModelProto, calibration: Calibration, progress: Progress) -> Precise:
    pictures = calibration.pictures
    if pictures is None:
        raise CalibrationError("INT8 needs pictures to find its ranges from: give a folder of photographs with --calib")
    name = cache.key(
        (
            f"nstopt {nstopt.__version__} {INT8_METHOD}",
            model.SerializeToString(deterministic=True),
            f"{pictures.sha256} {len(pictures.pictures)} {calibration.size} {calibration.batch}",
            f"{calibration.judge} {calibration.inputs} {calibration.aim}",
        )
    )
    if (known := cache.load(name)) is not None:
        found, entry = known
        return Precise(found, entry.layers, entry.calibration, entry.search)
    precise = _search(model, calibration, pictures, progress)
    assert precise.calibration is not None
    # A cache that cannot be written costs time later, and nothing else.
    with contextlib.suppress(OSError):
        cache.store(name, precise.model, precise.layers, precise.calibration, precise.search)
    return precise


def _search(model: onnx.ModelProto, calibration: Calibration, pictures: PictureSet, progress: Progress) -> Precise:
    # Threads of BLAS go on spinning after their work, beside the backend's: with one, a search on two cores takes a
    # quarter less.
    with threadpool_limits(1, user_api="blas"):
        seen, judged = collect_from_set(model, calibration, pictures, progress)
        search = Search(model, seen, calibration.inputs, calibration.render, judged)
        best = search.run(calibration.aim, progress)
        found = search.build(best.recipe)
    layers = {node.name: best.recipe.levels.get(node.name, "int8") for node in multiplying(model.graph)}
    count, kinds = len(pictures.pictures), coverage(pictures.load(calibration.size))
    record = CalibrationInfo(pictures.source, pictures.sha256, count, INT8_METHOD, kinds)
    return Precise(found, layers, record, tried(search.tried))


def collect_from_set(
    model: onnx.ModelProto, calibration: Calibration, pictures: PictureSet, progress: Progress
) -> tuple[CalibrationStats, list[NDArray[np.uint8]]]:
    """What INT8 has to know of `model` on the pictures, and those that a search judges by. Raises CalibrationError."""
    judged: list[NDArray[np.uint8]] = []
    count = len(pictures.pictures)
    step = max(1, count // SEARCHED_PICTURES)

    def loaded() -> Iterator[NDArray[np.uint8]]:
        for index, picture in enumerate(progress.track(pictures.load(calibration.size), count, "calibrating")):
            if index % step == 0 and len(judged) < SEARCHED_PICTURES:
                judged.append(picture)
            yield picture

    try:
        return collect(model, loaded(), calibration.batch), judged
    except ValueError as error:
        raise CalibrationError(
            f"{pictures.source}: the net gives no finite numbers on these pictures: {error}"
        ) from error


def tried(candidates: Sequence[Candidate]) -> tuple[CandidateInfo, ...]:
    """All candidates, fastest first, those marked that no other one beats in both milliseconds and mean PSNR."""
    best_db = -np.inf
    found = []
    for one in sorted(candidates, key=lambda c: (c.latency_ms, -c.mean_db)):
        found.append(CandidateInfo(_describe(one), one.latency_ms, one.mean_db, one.worst_db, one.mean_db > best_db))
        best_db = max(best_db, one.mean_db)
    return tuple(found)


def _describe(candidate: Candidate) -> str:
    recipe = candidate.recipe
    raised = [f"{layer} {level}" for layer, level in recipe.levels.items()]
    exponents = " ".join("-" if exponent is None else f"{exponent:g}" for exponent in dict.fromkeys(recipe.exponents))
    plain = [] if recipe.feedback else ["weights to nearest"]
    whole = [f"{len(recipe.whole)} ranges from end to end"] if recipe.whole else []
    return "; ".join([f"equalized {exponents}", *plain, *whole, ", ".join(raised) or "all int8"])
