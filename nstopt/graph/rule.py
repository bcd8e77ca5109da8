"""What all rewrite rules share: the context they are run in, the log they write, and small questions about IR values.

A rule is an onnxscript rewrite rule whose pattern is one node, the anchor. It looks around the anchor, declines with a
reason, or says what the anchor's output becomes. Nodes that nothing reads any more are removed by the pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir
from onnxscript.rewriter import MatchContext, RewriteRuleClassBase

Array = NDArray[Any]


class Tape(Protocol):
    """onnxscript's builder: `tape.Conv(x, w, strides=[2, 2])` adds a node and returns its output."""

    def __getattr__(self, name: str) -> Callable[..., ir.Value]: ...


class Event(NamedTuple):
    """A rule was applied to a layer (`reason` is what it became), or declined it (`reason` is why)."""

    rule: str
    layer: str
    applied: bool
    reason: str


class Layer(NamedTuple):
    """A layer whose form is a choice. `shape` is what its speed depends on: channels, kernel, stride, height, width."""

    kind: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape))}"


class Declined(Exception):  # noqa: N818
    """Why a rule leaves a layer alone that it was made for; caught by Rule and logged."""


@dataclass
class Context:
    """What rules are run for. `choose` names the form that a layer shall take; `events` is the log."""

    choose: Callable[[Layer], str]
    events: list[Event] = field(default_factory=list)


class Rule(RewriteRuleClassBase):
    """Base of all rules. A subclass sets `anchors`, the operators it looks for, and fills in `plan` and `apply`.

    `plan(node)` returns what `apply` needs to know. It raises Declined where the rule could have helped but does not
    fit, and returns None where it has nothing to do with the node.
    """

    anchors: tuple[str, ...]

    def __init__(self, context: Context, anchor: str) -> None:
        super().__init__(name=type(self).__name__, remove_nodes=False)
        self.context = context
        self.anchor = anchor
        self._plan: Any = None

    def pattern(self, op: Any) -> Any:
        return getattr(op, self.anchor)(_allow_other_inputs=True, _allow_other_attributes=True, _outputs=["out"])

    def check(self, context: MatchContext, out: ir.Value) -> bool:  # type: ignore[override]
        node = out.producer()
        assert node is not None
        try:
            self._plan = self.plan(node)
        except Declined as declined:
            event = Event(self.name, layer_name(node), False, str(declined))
            if event not in self.context.events:  # a rule may look at a layer more than once
                self.context.events.append(event)
            return False
        return self._plan is not None

    def rewrite(self, op: Tape, out: ir.Value) -> ir.Value:
        node = out.producer()
        assert node is not None
        result, reason = self.apply(op, node, self._plan)
        _name_apart(op, node)
        self.context.events.append(Event(self.name, layer_name(node), True, reason))
        return result

    def plan(self, node: ir.Node) -> Any:
        """What `apply` needs, or None to leave the node as it is."""
        raise NotImplementedError

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        """Build the replacement of the node's output; also says in a few words what was done."""
        raise NotImplementedError


def _name_apart(op: Tape, node: ir.Node) -> None:
    """Give no new constant the name of an old one, whose place it would take: nodes may lack names or share weights."""
    taken = node.graph.initializers if node.graph is not None else {}
    for value in op.initializers:  # type: ignore[attr-defined]  # the builder's list, not an operator
        name, number = value.name, 2
        while value.name in taken:
            value.name, number = f"{name}#{number}", number + 1


def layer_name(node: ir.Node) -> str:
    """The node's name, or its first output's."""
    return node.name or node.outputs[0].name or node.op_type


def constant(value: ir.Value | None) -> Array | None:
    """The value's array if it is known now."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def channel_factor(value: ir.Value | None) -> Array | None:
    """A constant [1, C, 1, 1] in float32, if `value` is one."""
    array = constant(value)
    is_factor = array is not None and array.dtype == np.float32 and array.ndim == 4 and array.size == array.shape[1]
    return array if is_factor else None


def spatial(value: ir.Value | None) -> tuple[int, int] | None:
    """Height and width of an NCHW value, if both are known."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that makes `value`, if it is of one of these operators."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.domain == "" and node.op_type in op_types else None


def only_use(value: ir.Value) -> ir.Node | None:
    """The one node that reads `value`, or None if there are several or it is an output of the graph."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    """An attribute of whole numbers."""
    attribute = node.attributes.get(name)
    return list(attribute.as_ints()) if attribute is not None else default


def initializer(op: Tape, array: Array, name: str) -> ir.Value:
    """A new constant of the graph."""
    return op.initializer(ir.tensor(np.array(array, order="C")), name=name)


class Convolution(NamedTuple):
    """A Conv or ConvTranspose node, read: `pads` is (top, left, bottom, right)."""

    weight: Array
    bias: Array | None
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    group: int
    dilated: bool


def read_convolution(node: ir.Node) -> Convolution | None:
    """The convolution, or None if it is not two-dimensional in float32, its weights are not known, or its padding is
    implicit."""
    weight = constant(node.inputs[1])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    implicit = node.attributes.get("auto_pad")
    unknown_bias = len(node.inputs) > 2 and node.inputs[2] is not None and bias is None
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32:
        return None
    if unknown_bias or (implicit and implicit.as_string() != "NOTSET"):
        return None
    strides, pads = ints(node, "strides", [1, 1]), ints(node, "pads", [0, 0, 0, 0])
    group = node.attributes.get("group")
    return Convolution(
        weight,
        bias,
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        group.as_int() if group else 1,
        ints(node, "dilations", [1, 1]) != [1, 1],
    )


class Norm(NamedTuple):
    """An InstanceNormalization node, read."""

    scale: Array
    shift: Array
    epsilon: float


def read_norm(node: ir.Node, most_channels: int | None = None) -> Norm | None:
    """The norm, or None if it has more channels. Raises Declined if its scale or shift is not known, or it is not of
    pictures in float32."""
    scale, shift, x = constant(node.inputs[1]), constant(node.inputs[2]), node.inputs[0]
    if scale is None or shift is None:
        raise Declined("its scale or shift is computed")
    if most_channels is not None and scale.size > most_channels:
        return None
    if scale.dtype != np.float32 or x is None or x.shape is None or len(x.shape) != 4:
        raise Declined("it is not of pictures in float32")
    epsilon = node.attributes.get("epsilon")
    return Norm(scale, shift, epsilon.as_float() if epsilon else 1e-5)


class Padding(NamedTuple):
    """A Pad node over height and width, read: `pads` is (top, left, bottom, right)."""

    source: ir.Value
    mode: str
    pads: tuple[int, int, int, int]


def read_padding(node: ir.Node | None) -> Padding | None:
    """The padding, or None if it is none of known amounts over height and width with zeros or the picture itself."""
    if node is None or node.op_type != "Pad":
        return None
    amounts = constant(node.inputs[1])
    fill = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(1)
    source = node.inputs[0]
    if amounts is None or amounts.size != 8 or fill is None or np.any(fill != 0) or source is None:
        return None
    begin, end = amounts[:4], amounts[4:]
    if np.any(begin[:2]) or np.any(end[:2]) or np.any(amounts < 0):
        return None
    mode = node.attributes.get("mode")
    sides = (int(begin[2]), int(begin[3]), int(end[2]), int(end[3]))
    return Padding(source, mode.as_string() if mode else "constant", sides)
