"""Our graphs compiled by TensorRT for RTX (see compiler.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

import onnx
import pytest

from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.engines.tensorrt.lowering import ready
from nstopt.export.exporter import Exported
from nstopt.graph.nodes import convolutions, name_convolutions
from nstopt.graph.nodes import multiplying as by_weights
from nstopt.graph.passes import rewrite
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu12, which there is for Linux on x86-64")
from .compiler import CONVOLUTIONS, Kernel, Log, as_exported, compile_for, moved_bytes
from .test_lowering import phases, to_int8

# TensorRT for RTX has no timing cache; its API for one does nothing and warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

TURING = (7, 5)
# GTX 16xx and RTX 20xx, RTX 40xx, RTX 50xx; all other tests are for SM86, RTX 30xx. For SM75, this compiler has no INT8
# convolution.
GENERATIONS = (("SM75", "fp16"), ("SM89", "int8"), ("SM120", "int8"))
# Transposed convolutions and instance norms; upsampling and filter response norms.
FAMILIES = ("fast-style", "frn")
FIXED, ANY = InputShape.of(1, Size(96, 128)), InputShape.of(1, None)
TYPES = {"fp32": "Float", "fp16": "Half", "int8": "Int8", "int8-fp16": "Int8"}
Export = Callable[[str], Exported]
Compiled = Callable[[str, str], tuple[onnx.ModelProto, Log]]


@pytest.fixture(scope="module")
def compiled(export_family: Export) -> Compiled:
    """Compiles a family in a precision for 96x128, each once; returns the graph and the log."""

    @cache
    def compile_once(family: str, precision: str) -> tuple[onnx.ModelProto, Log]:
        model = in_form(exported(export_family, family, FIXED), precision)
        return onnx.load_from_string(model), compile_for(model, precision)

    return compile_once


def exported(export_family: Export, family: str, shape: InputShape) -> onnx.ModelProto:
    model = specialize(onnx.load(export_family(family).onnx), shape)
    name_convolutions(model)
    return model


def precise(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """INT8 has offsets wherever a convolution takes one, so that its zero padding is a Pad."""
    if precision.startswith("int8"):
        return to_int8(model) if precision == "int8" else to_int8_fp16(to_int8(model))
    return to_fp16(model) if precision == "fp16" else model


def in_form(model: onnx.ModelProto, precision: str) -> bytes:
    return ready(precise(rewrite(model, phases).model, precision).SerializeToString(), TURING)


def multiplying(log: Log) -> list[Kernel]:
    return [kernel for kernel in log.kernels() if kernel.kind in CONVOLUTIONS]


@pytest.mark.parametrize("precision", list(TYPES))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_convolution_computes_in_the_type_of_the_graph(compiled: Compiled, family: str, precision: str) -> None:
    model, log = compiled(family, precision)
    assert log.messages("WARNING", "ERROR", "INTERNAL_ERROR") == []
    assert len(multiplying(log)) == len(convolutions(model.graph)) > 7
    assert {kernel.reads[0].type for kernel in multiplying(log)} == {TYPES[precision]}
    if precision == "int8-fp16":
        assert {kernel.writes[0].type for kernel in multiplying(log)} == {"Half"}


@pytest.mark.parametrize("family", ["instance norm", "separable"])
def test_two_int8_convolutions_for_one(export_family: Export, family: str) -> None:
    model = rewrite(exported(export_family, family, FIXED), phases).model
    log = compile_for(ready(to_int8(model, "int8x2").SerializeToString(), TURING), "int8")
    assert len(multiplying(log)) == 2 * len(by_weights(model.graph))
    assert {kernel.reads[0].type for kernel in multiplying(log)} == {"Int8"}


@pytest.mark.parametrize(("generation", "precision"), GENERATIONS)
def test_every_generation(export_family: Export, generation: str, precision: str) -> None:
    log = compile_for(in_form(exported(export_family, "frn", FIXED), precision), precision, generation)
    assert {kernel.reads[0].type for kernel in multiplying(log)} == {TYPES[precision]}


def test_several_sizes_in_one_plan(export_family: Export) -> None:
    model = in_form(exported(export_family, "frn", ANY), "fp16")
    log = compile_for(model, "fp16", sizes=[(1, 48, 64), (1, 61, 40)])
    ends = [kernel.writes[0].shape for kernel in log.kernels() if kernel.writes and kernel.writes[0].type == "UInt8"]
    assert ends == [(1, 48, 64, 3), (1, 61, 40, 3)]


def test_norms_of_fp16_graphs_keep_fp32_statistics(compiled: Compiled) -> None:
    _, log = compiled("fast-style", "fp16")
    means = [kernel for kernel in log.kernels() if "Mean" in kernel.name]
    assert len(means) >= 8
    assert all(kernel.writes[-1].type == "Float" for kernel in means)


@pytest.mark.parametrize("family", FAMILIES)
def test_fp16_moves_less_than_the_export_and_int8_with_fp16_least(
    export_family: Export, compiled: Compiled, family: str
) -> None:
    export = exported(export_family, family, FIXED)
    as_is = moved_bytes(compile_for(as_exported(to_fp16(export)), "fp16"))
    fp16, int8_fp16 = (moved_bytes(compiled(family, precision)[1]) for precision in ("fp16", "int8-fp16"))
    assert fp16 < 0.8 * as_is
    assert int8_fp16 < 0.9 * fp16


def test_a_graph_that_the_parser_refuses() -> None:
    with pytest.raises(RuntimeError, match="its parser refuses the graph"):
        compile_for(b"not a graph", "fp32")
    assert "tensorrt" not in sys.modules
