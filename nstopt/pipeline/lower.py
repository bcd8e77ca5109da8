"""Lower an exported graph to the graph that a backend compiles.

    export ─specialize→ reference ─rewrite→ FP32 in the backend's forms ─quantize, FP16→ graph of the precision

Builds, ablations, tuning, explanations and projections all come through here, so that all of them see one graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import onnx

from nstopt.calib.calibrate import Quantized
from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.placeholder import quantize_with_placeholders
from nstopt.calib.ranges import SYMMETRIC, Int8Inputs
from nstopt.engines.backend import Backend
from nstopt.gpu.facts import Architecture
from nstopt.graph.forms import choose_by_kind
from nstopt.graph.nodes import multiplying, name_convolutions
from nstopt.graph.passes import Rewritten, rewrite
from nstopt.graph.rule import Event, Layer
from nstopt.graph.specialize import specialize
from nstopt.manifest import CalibrationInfo, CandidateInfo, InputShape
from nstopt.precisions import between, is_quantized

Choose = Callable[[Layer], str]
# (graph to quantize, the FP32 reference) → INT8 graph.
Quantize = Callable[[onnx.ModelProto, onnx.ModelProto], Quantized]


class LoweredModel(NamedTuple):
    """A lowered graph, and the two graphs on the way to it. `reference` is the export for the same shape in FP32,
    against which pictures are judged; `rewritten` is equal to it, in the backend's forms; `model` is what the backend
    compiles. `layers` maps each convolution to its precision; `events` tells what each rewrite did or declined;
    `calibration` and `search` tell how INT8 was found, None and empty where nothing was calibrated."""

    reference: onnx.ModelProto
    rewritten: onnx.ModelProto
    model: onnx.ModelProto
    layers: dict[str, str]
    events: tuple[Event, ...]
    calibration: CalibrationInfo | None = None
    search: tuple[CandidateInfo, ...] = ()


def lower(
    raw: onnx.ModelProto,
    shape: InputShape,
    backend: Backend,
    precision: str,
    *,
    generation: Architecture | None = None,
    choose: Choose | None = None,
    quantize: Quantize | None = None,
) -> LoweredModel:
    """Lower the export `raw` for `shape` to `precision` on `backend`.

    `generation` is that of the GPU which the engine is for, None for this machine's. `choose` names the form of each
    layer that has several; by default the backend's. `quantize` finds the INT8 graph of the rewritten one, given the
    reference too; by default the ranges are placeholders, which changes no time. A backend that compiles no ONNX graph
    gets the reference. Raises RewriteError, and what `quantize` raises."""
    reference = specialize(raw, shape)
    name_convolutions(reference)
    rewritten = Rewritten(reference, ())
    if backend.capabilities.compiles_onnx:
        rewritten = rewrite(reference, choose or choose_by_kind(backend.forms(precision, generation)))
    lowered = LoweredModel(
        reference=reference,
        rewritten=rewritten.model,
        model=rewritten.model,
        layers={node.name: precision for node in multiplying(rewritten.model.graph)},
        events=rewritten.events,
    )
    if quantize is None or not is_quantized(precision):
        return lowered._replace(model=to_precision(rewritten.model, precision, int8_inputs(backend)))
    quantized = quantize(rewritten.model, reference)
    return lowered._replace(
        model=finish(quantized.model, precision),
        layers=quantized.layers,
        calibration=quantized.calibration,
        search=quantized.search,
    )


def to_precision(rewritten: onnx.ModelProto, precision: str, inputs: Int8Inputs) -> onnx.ModelProto:
    """Return an FP32 graph in `precision`; with placeholder ranges if that is INT8."""
    if is_quantized(precision):
        return finish(quantize_with_placeholders(rewritten, inputs), precision)
    return to_fp16(rewritten) if precision == "fp16" else rewritten


def finish(int8: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Return an INT8 graph with its operators between the quantized convolutions in the precision that was asked
    for."""
    return to_int8_fp16(int8) if between(precision) == "fp16" else int8


def int8_inputs(backend: Backend, symmetric: bool = False) -> Int8Inputs:
    """Return the inputs that the backend's INT8 convolutions take; with `symmetric`, those of TensorRT on any
    backend."""
    can = backend.capabilities
    if symmetric:
        return SYMMETRIC
    return Int8Inputs(
        free_zero_point=tuple(sorted(can.free_zero_point)),
        unsigned=can.unsigned,
        offsets="int8-offset" not in backend.avoided(),
        norms=can.int8_norms,
    )
