from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.nodes import initializers
from nstopt.graph.rules.one_weight_scale import SMALLEST_SCALE, OneWeightScale

from .equivalence import Array, Graph, applied, batches, biased, channels, declined, noise, operators, random_graphs

kinds = st.sampled_from([("Conv", 1), ("Conv", 3), ("ConvTranspose", 1), ("ConvTranspose", 2)])


def quantized(g: Graph, integers: Array, scales: Array, axis: int = 0) -> str:
    weight, scale = g.constant(integers), g.constant(scales.astype(np.float32))
    return g.DequantizeLinear(weight, scale, g.constant(np.zeros(scales.shape, np.int8)), axis=axis)


def integers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(-127, 128, shape).astype(np.int8)


@random_graphs
@given(batches, channels, channels, kinds, biased)
def test_random_graphs(batch: int, inputs: int, outputs: int, kind: tuple[str, int], bias: bool) -> None:
    operator, group = kind
    axis = 0 if operator == "Conv" else 1
    shape = (outputs * group, inputs, 3, 3) if operator == "Conv" else (inputs * group, outputs, 3, 3)
    scales = 2.0 ** np.linspace(-9, -3, shape[axis] + 1)[1:] * 1.3
    g = Graph((batch, inputs * group, 7, 6))
    wanted = [noise(outputs * group)] if bias else []
    y = g.__getattr__(operator)("x", quantized(g, integers(*shape), scales, axis), *wanted, group=group)
    if shape[axis] == 1:
        declined(g.model(y), OneWeightScale)
        return
    after = applied(g.model(y), OneWeightScale)
    assert operators(after) == ["DequantizeLinear", operator, "Mul", *(["Add"] if bias else [])]
    scale = float(initializers(after.graph)[after.graph.node[0].input[1]])
    assert scale == 2 ** np.floor(np.log2(scales.max()))


def test_what_fp16_leaves_of_a_bias_is_added_where_no_norm_follows() -> None:
    bias = np.array([700.3, -0.1], np.float32)
    for tail, added in (("Relu", True), ("InstanceNormalization", False)):
        g = Graph((1, 3, 8, 8))
        y = g.Conv("x", quantized(g, integers(2, 3, 3, 3), np.array([0.5, 0.25])), bias)
        after = applied(
            g.model(g.Relu(y) if tail == "Relu" else g.InstanceNormalization(y, noise(2), noise(2))), OneWeightScale
        )
        constants = initializers(after.graph)
        (node,) = [node for node in after.graph.node if node.op_type == "Conv"]
        np.testing.assert_array_equal(constants[node.input[2]], constants[node.input[2]].astype(np.float16))
        assert ("Add" in operators(after)) == added


def test_a_channel_of_zeros_and_tiny_weights() -> None:
    """The scale of zeros is 1 by convention, and says nothing of the others; the smallest that FP16 has is kept to."""
    weight = integers(3, 2, 3, 3)
    weight[1] = 0
    g = Graph((1, 2, 8, 8))
    y = g.Conv("x", quantized(g, weight, np.array([1e-6, 1, 3e-6])), noise(3) * np.float32(1e-3))
    after = applied(g.model(y), OneWeightScale)
    assert float(initializers(after.graph)[after.graph.node[0].input[1]]) == SMALLEST_SCALE


def test_left_alone() -> None:
    g = Graph((1, 2, 8, 8))
    weight = integers(3, 2, 3, 3)
    declined(g.model(g.Conv("x", quantized(g, weight, np.array(0.5)))), OneWeightScale)
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", quantized(g, np.zeros_like(weight), np.ones(3)))), OneWeightScale)
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", noise(3, 2, 3, 3))), OneWeightScale)
    g = Graph((1, 2, 8, 8))
    y = g.Conv("x", quantized(g, weight, np.array([1, 1e-6, 1])), noise(3))
    declined(g.model(y), OneWeightScale, "the bias of a channel with small weights would be too large")
