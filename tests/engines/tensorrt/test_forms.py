"""The forms of a whole graph that builds take where the default fails: the same pictures, and TensorRT for RTX compiles
them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.engines.tensorrt import smoke
from nstopt.engines.tensorrt.forms import CAN_BE_FLOAT, Forms
from nstopt.engines.tensorrt.lowering import FLOATS, prepare, ready
from nstopt.engines.tensorrt.smoke import feed
from nstopt.errors import BuildError
from nstopt.graph.nodes import attribute, convolutions, dequantized, producers
from nstopt.ort import session

from .test_lowering import EVEN, Export, max_difference, multiplying_in_int8, rewritten, to_int8

AMPERE = (8, 6)
HALF_SCALES = Forms(half_scales=True)
DEPTHWISE, REFLECTED = frozenset({"int8-depthwise"}), frozenset({"int8-reflected"})
# TensorRT for RTX has no timing cache; its API for one does nothing and warns.
without_cache = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


def test_every_kind_has_a_rule() -> None:
    assert FLOATS.keys() == CAN_BE_FLOAT


@pytest.mark.parametrize("family", ["fast-style", "instance norm", "separable", "frn"])
def test_half_scales(export_family: Export, family: str) -> None:
    before = to_int8_fp16(to_int8(rewritten(export_family(family), EVEN)))
    after = prepare(before, HALF_SCALES)
    assert [one.version for one in after.opset_import if not one.domain] == [19]
    made_by = producers(after.graph)
    for node in multiplying_in_int8(after):
        assert {made_by[name].op_type for name in node.input[:2]} == {"DequantizeLinear"}
    assert len(multiplying_in_int8(after)) == len(multiplying_in_int8(before)) > 7


@without_cache
def test_half_scales_compile(export_family: Export) -> None:
    before = to_int8_fp16(to_int8(rewritten(export_family("frn"), EVEN)))
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu12, which there is for Linux on x86-64")
    from .compiler import CONVOLUTIONS, compile_for

    log = compile_for(ready(before.SerializeToString(), AMPERE, HALF_SCALES), "int8-fp16")
    assert log.messages("WARNING", "ERROR", "INTERNAL_ERROR") == []
    kernels = [kernel for kernel in log.kernels() if kernel.kind in CONVOLUTIONS]
    assert {kernel.reads[0].type for kernel in kernels} == {"Int8"}
    assert {kernel.writes[0].type for kernel in kernels} == {"Half"}


@pytest.mark.parametrize("level", ["int8", "int8x2"])
@pytest.mark.parametrize("body", [smoke.DEPTHWISE, smoke.REFLECTED])
def test_a_convolution_in_floats_computes_the_same(body: str, level: str) -> None:
    """But for the rounding of its input: what is left is that of the weights, which `int8x2` has too."""
    model = smoke._int8(body, level=level)
    exact, twice, found = (
        session(one.SerializeToString()).run(None, feed())[0]
        for one in (
            smoke._graph(body),
            smoke._int8(body, level="int8x2"),
            prepare(model, Forms(in_floats=DEPTHWISE | REFLECTED)),
        )
    )
    assert np.abs(found - twice).max() < 1e-3 * np.abs(exact).max()
    assert 1e-3 < np.abs(found - exact).max() / np.abs(exact).max() < 1e-2


def test_only_convolutions_in_groups_are_in_floats(export_family: Export) -> None:
    before = to_int8(rewritten(export_family("separable"), EVEN))
    default, after = prepare(before), prepare(before, Forms(in_floats=DEPTHWISE))
    kept = {node.name for node in multiplying_in_int8(default) if attribute(node, "group", 1) == 1}
    assert {node.name for node in multiplying_in_int8(after)} == kept
    assert 0 < len(kept) < len(multiplying_in_int8(default))
    assert len(convolutions(after.graph)) == len(convolutions(before.graph))


def test_a_net_without_any_int8_convolution_is_refused(export_family: Export) -> None:
    """Every convolution of this net is behind a reflection."""
    model = to_int8(rewritten(export_family("frn"), EVEN)).SerializeToString()
    with pytest.raises(BuildError, match="no convolution of this net can be INT8 on this GPU: those behind a refl"):
        ready(model, AMPERE, Forms(in_floats=REFLECTED))


def test_reflections_behind_the_quantizers(export_family: Export) -> None:
    before = to_int8(rewritten(export_family("frn"), EVEN))
    default, after = prepare(before), prepare(before, Forms(reflects_int8=True))
    assert max_difference(default, after, EVEN) == 0
    made_by = producers(after.graph)
    sources = [made_by[node.input[0]].op_type for node in multiplying_in_int8(after)]
    assert sources.count("Pad") > 5


@without_cache
def test_floats_between_int8_compile(export_family: Export) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu12, which there is for Linux on x86-64")
    from .compiler import CONVOLUTIONS, compile_for

    model = to_int8_fp16(to_int8(rewritten(export_family("separable"), EVEN)))
    after = ready(model.SerializeToString(), AMPERE, Forms(in_floats=DEPTHWISE))
    graph = onnx.load_from_string(after).graph
    expected = ["Int8" if node.input[1] in dequantized(graph) else "Half" for node in convolutions(graph)]
    log = compile_for(after, "int8-fp16")
    found = [kernel.reads[0].type for kernel in log.kernels() if kernel.kind in CONVOLUTIONS]
    assert sorted(found) == sorted(expected)
    assert set(found) == {"Int8", "Half"}
