"""The measured time of a layer's levels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nstopt import engines
from nstopt.engines.openvino import core
from nstopt.engines.openvino_bf16 import is_native
from nstopt.pipeline.levels import level_cost


def test_levels_are_measured_in_halves() -> None:
    for cost in level_cost(engines.backend("openvino"), "int8").values():
        assert list(cost) == ["int8", "int8x2", "fp32"]
        assert cost["int8"] == 1
        assert all((2 * one).is_integer() for one in cost.values())


def test_costs_are_measured_once_on_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    level_cost.cache_clear()
    first = level_cost(engines.backend("openvino"), "int8")
    (file,) = (tmp_path / "nstopt" / "levels").iterdir()
    changed = {operator: {**cost, "int8x2": 7.5} for operator, cost in first.items()}
    for content, wanted in ((msgspec.json.encode(changed), changed), (b"{", first)):
        file.write_bytes(content)
        level_cost.cache_clear()
        assert level_cost(engines.backend("openvino"), "int8").keys() == wanted.keys()
        assert (level_cost(engines.backend("openvino"), "int8") == changed) == (wanted is changed)
    level_cost.cache_clear()


@pytest.mark.skipif(not is_native(core()), reason="this CPU has no BF16 arithmetic")
def test_bf16_is_a_level_where_it_stands_between() -> None:
    cost = level_cost(engines.backend("openvino"), "int8-bf16")["Conv"]
    assert list(cost) == ["int8", "int8x2", "bf16"]
    assert cost["bf16"] <= level_cost(engines.backend("openvino"), "int8")["Conv"]["fp32"]


def test_a_backend_that_computes_int8_in_fp32_has_the_usual_costs() -> None:
    usual = {"int8": 1, "int8x2": 2, "fp32": 4}
    assert level_cost(engines.backend("onnxruntime"), "int8") == {"Conv": usual, "ConvTranspose": usual}


def test_a_backend_that_is_slow_to_compile_has_the_usual_costs() -> None:
    usual = {"int8": 1, "int8x2": 2, "fp16": 2}
    assert level_cost(engines.backend("tensorrt"), "int8-fp16") == {"Conv": usual, "ConvTranspose": usual}
