"""Calibration statistics of a net: gathered in one pass over the pictures, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import onnx

from nstopt.calib.int8 import quantized_tensors
from nstopt.calib.observe import Histogram, Observer, observe
from nstopt.calib.rounding import PatchMoments, patch_size
from nstopt.calib.sums import SumHistogram, normed_sums
from nstopt.graph.nodes import groups, initializers, multiplying, read_by_norms
from nstopt.pictures.files import Picture


class CalibrationStats(NamedTuple):
    """Histograms of the tensors to quantize, by tensor name, those that norms read among them if they were asked for,
    and input moments of the convolutions of one group, by node name."""

    histograms: Mapping[str, Histogram]
    patches: Mapping[str, PatchMoments]


def collect(
    model: onnx.ModelProto, pictures: Iterable[Picture], batch: int = 1, sums: bool = False
) -> CalibrationStats:
    """Run FP32 `model` (I/O contract, convolutions named) on pictures, uint8 [H, W, 3], of its size.

    A model of a fixed `batch` gets each picture that many times. With `sums`, histograms include what convolutions
    write for norms. Raises ValueError if an activation is not finite.
    """
    tensors = quantized_tensors(model.graph)
    constants, normed = initializers(model.graph), read_by_norms(model.graph)
    histograms = {name: Histogram() for name in tensors}
    patches = {
        node.name: PatchMoments(patch_size(node, constants[node.input[1]]), centered=node.output[0] in normed)
        for node in multiplying(model.graph)
        if groups(node) == 1
    }
    observers: dict[str, list[Observer]] = {
        name: [histograms[name], *(patches[node.name] for node in readers if node.name in patches)]
        for name, readers in tensors.items()
    }
    written = {name: SumHistogram() for name in normed_sums(model.graph).values()} if sums else {}
    observers |= {name: [histogram] for name, histogram in written.items()}
    observe(model, observers, pictures, batch)
    return CalibrationStats({**histograms, **written}, patches)
