"""One lowering: builds, projections, explanations and ablations see the same graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from conftest import SMALL

from nstopt import engines
from nstopt.calib.ranges import SYMMETRIC
from nstopt.engines.tensorrt.lowering import precision_of
from nstopt.export.exporter import Exported
from nstopt.gpu.facts import architectures
from nstopt.manifest import InputShape
from nstopt.pipeline.explain import explain
from nstopt.pipeline.lower import int8_inputs, lower
from nstopt.projection.model import Workload, graph_of

SHAPE = InputShape.of(1, SMALL)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.fixture(scope="module")
def transposed(export_family: Callable[[str], Exported]) -> Path:
    """A net with two transposed convolutions."""
    return export_family("fast-style").onnx


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-fp16"])
def test_the_graph_holds_the_precision(tiny_onnx: Path, precision: str) -> None:
    lowered = lower(onnx.load(tiny_onnx), SHAPE, engines.backend("tensorrt"), precision)
    assert precision_of(lowered.model.SerializeToString()) == precision
    assert set(lowered.layers.values()) == {precision}
    assert precision_of(lowered.reference.SerializeToString()) == "fp32"
    assert precision_of(lowered.rewritten.SerializeToString()) == "fp32"
    assert (lowered.calibration, lowered.search) == (None, ())


@pytest.mark.parametrize(("generation", "left"), [("pascal", 0), ("turing", 2)])
def test_a_gpu_without_int8_transposed_convolutions_gets_phases(transposed: Path, generation: str, left: int) -> None:
    """In a projection as in a build: they once priced another graph than was built."""
    target = architectures()[generation]
    built = lower(onnx.load(transposed), SHAPE, engines.backend("tensorrt"), "int8", generation=target)
    assert operators(built.model)["ConvTranspose"] == left
    projected = graph_of(Workload("net", transposed, "int8", SMALL, generation=target))
    assert operators(projected) == operators(built.model)


def test_fp32_keeps_transposed_convolutions_on_every_gpu(transposed: Path) -> None:
    workload = Workload("net", transposed, "fp32", SMALL, generation=architectures()["pascal"])
    assert operators(graph_of(workload))["ConvTranspose"] == 2


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "tensorrt"])
def test_an_explanation_tells_of_the_graph_that_is_built(tiny_onnx: Path, backend: str) -> None:
    raw = onnx.load(tiny_onnx)
    lowered = lower(raw, SHAPE, engines.backend(backend), "fp32")
    effects = explain(raw, SHAPE, backend).effects
    told = {(effect.rule, effect.applied, effect.reason, layer) for effect in effects for layer in effect.layers}
    assert told == {(event.rule, event.applied, event.reason, event.layer) for event in lowered.events}


def test_a_backend_that_compiles_no_onnx_gets_the_reference(tiny_onnx: Path) -> None:
    lowered = lower(onnx.load(tiny_onnx), SHAPE, engines.backend("torchscript"), "fp32")
    assert lowered.model is lowered.rewritten is lowered.reference
    assert lowered.events == ()


def test_what_int8_convolutions_take() -> None:
    assert int8_inputs(engines.backend("tensorrt")) == SYMMETRIC
    assert int8_inputs(engines.backend("openvino"), symmetric=True) == SYMMETRIC
    assert int8_inputs(engines.backend("openvino")).unsigned
