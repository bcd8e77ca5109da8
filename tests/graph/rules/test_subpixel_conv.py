from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.subpixel_conv import SubpixelConv

from .equivalence import Graph, RandomConv, applied, convolutions, declined, noise, operators, random_graphs


@random_graphs
@given(convolutions(outputs=st.sampled_from([4, 8, 12])), st.sampled_from(["CRD", "DCR"]))
def test_random_graphs(conv: RandomConv, mode: str) -> None:
    bias = noise(conv.outputs // 4)
    g = Graph(conv.dims)
    phases = conv.add(g, bias=np.repeat(bias, 4) if mode == "CRD" else np.tile(bias, 4))
    y = g.DepthToSpace(phases, blocksize=2, mode=mode)
    assert operators(applied(g.model(y), SubpixelConv, "transposed")) == ["ConvTranspose"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"strides": [2, 2]}, "strided"),
        ({"dilations": [2, 2]}, "dilated"),
        ({"pads": [3, 3, 3, 3]}, "pads as much as its kernel"),
    ],
)
def test_declines_convolutions(attributes: dict[str, list[int]], reason: str) -> None:
    g = Graph((1, 2, 9, 9))
    y = g.DepthToSpace(g.Conv("x", noise(8, 2, 3, 3), **attributes), blocksize=2, mode="CRD")
    declined(g.model(y), SubpixelConv, reason, "transposed")


def test_declines_phases_with_different_biases() -> None:
    g = Graph((1, 2, 9, 9))
    y = g.DepthToSpace(g.Conv("x", noise(8, 2, 3, 3), noise(8)), blocksize=2, mode="CRD")
    declined(g.model(y), SubpixelConv, "different biases", "transposed")


def test_declines_phases_with_other_readers() -> None:
    g = Graph((1, 2, 9, 9))
    phases = g.Conv("x", noise(8, 2, 3, 3))
    y = g.DepthToSpace(phases, blocksize=2, mode="CRD")
    declined(g.model(y, phases), SubpixelConv, "other readers", "transposed")


def test_ignores_the_plain_form_and_other_blocks() -> None:
    g = Graph((1, 2, 9, 9))
    phases = g.Conv("x", noise(36, 2, 3, 3))
    declined(g.model(g.DepthToSpace(phases, blocksize=2)), SubpixelConv, form="plain")
    declined(g.model(g.DepthToSpace(phases, blocksize=3)), SubpixelConv, form="transposed")
