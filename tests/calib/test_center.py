"""Centered channels before norms: the same function, with means of zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from conftest import SMALL

from nstopt.calib.center import ChannelMeans, center
from nstopt.calib.observe import observe
from nstopt.export.exporter import Exported
from nstopt.graph.nodes import multiplying, name_convolutions, read_by_norms
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.files import Picture, cover


def test_the_function_is_the_same_and_the_means_are_zero(tiny_onnx: Path, photographs: list[Picture]) -> None:
    model = specialize(onnx.load(tiny_onnx), InputShape.of(1, SMALL))
    for node in model.graph.node:  # as the rewrites leave it
        if node.op_type == "Conv" and node.output[0] in read_by_norms(model.graph):
            del node.input[2:]
    name_convolutions(model)
    pictures = [cover(one, SMALL) for one in photographs]
    centered = center(model, pictures)
    normed = [node.output[0] for node in multiplying(model.graph) if node.output[0] in read_by_norms(model.graph)]
    assert len(normed) >= 5
    means = {name: ChannelMeans() for name in normed}
    observe(centered, {name: [one] for name, one in means.items()}, pictures)
    assert all(np.abs(one.value).max() < 1e-3 for one in means.values())
    plain, ours = (session(one.SerializeToString()) for one in (model, centered))
    for picture in pictures:
        feed = {"image": picture[None]}
        assert np.abs(plain.run(None, feed)[0].astype(int) - ours.run(None, feed)[0]).max() <= 1


def test_a_net_without_instance_norms_stays_as_it_is(
    export_family: Callable[[str], Exported], photographs: list[Picture]
) -> None:
    model = specialize(onnx.load(export_family("frn").onnx), InputShape.of(1, SMALL))
    name_convolutions(model)
    assert center(model, [cover(photographs[0], SMALL)]) == model


def test_the_mean_of_each_channel() -> None:
    means = ChannelMeans()
    means.add(np.array([[[[1.0, 3.0]], [[10.0, 20.0]]]], np.float32))
    means.add(np.array([[[[4.0, 4.0]], [[15.0, 15.0]]]], np.float32))
    assert means.value.tolist() == [3.0, 15.0]
