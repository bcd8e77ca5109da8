from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.few_channel_norm import FewChannelNorm

from .equivalence import EPSILONS, Array, Graph, applied, batches, declined, noise, operators, random_graphs, sides

few = st.tuples(batches, st.integers(1, 3), sides, sides)


@random_graphs
@given(few, st.sampled_from(EPSILONS))
def test_random_graphs(shape: tuple[int, ...], epsilon: dict[str, float]) -> None:
    g = Graph(shape)
    y = g.InstanceNormalization("x", noise(shape[1]), noise(shape[1]), **epsilon)
    after = applied(g.model(y), FewChannelNorm, "means")
    assert operators(after).count("ReduceMean") == 2
    assert "InstanceNormalization" not in operators(after)


@random_graphs
@given(few, st.sampled_from(["CRD", "DCR", None]), st.integers(2, 3))
def test_random_graphs_of_phases(shape: tuple[int, ...], mode: str | None, block: int) -> None:
    batch, channels, height, width = shape
    g = Graph((batch, channels * block**2, height, width))
    phases = g.DepthToSpace("x", blocksize=block, **({"mode": mode} if mode else {}))
    after = applied(g.model(g.InstanceNormalization(phases, noise(channels), noise(channels))), FewChannelNorm, "means")
    on_phases = mode == "CRD" and block == 2
    assert (operators(after)[-1] == "DepthToSpace") == on_phases


def test_any_size() -> None:
    g = Graph(("N", 12, "H", "W"))
    phases = g.DepthToSpace("x", blocksize=2, mode="CRD")
    y = g.InstanceNormalization(phases, noise(3), noise(3))
    assert operators(applied(g.model(y), FewChannelNorm, "means"))[-1] == "DepthToSpace"


def test_phases_with_other_readers_are_interleaved_first() -> None:
    g = Graph((1, 12, 4, 5))
    phases = g.DepthToSpace("x", blocksize=2, mode="CRD")
    y = g.InstanceNormalization(phases, noise(3), noise(3))
    for outputs in ([y, phases], [y, g.Relu(phases)]):
        assert "DepthToSpace" in operators(applied(g.model(*outputs), FewChannelNorm, "means"))[:2]


def test_norms_without_names_keep_their_own_constants() -> None:
    g = Graph((1, 3, 4, 5))
    y = g.Relu(g.InstanceNormalization("x", noise(3), noise(3)))
    y = g.InstanceNormalization(y, 2 * noise(3), noise(3) - 1, epsilon=1e-2)
    applied(g.model(y), FewChannelNorm, "means", times=2)


def test_plain_form() -> None:
    g = Graph((1, 3, 4, 5))
    declined(g.model(g.InstanceNormalization("x", noise(3), noise(3))), FewChannelNorm, form="plain")


def test_ignores_many_channels() -> None:
    g = Graph((1, 5, 4, 5))
    declined(g.model(g.InstanceNormalization("x", noise(5), noise(5))), FewChannelNorm, form="means")


@pytest.mark.parametrize("place", [0, 1])
def test_declines_computed_scale_and_shift(place: int) -> None:
    g = Graph((1, 3, 4, 5))
    parameters: list[Array | str] = [noise(3), noise(3)]
    parameters[place] = g.input("s", (3,))
    y = g.InstanceNormalization("x", *parameters)
    declined(g.model(y), FewChannelNorm, "its scale or shift is computed", form="means")


@pytest.mark.parametrize("dims", [(2, 3, 20), (2, 3, 4, 5, 6)])
def test_declines_other_ranks(dims: tuple[int, ...]) -> None:
    g = Graph(dims)
    y = g.InstanceNormalization("x", noise(3), noise(3))
    declined(g.model(y), FewChannelNorm, "not NCHW in float32", form="means")


def test_declines_other_types() -> None:
    g = Graph((1, 3, 4, 5))
    half = g.Cast("x", to=TensorProto.FLOAT16)
    y = g.InstanceNormalization(half, noise(3).astype("float16"), noise(3).astype("float16"))
    y = g.Cast(y, to=TensorProto.FLOAT)
    declined(g.model(y), FewChannelNorm, "not NCHW in float32", form="means")
