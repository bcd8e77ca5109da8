from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.nodes import shapes
from nstopt.graph.rules.strided_reflection import StridedReflection

from .equivalence import Graph, applied, declined, noise, operators, pairs, random_graphs

BY_ONE = np.array([0, 0, 1, 1, 0, 0, 1, 1])
NOT_BY_ONE = "not a reflection or repetition by 1 all around"


@random_graphs
@given(
    st.integers(1, 2),
    st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3)),
    pairs(1, 6),
    st.sampled_from(["reflect", "edge"]),
    st.booleans(),
)
def test_random_graphs(
    batch: int, channels: tuple[int, int, int], half: tuple[int, int], mode: str, has_bias: bool
) -> None:
    group, outputs, inputs = channels
    g = Graph((batch, group * inputs, 2 * half[0], 2 * half[1]))
    bias = [noise(group * outputs)] if has_bias else []
    weight = noise(group * outputs, inputs, 3, 3)
    y = g.Conv(g.Pad("x", BY_ONE, mode=mode), weight, *bias, group=group, strides=[2, 2])
    after = applied(g.model(y), StridedReflection, "corrected")
    assert sorted(operators(after)) == ["Add", "Add", "Conv", "Conv", "Conv", "Mul", "Mul", "Pad", "Slice", "Slice"]


def test_only_one_row_is_padded() -> None:
    g = Graph((1, 4, 16, 20))
    y = g.Conv(g.Pad("x", BY_ONE, mode="reflect"), noise(4, 1, 3, 3), group=4, strides=[2, 2])
    after = applied(g.model(y), StridedReflection, "corrected")
    (pad,) = [node for node in after.graph.node if node.op_type == "Pad"]
    assert shapes(after.graph)[pad.output[0]] == (1, 4, 1, 21)


def test_other_readers_of_the_padding_keep_it() -> None:
    g = Graph((1, 4, 6, 8))
    padded = g.Pad("x", BY_ONE, mode="reflect")
    y = g.Conv(padded, noise(4, 1, 3, 3), group=4, strides=[2, 2])
    applied(g.model(y, padded, g.Relu(y)), StridedReflection, "corrected")


@pytest.mark.parametrize("dims", [(1, 4, 7, 8), (1, 4, 8, 7), (1, 4, "H", "W")])
def test_declines_sizes_that_are_odd_or_unknown(dims: tuple[int | str, ...]) -> None:
    g = Graph(dims)
    y = g.Conv(g.Pad("x", BY_ONE, mode="reflect"), noise(4, 1, 3, 3), group=4, strides=[2, 2])
    declined(g.model(y), StridedReflection, "needs an even height and width", "corrected")


@pytest.mark.parametrize(
    ("amounts", "mode", "own"),
    [
        ([0, 0, 2, 2, 0, 0, 2, 2], "reflect", [0, 0, 0, 0]),
        ([0, 0, 1, 1, 0, 0, 1, 0], "reflect", [0, 0, 0, 0]),
        ([0, 0, 1, 1, 0, 0, 1, 1], "reflect", [1, 1, 1, 1]),
        ([0, 0, 1, 1, 0, 0, 1, 1], "constant", [0, 0, 0, 0]),
    ],
)
def test_declines_other_paddings(amounts: list[int], mode: str, own: list[int]) -> None:
    g = Graph((1, 4, 6, 8))
    y = g.Conv(g.Pad("x", np.array(amounts), mode=mode), noise(4, 1, 3, 3), group=4, strides=[2, 2], pads=own)
    declined(g.model(y), StridedReflection, NOT_BY_ONE, "corrected")


def test_declines_computed_paddings() -> None:
    g = Graph((1, 4, 6, 8))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    y = g.Conv(g.Pad("x", amounts, mode="edge"), noise(4, 1, 3, 3), group=4, strides=[2, 2])
    declined(g.model(y), StridedReflection, NOT_BY_ONE, "corrected")


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((4, 4, 3, 3), {"strides": [2, 2]}),
        ((4, 1, 3, 3), {"group": 4}),
        ((4, 1, 3, 3), {"group": 4, "strides": [2, 1]}),
        ((4, 1, 5, 5), {"group": 4, "strides": [2, 2]}),
        ((4, 1, 3, 3), {"group": 4, "strides": [2, 2], "dilations": [2, 2]}),
    ],
)
def test_ignores_other_convolutions(weight: tuple[int, ...], attributes: dict[str, object]) -> None:
    g = Graph((1, 4, 6, 8))
    y = g.Conv(g.Pad("x", BY_ONE, mode="reflect"), noise(*weight), **attributes)
    declined(g.model(y), StridedReflection, form="corrected")


def test_ignores_the_plain_form_and_unpadded_convolutions() -> None:
    g = Graph((1, 4, 6, 8))
    weight = noise(4, 1, 3, 3)
    y = g.Conv(g.Pad("x", BY_ONE, mode="reflect"), weight, group=4, strides=[2, 2])
    declined(g.model(y), StridedReflection, form="plain")
    declined(g.model(g.Conv("x", weight, group=4, strides=[2, 2])), StridedReflection, form="corrected")
