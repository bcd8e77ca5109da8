"""Find the INT8 graph of an FP32 one with calibration pictures, or take it from the cache."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import onnx
from threadpoolctl import threadpool_limits

import nstopt
from nstopt.calib import cache
from nstopt.calib.coverage import KINDS, kinds
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.search import LEVEL_COST, Candidate, Finish, LevelCost, QualityTarget, Render, Search
from nstopt.calib.statistics import CalibrationStats, collect
from nstopt.errors import CalibrationError
from nstopt.graph.nodes import multiplying
from nstopt.manifest import CalibrationInfo, CandidateInfo
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size
from nstopt.progress import Progress

INT8_METHOD = (
    "8-bit inputs of convolutions; int8 weights per channel, rounded by GPTQ; channels equalized through the norms; "
    "8-bit outputs for norms where quality is to spare; exponents, ranges, rounding and levels of layers searched by "
    "the error of the picture"
)
# uint8 RGB [H, W, 3] → its stylized picture, the same shape.
Stylize = Callable[[Picture], Picture]
# Pictures that the candidates of the search are compared on, spread over the calibration set.
SEARCHED_PICTURES = 6


@dataclass(frozen=True)
class Calibration:
    """The inputs of a calibration. `pictures` are run at `size` in batches of `batch`; `inputs` are the schemes that
    the backend's convolutions take; `render` runs a candidate on the backend, which `judge` names; `target` is the
    quality that the search goes for; `finish` turns an INT8 graph into the one that is built, which is what gets
    judged; `level_cost` is the time of a layer's levels, as `Search` takes it."""

    pictures: PictureSet
    size: Size
    batch: int
    inputs: Int8Inputs
    render: Render
    judge: str
    target: QualityTarget
    finish: Finish = lambda model: model
    level_cost: LevelCost = field(default_factory=lambda: LEVEL_COST)


class Quantized(NamedTuple):
    """An INT8 graph, not finished. `layers` maps each convolution to its level; `calibration` and `search` tell how it
    was found. `search` holds all candidates."""

    model: onnx.ModelProto
    layers: dict[str, str]
    calibration: CalibrationInfo
    search: tuple[CandidateInfo, ...]


class Collected(NamedTuple):
    """One pass over the calibration pictures: activation statistics, the pictures that candidates are compared on, and
    how many pictures there are of each kind."""

    stats: CalibrationStats
    compared: list[Picture]
    coverage: dict[str, int]


def calibrate(
    model: onnx.ModelProto, calibration: Calibration, progress: Progress, exact: Stylize | None = None
) -> Quantized:
    """Quantize FP32 `model` (I/O contract, shapes inferred, convolutions named). A graph that was found before with the
    same inputs comes from the cache. Candidates are compared with what `exact` makes of a picture, uint8 [H, W, 3]; by
    default with what `calibration.render` makes of `model`.

    Raises CalibrationError if the net gives no finite activations on the pictures.
    """
    pictures = calibration.pictures
    name = cache.key(
        (
            f"nstopt {nstopt.__version__} {INT8_METHOD}",
            model.SerializeToString(deterministic=True),
            f"{pictures.sha256} {len(pictures.pictures)} {calibration.size} {calibration.batch}",
            f"{calibration.judge} {calibration.inputs} {calibration.target}",
        )
    )
    if (known := cache.load(name)) is not None:
        found, entry = known
        return Quantized(found, entry.layers, entry.calibration, entry.search)
    quantized = _search(model, calibration, progress, exact)
    # A cache that cannot be written costs time later, and nothing else.
    with contextlib.suppress(OSError):
        cache.store(name, quantized.model, quantized.layers, quantized.calibration, quantized.search)
    return quantized


def _search(model: onnx.ModelProto, calibration: Calibration, progress: Progress, exact: Stylize | None) -> Quantized:
    pictures = calibration.pictures
    # BLAS threads spin after their work, beside the backend's threads: with one, a search on two cores takes a quarter
    # less time.
    with threadpool_limits(1, user_api="blas"):
        collected = collect_from_set(model, calibration, progress)
        search = Search(
            model,
            collected.stats,
            calibration.inputs,
            calibration.render,
            collected.compared,
            [exact(picture) for picture in collected.compared] if exact else None,
            calibration.finish,
            calibration.level_cost,
        )
        best = search.run(calibration.target, progress)
        found = search.build(best.recipe)
    layers = {node.name: best.recipe.levels.get(node.name, "int8") for node in multiplying(model.graph)}
    count = len(pictures.pictures)
    info = CalibrationInfo(pictures.source, pictures.sha256, count, INT8_METHOD, collected.coverage, calibration.judge)
    return Quantized(found, layers, info, tried(search.tried))


def collect_from_set(model: onnx.ModelProto, calibration: Calibration, progress: Progress) -> Collected:
    """Run `model` once over the calibration pictures. Raises CalibrationError."""
    pictures = calibration.pictures
    count = len(pictures.pictures)
    step = max(1, count // SEARCHED_PICTURES)
    compared: list[Picture] = []
    coverage = Counter(dict.fromkeys(KINDS, 0))

    def loaded() -> Iterator[Picture]:
        for index, picture in enumerate(progress.track(pictures.load(calibration.size), count, "calibrating")):
            if index % step == 0 and len(compared) < SEARCHED_PICTURES:
                compared.append(picture)
            coverage.update(kinds(picture))
            yield picture

    try:
        stats = collect(model, loaded(), calibration.batch, sums=calibration.inputs.norms)
    except ValueError as error:
        raise CalibrationError(
            f"{pictures.source}: the net gives no finite numbers on these pictures: {error}"
        ) from error
    return Collected(stats, compared, dict(coverage))


def tried(candidates: Sequence[Candidate]) -> tuple[CandidateInfo, ...]:
    """Return all candidates, fastest first, with those marked that no other one beats in both latency and mean PSNR."""
    best_db = -np.inf
    found = []
    for one in sorted(candidates, key=lambda c: (c.latency_ms, -c.mean_db)):
        found.append(CandidateInfo(_describe(one), one.latency_ms, one.mean_db, one.worst_db, one.mean_db > best_db))
        best_db = max(best_db, one.mean_db)
    return tuple(found)


def _describe(candidate: Candidate) -> str:
    recipe = candidate.recipe
    raised = [f"{layer} {level}" for layer, level in recipe.beyond_int8.items()]
    written = [f"{len(recipe.writing_int8)} write int8"] if recipe.writing_int8 else []
    exponents = " ".join("-" if exponent is None else f"{exponent:g}" for exponent in dict.fromkeys(recipe.exponents))
    plain = [] if recipe.gptq else ["weights to nearest"]
    min_max = [f"{len(recipe.min_max)} min-max ranges"] if recipe.min_max else []
    return "; ".join([f"equalized {exponents}", *plain, *min_max, ", ".join(raised) or "all int8", *written])
