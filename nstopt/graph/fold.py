"""Fold constants after a rewrite, drop what nothing reads any more, and share what is equal.

onnxscript's `optimize_ir` also matches its fifty general rules against every node, which took most of the time of a
lowering. `specialize` runs it once. The rewrites after it leave those rules nothing but casts next to casts, and
reshapes whose shapes they have made known.
"""

from __future__ import annotations

from collections.abc import Callable

from onnx_ir.passes import common as passes
from onnxscript import ir
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

ROUNDS = 2  # what is simplified may leave a constant to fold
ShouldFold = Callable[[ir.Node], bool | None]

_SIMPLIFY = RewritePass([rules.cast_cast_rule, rules.no_op_cast_rule, rules.materialize_reshape_shape_rule])
_CLEAN_UP = ir.passes.Sequential(
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    passes.DeduplicateInitializersPass(),
    passes.CommonSubexpressionEliminationPass(),
    passes.OutputFixPass(),
    passes.NameFixPass(),
)


def fold(graph: ir.Model, should_fold: ShouldFold = lambda node: None) -> None:
    """Fold constants in place, and remove what is unused or there twice.

    `should_fold` says of a node whether to fold it; None stands for onnxscript's own choice.
    """
    for _ in range(ROUNDS):
        folded = fold_constants_ir(graph, onnx_shape_inference=True, should_fold=should_fold)
        simplified = _SIMPLIFY(graph)
        unused = passes.RemoveUnusedNodesPass()(graph)
        if not (folded.modified or simplified.modified or unused.modified):
            break
    _CLEAN_UP(graph)
