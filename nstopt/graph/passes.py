"""The order of the rewrite rules, and the loop that applies them and checks each result."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import onnx
from onnxscript import ir
from onnxscript.rewriter import RewriteRuleSet

from nstopt.errors import RewriteError
from nstopt.graph.fold import fold
from nstopt.graph.rule import Context, Event, Layer, Rule
from nstopt.graph.rules.affine_into_conv import AffineIntoConv
from nstopt.graph.rules.affine_out_of_conv import AffineOutOfConv
from nstopt.graph.rules.crop_into_transposed import CropIntoTransposed
from nstopt.graph.rules.drop_bias_before_norm import DropBiasBeforeNorm
from nstopt.graph.rules.drop_noop_pad import DropNoopPad
from nstopt.graph.rules.few_channel_norm import FewChannelNorm
from nstopt.graph.rules.few_inputs import FewInputs
from nstopt.graph.rules.few_outputs import FewOutputs
from nstopt.graph.rules.mean_square import MeanSquare
from nstopt.graph.rules.merge_separable import MergeSeparable
from nstopt.graph.rules.pad_into_conv import PadIntoConv
from nstopt.graph.rules.pointwise_into_conv import PointwiseIntoConv
from nstopt.graph.rules.sink_layout import SinkLayout
from nstopt.graph.rules.sink_upsample import SinkUpsample
from nstopt.graph.rules.strided_reflection import StridedReflection
from nstopt.graph.rules.subpixel_conv import SubpixelConv
from nstopt.graph.rules.transposed_conv import TransposedConv
from nstopt.graph.rules.upsample_conv import UpsampleConv
from nstopt.graph.rules.winograd import Winograd

PASSES: tuple[type[Rule], ...] = (
    # Rewrites that reduce work on any backend.
    DropNoopPad,
    CropIntoTransposed,  # before another rule puts a node between the convolution and its crop
    SinkLayout,
    SinkUpsample,  # before rules that look at the neighbors of convolutions
    AffineIntoConv,
    AffineOutOfConv,
    PointwiseIntoConv,
    PadIntoConv,
    DropBiasBeforeNorm,
    MeanSquare,
    # Rewrites to another form of a layer, chosen for the backend.
    SubpixelConv,
    TransposedConv,
    MergeSeparable,  # UpsampleConv takes what it leaves
    UpsampleConv,
    StridedReflection,
    FewInputs,
    FewOutputs,
    FewChannelNorm,
    Winograd,
    SinkLayout,
)


class Rewritten(NamedTuple):
    """The graph after all passes, and the log: what each rule did, or why it declined."""

    model: onnx.ModelProto
    events: tuple[Event, ...]


def rewrite(model: onnx.ModelProto, choose: Callable[[Layer], str]) -> Rewritten:
    """Apply every pass to `model` (shapes inferred, convolutions named), which stays unchanged.

    `choose` returns the form of each layer that has several. The graph is checked after each pass. Raises RewriteError
    if a rule leaves an invalid graph.
    """
    context = Context(choose)
    graph = ir.from_proto(model)
    for kind in PASSES:
        if (result := _applied(graph, kind, context)) is not None:
            model, graph = result, ir.from_proto(result)
    return Rewritten(model, tuple(context.events))


def apply(model: onnx.ModelProto, kind: type[Rule], context: Context) -> onnx.ModelProto:
    """Apply one rule wherever it fits, fold constants, and check the result.

    Raises RewriteError if the rule leaves an invalid graph.
    """
    return _applied(ir.from_proto(model), kind, context) or model


def _applied(graph: ir.Model, kind: type[Rule], context: Context) -> onnx.ModelProto | None:
    """Return the result of `apply`, or None if the rule fits nowhere; the graph is then unchanged."""
    rules = RewriteRuleSet([kind.rule(context, anchor) for anchor in kind.anchors])
    if rules.apply_to_model(graph) == 0:
        return None
    while rules.apply_to_model(graph):  # its result may match it again
        continue
    fold(graph)
    try:
        result = onnx.shape_inference.infer_shapes(ir.to_proto(graph), strict_mode=True, data_prop=True)
        onnx.checker.check_model(result)
    except Exception as error:
        raise RewriteError(f"{kind.__name__} left an invalid graph: {error}") from error
    return result
