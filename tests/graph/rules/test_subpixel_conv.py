from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.subpixel_conv import SubpixelConv

from .equivalence import Graph, applied, batches, biased, channels, declined, noise, operators, random_graphs, sides


@random_graphs
@given(batches, channels, st.integers(1, 4), sides, sides, biased, st.data())
def test_random_graphs(
    batch: int, inputs: int, outputs: int, height: int, width: int, bias: bool, data: st.DataObject
) -> None:
    kernel = [data.draw(st.integers(1, 3), "kernel") for _ in range(2)]
    pads = [data.draw(st.integers(0, side - 1), "pad") for side in kernel * 2]
    mode = data.draw(st.sampled_from(["CRD", "DCR"]), "mode")
    g = Graph((batch, inputs, height, width))
    spread = np.repeat(noise(outputs), 4) if mode == "CRD" else np.tile(noise(outputs), 4)
    biases = [spread] if bias else []
    phases = g.Conv("x", noise(4 * outputs, inputs, *kernel), *biases, pads=pads)
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
def test_other_convolutions(attributes: dict[str, list[int]], reason: str) -> None:
    g = Graph((1, 2, 9, 9))
    y = g.DepthToSpace(g.Conv("x", noise(8, 2, 3, 3), **attributes), blocksize=2, mode="CRD")
    declined(g.model(y), SubpixelConv, reason, "transposed")


def test_phases_of_different_biases() -> None:
    g = Graph((1, 2, 9, 9))
    y = g.DepthToSpace(g.Conv("x", noise(8, 2, 3, 3), noise(8)), blocksize=2, mode="CRD")
    declined(g.model(y), SubpixelConv, "different biases", "transposed")


def test_phases_that_are_read_elsewhere() -> None:
    g = Graph((1, 2, 9, 9))
    phases = g.Conv("x", noise(8, 2, 3, 3))
    y = g.DepthToSpace(phases, blocksize=2, mode="CRD")
    declined(g.model(y, phases), SubpixelConv, "read elsewhere", "transposed")
