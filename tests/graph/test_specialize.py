from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import noise

from nstopt.graph.nodes import shapes
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.size import Size

from .rules.equivalence import operators

COMPUTED = {"Shape", "Div", "Concat", "Squeeze", "Reshape", "Gather"}


@pytest.fixture(scope="module")
def exported(tiny_onnx: Path) -> onnx.ModelProto:
    return onnx.load(tiny_onnx)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 48, 64), (2, 37, 51), (None, 37, 64)])
def test_one_size(exported: onnx.ModelProto, batch: int | None, height: int, width: int) -> None:
    before = exported.SerializeToString()
    graph = specialize(exported, InputShape.of(batch, Size(height, width)))
    assert exported.SerializeToString() == before
    assert not COMPUTED & set(operators(graph))
    known = shapes(graph.graph)
    assert known["image"] == known["stylized"] == (batch, height, width, 3)
    assert {name for node in graph.graph.node for name in node.output} <= set(known)
    assert all(None not in shape[1:] for shape in known.values())
    images = np.stack([noise(height, width, seed) for seed in range(batch or 3)])
    expected, found = (
        session(model.SerializeToString()).run(None, {"image": images})[0] for model in (exported, graph)
    )
    assert np.abs(expected.astype(np.int16) - found).max() <= 1


def test_any_size(exported: onnx.ModelProto) -> None:
    graph = specialize(exported, InputShape.of(None, None))
    assert shapes(graph.graph)["image"] == (None, None, None, 3)
    assert "Div" in operators(graph)


def test_a_batch_alone(exported: onnx.ModelProto) -> None:
    graph = specialize(exported, InputShape.of(2, None))
    assert shapes(graph.graph)["image"] == shapes(graph.graph)["stylized"] == (2, None, None, 3)
