from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.passes import apply
from nstopt.graph.rule import PLAIN, Context
from nstopt.graph.rules.native_norm import NativeNorm

from .equivalence import EPSILONS, Graph, applied, declined, noise, operators, random_graphs, run, shapes


@random_graphs
@given(shapes, st.sampled_from(EPSILONS))
def test_random_graphs(shape: tuple[int, ...], epsilon: dict[str, float]) -> None:
    g = Graph(shape)
    y = g.InstanceNormalization("x", noise(shape[1]), noise(shape[1]), **epsilon)
    after = applied(g.model(g.Relu(y)), NativeNorm)
    assert operators(after).count("ReduceMean") == 2
    assert "InstanceNormalization" not in operators(after)


def test_any_size() -> None:
    g = Graph(("N", 12, "H", "W"))
    assert "ReduceMean" in operators(applied(g.model(g.InstanceNormalization("x", noise(12), noise(12))), NativeNorm))


def normed_halves(g: Graph, halves: str, norm: str) -> None:
    """Apply the rule to a norm of FP16 tensor `halves`. Check that the FP16 tensor has the readers that the rule adds,
    and that the result is equal in FP16."""
    model = g.model(g.Cast(norm, to=TensorProto.FLOAT16), kind=TensorProto.FLOAT16)
    after = apply(model, NativeNorm, Context(lambda layer: PLAIN))
    assert {node.op_type for node in after.graph.node if halves in node.input} == {"Cast", "Neg", "Mul"}
    (before,), (found,) = run(model), run(after)
    assert np.ptp(before) > 2
    np.testing.assert_allclose(found, before, atol=4e-3, rtol=4e-3)


def test_fp16_input_with_a_variance_beyond_fp16() -> None:
    g = Graph((1, 3, 40, 50), TensorProto.FLOAT16)
    halves = g.Mul("x", np.float16(6))
    normed_halves(g, halves, g.InstanceNormalization(g.Cast(halves, to=TensorProto.FLOAT), noise(3), noise(3)))


def test_fp16_input_with_a_factor_before_the_norm() -> None:
    """The factor joins the gain; the FP16 product is never computed."""
    g = Graph((2, 3, 9, 7), TensorProto.FLOAT16)
    halves = g.Abs("x")
    factor = np.array([2e-4, 1, 3], np.float32).reshape(1, 3, 1, 1)
    scaled = g.Mul(g.Cast(halves, to=TensorProto.FLOAT), factor)
    normed_halves(g, halves, g.InstanceNormalization(scaled, noise(3), noise(3)))


def test_declines_computed_scale() -> None:
    g = Graph((1, 3, 4, 5))
    scale = g.ReduceMean("x", axes=[0, 2, 3], keepdims=0)
    declined(g.model(g.InstanceNormalization("x", scale, noise(3))), NativeNorm, "its scale or shift is computed")
