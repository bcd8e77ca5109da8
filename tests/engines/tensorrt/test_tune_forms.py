"""The choice between two plans, on doubles of cuda-python and tensorrt."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from nstopt.engines.tensorrt.build import Plan, run
from nstopt.engines.tensorrt.built_types import BuiltTypes
from nstopt.engines.tensorrt.forms import Forms, default_forms, forms_to_time
from nstopt.errors import BuildError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.progress import Silent

from .conftest import SMALL, Host, model
from .host_tensorrt import plan_of

CHOICES = {"default": Forms(), "own norms": Forms(own_norms=True)}
SHAPE = InputShape.of(1, Size(*SMALL))


def build(into: Path, forms: Forms) -> Plan:
    (into / "engine.plan").write_bytes(plan_of(model()))
    (into / "layers.json").write_text("own norms" if forms.own_norms else "default")
    return Plan("10.8", BuiltTypes("fp32", ("own",) if forms.own_norms else ()))


@pytest.fixture
def tune_forms(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, imported with the doubles."""
    name = "nstopt.engines.tensorrt.tune_forms"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name)


@pytest.mark.parametrize(("times", "form"), [([2.0, 1.0], "own norms"), ([1.0, 2.0], "default")])
def test_the_faster_plan_is_kept(
    tune_forms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[float], form: str
) -> None:
    def measured(runs: list[Any]) -> list[float]:
        for one in runs:
            (found,) = one()
            assert found.shape == (1, *SMALL, 3)
        return times

    monkeypatch.setattr(tune_forms, "take_turns", measured)
    (tmp_path / "bundle").mkdir()
    plan, tuned = tune_forms.fastest_forms(build, CHOICES, SHAPE, tmp_path / "bundle")
    assert plan.types.differences == (("own",) if form == "own norms" else ())
    assert (tuned.layer, tuned.form) == ("norms and scales", form)
    assert tuned.latency_ms == {"default": times[0], "own norms": times[1]}
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == ["build.log", "engine.plan", "layers.json"]
    assert (tmp_path / "bundle" / "layers.json").read_text() == form


def test_norms_that_crash_are_no_choice(tune_forms: Any, tmp_path: Path) -> None:
    """The process that builds and runs the plan crashes, as a plugin without its cuDNN does."""

    def crashing(into: Path, forms: Forms) -> Plan:
        code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
        if forms.own_norms:
            run([sys.executable, "-c", code], Silent())
        return build(into, forms)

    plan, tuned = tune_forms.fastest_forms(crashing, CHOICES, SHAPE, tmp_path)
    assert tuned.form == "default"
    assert plan.types.differences == ()
    assert (tmp_path / "layers.json").read_text() == "default"
    reason = "--tune leaves out own norms: TensorRT's builder was killed by signal 11: no error message\n"
    assert (tmp_path / "build.log").read_text() == reason


def test_norms_that_tensorrt_cannot_build_are_no_choice(tune_forms: Any, tmp_path: Path) -> None:
    def failing(own: bool) -> Any:
        def one(into: Path, forms: Forms) -> Plan:
            if forms.own_norms == own:
                raise BuildError("no tactic")
            return build(into, forms)

        return one

    _, tuned = tune_forms.fastest_forms(failing(own=True), CHOICES, SHAPE, tmp_path)
    assert tuned.form == "default"
    assert list(tuned.latency_ms) == ["default"]
    with pytest.raises(BuildError, match="no tactic"):
        tune_forms.fastest_forms(failing(own=False), CHOICES, SHAPE, tmp_path)


def test_what_is_timed() -> None:
    def names(version: str, precision: str, *avoided: str, has_norms: bool = True) -> list[str]:
        return [*forms_to_time(version, frozenset(avoided), Forms(), precision, has_norms)]

    assert names("8.6.0", "int8") == ["default"]
    assert names("8.6.1", "int8") == names("10.8", "fp16") == ["default", "own norms"]
    every = ["default", "own norms", "default, FP16 scales", "own norms, FP16 scales"]
    assert names("10.8", "int8-fp16") == every
    assert names("10.8", "int8-fp16", has_norms=False) == ["default", "default, FP16 scales"]
    assert names("10.8", "int8-fp16", "own-norm", "int8-fp16-scales") == ["default"]


def test_the_default_without_what_failed() -> None:
    assert default_forms("10.8", frozenset(), own_norms=False) == Forms()
    failed = frozenset({"norm", "int8-fp16", "int8-depthwise", "int8x2"})
    assert default_forms("10.8", failed, own_norms=False) == Forms(True, True, False, frozenset({"int8-depthwise"}))
    reflected = frozenset({"int8-reflected"})
    assert default_forms("8.6.0", reflected, own_norms=False) == Forms(reflects_int8=True)
    assert default_forms("8.6.0", reflected | {"int8-reflected-after"}, own_norms=False) == Forms(in_floats=reflected)
    assert [default_forms(version, frozenset(), True).own_norms for version in ("8.6.0", "8.6.1")] == [False, True]
