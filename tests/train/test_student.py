"""The choice of a student's width for a target GPU."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstopt.errors import DeviceError
from nstopt.pictures.size import Size
from nstopt.train import student
from nstopt.train.distill import StudentSpec
from nstopt.train.student import fitting

STUDENT = StudentSpec(width=1, blocks=0, kernel=3)


def stand_in(spec: StudentSpec, size: Size) -> onnx.ModelProto:
    """Make a graph whose work grows with the width, as a student's; tests/cli exports a real one."""
    random = np.random.default_rng(0)
    nodes = [helper.make_node("Cast", ["image"], ["x0"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Transpose", ["x0"], ["x1"], perm=[0, 3, 1, 2]))
    channels, weights = [3, spec.width, spec.width, 3], []
    for index, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        weight = random.normal(0, 0.3, (outputs, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"x{index + 1}"], pads=[1] * 4))
    nodes.append(helper.make_node("Transpose", ["x4"], ["x5"], perm=[0, 2, 3, 1]))
    nodes.append(helper.make_node("Cast", ["x5"], ["stylized"], to=TensorProto.UINT8))
    image, stylized = (
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", *size, 3]) for name in ("image", "stylized")
    )
    graph = helper.make_graph(nodes, "student", [image], [stylized], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_widest_student_that_is_fast_enough_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "WIDTHS", (256, 64, 2, 1))
    monkeypatch.setattr(student, "_exported", stand_in)
    found = fitting(STUDENT, "gtx-1060", 700, Size(512, 512))
    assert (found.student, found.projected.high_ms < 1000 / 700) == (StudentSpec(2, 0, 3), True)
    assert (found.projected.precision, found.projected.target) == ("int8", "gtx-1060")


def test_an_unknown_target() -> None:
    with pytest.raises(DeviceError, match="gtx-9999"):
        fitting(STUDENT, "gtx-9999", 60, Size(64, 64))
