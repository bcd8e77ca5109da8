from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.nodes import initializers
from nstopt.graph.rules.one_weight_scale import MIN_SCALE, OneWeightScale

from .equivalence import (
    Array,
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    operators,
    pairs,
    random_graphs,
)


def quantized(g: Graph, integers: Array, scales: Array, axis: int = 0) -> str:
    weight, scale = g.constant(integers), g.constant(scales.astype(np.float32))
    return g.DequantizeLinear(weight, scale, g.constant(np.zeros(scales.shape, np.int8)), axis=axis)


def integers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(-127, 128, shape).astype(np.int8)


@random_graphs
@given(convolutions(["Conv", "ConvTranspose"], strides=pairs(1, 2), groups=st.integers(1, 3)))
def test_random_graphs(conv: RandomConv) -> None:
    axis = 0 if conv.operator == "Conv" else 1
    scales = 2.0 ** np.linspace(-9, -3, conv.weight_shape[axis] + 1)[1:] * 1.3
    g = Graph(conv.dims)
    y = conv.add(g, weight=quantized(g, integers(*conv.weight_shape), scales, axis))
    if scales.size == 1:
        declined(g.model(y), OneWeightScale)
        return
    after = applied(g.model(y), OneWeightScale)
    assert operators(after) == ["DequantizeLinear", conv.operator, "Mul", *(["Add"] if conv.has_bias else [])]
    scale = float(initializers(after.graph)[after.graph.node[0].input[1]])
    assert scale == 2 ** np.floor(np.log2(scales.max()))


@pytest.mark.parametrize("is_normed", [False, True])
def test_the_bias_is_rounded_to_fp16_and_its_rest_added_unless_a_norm_follows(is_normed: bool) -> None:
    g = Graph((1, 3, 8, 8))
    bias = np.array([700.3, -0.1], np.float32)
    y = g.Conv("x", quantized(g, integers(2, 3, 3, 3), np.array([0.5, 0.25])), bias)
    y = g.InstanceNormalization(y, noise(2), noise(2)) if is_normed else g.Relu(y)
    after = applied(g.model(y), OneWeightScale)
    constants = initializers(after.graph)
    (node,) = [node for node in after.graph.node if node.op_type == "Conv"]
    np.testing.assert_array_equal(constants[node.input[2]], constants[node.input[2]].astype(np.float16))
    assert ("Add" in operators(after)) != is_normed


def test_zero_weights_do_not_count_and_the_scale_is_a_normal_fp16_number() -> None:
    """By convention, the scale of a channel of zeros is 1."""
    weight = integers(3, 2, 3, 3)
    weight[1] = 0
    g = Graph((1, 2, 8, 8))
    y = g.Conv("x", quantized(g, weight, np.array([1e-6, 1, 3e-6])), noise(3) * np.float32(1e-3))
    after = applied(g.model(y), OneWeightScale)
    assert float(initializers(after.graph)[after.graph.node[0].input[1]]) == MIN_SCALE


def test_ignores_other_weights() -> None:
    weight = integers(3, 2, 3, 3)
    g = Graph((1, 2, 8, 8))
    declined(g.model(g.Conv("x", quantized(g, weight, np.array(0.5)))), OneWeightScale)
    declined(g.model(g.Conv("x", quantized(g, np.zeros_like(weight), np.ones(3)))), OneWeightScale)
    declined(g.model(g.Conv("x", noise(3, 2, 3, 3))), OneWeightScale)


def test_declines_a_large_bias() -> None:
    g = Graph((1, 2, 8, 8))
    y = g.Conv("x", quantized(g, integers(3, 2, 3, 3), np.array([1, 1e-6, 1])), noise(3))
    declined(g.model(y), OneWeightScale, "the bias of a channel with small weights would be too large")
