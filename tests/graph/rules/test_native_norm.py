from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.passes import apply
from nstopt.graph.rule import Context
from nstopt.graph.rules.native_norm import NativeNorm

from .equivalence import Graph, applied, batches, channels, declined, noise, operators, random_graphs, run, sides
from .test_drop_bias_before_norm import EPSILONS


@random_graphs
@given(batches, channels, sides, sides, st.sampled_from(EPSILONS))
def test_random_graphs(batch: int, channels: int, height: int, width: int, epsilon: dict[str, float]) -> None:
    g = Graph((batch, channels, height, width))
    y = g.InstanceNormalization("x", noise(channels), noise(channels), **epsilon)
    after = applied(g.model(g.Relu(y)), NativeNorm)
    assert operators(after).count("ReduceMean") == 2
    assert "InstanceNormalization" not in operators(after)


def test_any_size() -> None:
    g = Graph(("N", 12, "H", "W"))
    assert "ReduceMean" in operators(applied(g.model(g.InstanceNormalization("x", noise(12), noise(12))), NativeNorm))


def test_pictures_in_fp16() -> None:
    """The variance is beyond FP16; the multiply-add is made in it."""
    g = Graph((1, 3, 40, 50), TensorProto.FLOAT16)
    large = g.Mul("x", np.float16(6))
    norm = g.InstanceNormalization(g.Cast(large, to=TensorProto.FLOAT), noise(3), noise(3))
    model = g.model(g.Cast(norm, to=TensorProto.FLOAT16), kind=TensorProto.FLOAT16)
    after = apply(model, NativeNorm, Context(lambda layer: "plain"))
    assert {node.op_type for node in after.graph.node if large in node.input} == {"Cast", "Neg", "Mul"}
    (before,), (found,) = run(model), run(after)
    assert np.ptp(before) > 2
    np.testing.assert_allclose(found, before, atol=4e-3, rtol=4e-3)


def test_a_factor_before_the_norm_joins_its_gain() -> None:
    """No FP16 picture is made of the product."""
    g = Graph((2, 3, 9, 7), TensorProto.FLOAT16)
    halves = g.Abs("x")
    factor = np.array([2e-4, 1, 3], np.float32).reshape(1, 3, 1, 1)
    norm = g.InstanceNormalization(g.Mul(g.Cast(halves, to=TensorProto.FLOAT), factor), noise(3), noise(3))
    model = g.model(g.Cast(norm, to=TensorProto.FLOAT16), kind=TensorProto.FLOAT16)
    after = apply(model, NativeNorm, Context(lambda layer: "plain"))
    assert {node.op_type for node in after.graph.node if halves in node.input} == {"Cast", "Neg", "Mul"}
    (before,), (found,) = run(model), run(after)
    np.testing.assert_allclose(found, before, atol=4e-3, rtol=4e-3)


def test_a_norm_whose_scale_is_computed() -> None:
    g = Graph((1, 3, 4, 5))
    scale = g.ReduceMean("x", axes=[0, 2, 3], keepdims=0)
    declined(g.model(g.InstanceNormalization("x", scale, noise(3))), NativeNorm, "its scale or shift is computed")
