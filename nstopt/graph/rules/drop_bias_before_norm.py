"""Remove the bias of a convolution before an instance norm, which subtracts the mean of each channel.

Conv(w, b) ─ InstanceNormalization   ⇒   Conv(w) ─ InstanceNormalization
"""

from __future__ import annotations

from onnxscript import ir

from nstopt.graph.nodes import CONVOLUTIONS
from nstopt.graph.reading import only_use, producer
from nstopt.graph.rule import Declined, Rule, Tape


class DropBiasBeforeNorm(Rule):
    anchors = ("InstanceNormalization",)

    def match(self, node: ir.Node) -> ir.Node | None:
        conv_node = producer(node.inputs[0], *CONVOLUTIONS)
        if conv_node is None or len(conv_node.inputs) < 3 or conv_node.inputs[2] is None:
            return None
        if only_use(conv_node.outputs[0]) is None:
            raise Declined("the convolution has readers besides the norm")
        return conv_node

    def replace(self, op: Tape, node: ir.Node, match: ir.Node) -> tuple[ir.Value, str]:
        bare = op.op(match.op_type, *match.inputs[:2], _name=match.name, **match.attributes)
        return op.InstanceNormalization(bare, *node.inputs[1:], _name=node.name, **node.attributes), "bias removed"
