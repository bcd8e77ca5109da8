"""Base class of the rewrite rules, the context that rules run in, and the log that they write.

A rule is an onnxscript rewrite rule whose pattern is a single node, the anchor. The rule looks at the nodes around the
anchor. It then replaces the anchor's output, or declines with a reason. onnxscript's optimizer removes the nodes that
are no longer read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnxscript import ir
from onnxscript.rewriter import MatchContext, RewriteRule

Array = NDArray[Any]
# The form that leaves a layer as it is.
PLAIN = "plain"


class Tape(Protocol):
    """onnxscript's graph builder: `tape.Conv(x, w, strides=[2, 2])` adds a node and returns its output."""

    def __getattr__(self, name: str) -> Callable[..., ir.Value]: ...


class Event(NamedTuple):
    """A log entry. `reason` says what the rule made of the layer if `applied`, else why it declined."""

    rule: str
    layer: str
    applied: bool
    reason: str


class Layer(NamedTuple):
    """A layer that has several equal forms. `shape` is what its speed depends on: channels, kernel, height, width."""

    kind: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, kind: str, shape: Sequence[int], size: tuple[int, int] | None) -> Layer:
        """Make the layer of this shape and (height, width). An unknown size is written as 0x0."""
        return cls(kind, (*shape, *(size or (0, 0))))

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape))}"


class Declined(Exception):  # noqa: N818
    """Raised by a rule that leaves a layer of its kind unchanged. The message is the reason, which Rule logs."""


@dataclass
class Context:
    """Input and output of a run of rules. `choose` returns the form that a layer takes; `events` is the log."""

    choose: Callable[[Layer], str]
    events: list[Event] = field(default_factory=list)


class Rule:
    """Base of all rules. A subclass sets `anchors`, the operators it looks for, and has `match` and `replace`."""

    anchors: tuple[str, ...]

    def __init__(self, context: Context, anchor: str) -> None:
        self.context = context
        self.anchor = anchor
        self._match: Any = None

    @classmethod
    def rule(cls, context: Context, anchor: str) -> RewriteRule:
        """Make the onnxscript rule for one of the anchors."""
        rule = cls(context, anchor)
        return RewriteRule(rule._pattern, rule._rewrite, rule._check, name=cls.__name__, remove_nodes=False)

    def match(self, node: ir.Node) -> Any:
        """Return what `replace` needs to know, or None if the rule does not concern this node.

        Raises Declined if the rule is made for such nodes, but does not fit this one.
        """
        raise NotImplementedError

    def replace(self, op: Tape, node: ir.Node, match: Any) -> tuple[ir.Value, str]:
        """Build the replacement of the node's output. Returns it, and says in a few words what was done."""
        raise NotImplementedError

    def _pattern(self, op: Any) -> Any:
        return getattr(op, self.anchor)(_allow_other_inputs=True, _allow_other_attributes=True, _outputs=["out"])

    def _check(self, context: MatchContext, out: ir.Value) -> bool:
        node = out.producer()
        assert node is not None
        try:
            self._match = self.match(node)
        except Declined as declined:
            event = self._event(node, False, str(declined))
            if event not in self.context.events:  # a rule may look at a layer more than once
                self.context.events.append(event)
            return False
        return self._match is not None

    def _rewrite(self, op: Tape, out: ir.Value) -> ir.Value:
        node = out.producer()
        assert node is not None
        result, reason = self.replace(op, node, self._match)
        _make_names_unique(op, node)
        self.context.events.append(self._event(node, True, reason))
        return result

    def _event(self, node: ir.Node, applied: bool, reason: str) -> Event:
        return Event(type(self).__name__, layer_name(node), applied, reason)


def _make_names_unique(op: Tape, node: ir.Node) -> None:
    """Rename new constants whose name is taken. Nodes may lack names or share weights, and a constant that has the name
    of an older one would replace it."""
    taken = node.graph.initializers if node.graph is not None else {}
    for value in op.initializers:  # type: ignore[attr-defined]  # the builder's list, not an operator
        name, number = value.name, 2
        while value.name in taken:
            value.name, number = f"{name}#{number}", number + 1


def layer_name(node: ir.Node) -> str:
    """Return the node's name, or its first output's if it has none."""
    return node.name or node.outputs[0].name or node.op_type


def initializer(op: Tape, node: ir.Node, array: ArrayLike, suffix: str) -> ir.Value:
    """Add a constant named `NODE.suffix`."""
    return op.initializer(ir.tensor(np.array(array, order="C")), name=f"{node.name}.{suffix}")


def weight_and_bias(op: Tape, node: ir.Node, weight: Array, bias: Array | None, form: str) -> list[ir.Value]:
    """Add the weight of a convolution, and its bias unless that is None, as float32 constants `NODE.form.weight` and
    `NODE.form.bias`."""
    arrays = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return [initializer(op, node, array.astype(np.float32), f"{form}.{name}") for name, array in arrays.items()]


def phase_conv(
    op: Tape, node: ir.Node, source: ir.Value | None, weight: Array, bias: Array | None, **attributes: Any
) -> ir.Value:
    """Add a convolution that computes the four pixels of each 2x2 block as channels, and a DepthToSpace.

    `weight` [D, 2, 2, C, K, K] holds the kernel of channel d at row 2i + a, column 2j + b as `weight[d, a, b]`; `bias`
    is [D] or None. The result is [N, D, 2H, 2W] for a convolution of H x W positions.
    """
    flat = weight.reshape(-1, *weight.shape[3:])
    constants = weight_and_bias(op, node, flat, None if bias is None else np.repeat(bias, 4), "phase")
    phases = op.Conv(source, *constants, _name=node.name, **attributes)
    return op.DepthToSpace(phases, blocksize=2, mode="CRD", _name=f"{node.name}.interleave")


def repeat_pixels(
    op: Tape, node: ir.Node, source: ir.Value | None, factors: tuple[int, int], rounding: str = "floor"
) -> ir.Value:
    """Add an upsampling of height and width. Pixel i of the result is pixel i / factor of `source`, rounded to a pixel
    that exists."""
    scales = initializer(op, node, np.array([1, 1, *factors], np.float32), "scales")
    mapping = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": rounding}
    return op.Resize(source, None, scales, mode="nearest", **mapping, _name=f"{layer_name(node)}.upsample")
