"""INT8 convolutions with FP16 between them.

    h ─ Cast(FP32) ─ Q ─ DQ ─ Cast(FP16) ─ Conv(DQ(w as int8, one scale) ─ Cast(FP16)) ─ …

The FP32 part of an INT8 graph becomes FP16 as in an FP16 graph, with the norms' statistics in FP32 (fp16.py). The casts
are there because quantizers of opset 17 take FP32 only; compilers drop them. The weights' scales per channel become a
factor of the output, which the norms absorb into their gain: compilers write FP16 behind an INT8 convolution only if
its weights have one scale.
"""

from __future__ import annotations

import onnx

from nstopt.calib.fp16 import to_fp16
from nstopt.graph.passes import apply
from nstopt.graph.rule import Context
from nstopt.graph.rules.factor_into_gain import FactorIntoGain
from nstopt.graph.rules.one_weight_scale import OneWeightScale


def to_int8_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of INT8 `model` that computes in FP16 between the quantized convolutions."""
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for rule in (OneWeightScale, FactorIntoGain):
        model = apply(model, rule, Context(lambda layer: "plain"))
    return to_fp16(model)
