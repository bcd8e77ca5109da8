"""The choice between two plans, on doubles of cuda-python and tensorrt."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from nstopt.engines.tensorrt.build import Plan, run
from nstopt.engines.tensorrt.built_types import BuiltTypes
from nstopt.errors import BuildError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.progress import Silent

from .conftest import SMALL, Host, model
from .host_tensorrt import plan_of

SHAPE = InputShape.of(1, Size(*SMALL))


def build(into: Path, own_norms: bool) -> Plan:
    (into / "engine.plan").write_bytes(plan_of(model()))
    (into / "layers.json").write_text("own" if own_norms else "operators")
    return Plan("10.8", BuiltTypes("fp32", ("own",) if own_norms else ()))


@pytest.fixture
def tune_norms(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, imported with the doubles."""
    name = "nstopt.engines.tensorrt.tune_norms"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name)


@pytest.mark.parametrize(("times", "form"), [([2.0, 1.0], "own"), ([1.0, 2.0], "operators")])
def test_the_faster_plan_is_kept(
    tune_norms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[float], form: str
) -> None:
    def measured(runs: list[Any]) -> list[float]:
        for one in runs:
            (found,) = one()
            assert found.shape == (1, *SMALL, 3)
        return times

    monkeypatch.setattr(tune_norms, "take_turns", measured)
    (tmp_path / "bundle").mkdir()
    plan, tuned = tune_norms.faster_norms(build, SHAPE, tmp_path / "bundle")
    assert plan.types.differences == (("own",) if form == "own" else ())
    assert (tuned.layer, tuned.form) == ("instance norms", form)
    assert tuned.latency_ms == {"operators": times[0], "own": times[1]}
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == ["build.log", "engine.plan", "layers.json"]
    assert (tmp_path / "bundle" / "layers.json").read_text() == form


def test_norms_that_crash_are_no_choice(tune_norms: Any, tmp_path: Path) -> None:
    """The process that builds and runs the plan crashes, as a plugin without its cuDNN does."""

    def crashing(into: Path, own_norms: bool) -> Plan:
        code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
        if own_norms:
            run([sys.executable, "-c", code], Silent())
        return build(into, own_norms)

    plan, tuned = tune_norms.faster_norms(crashing, SHAPE, tmp_path)
    assert tuned.form == "operators"
    assert plan.types.differences == ()
    assert (tmp_path / "layers.json").read_text() == "operators"
    reason = "TensorRT's own norms are left out: TensorRT's builder was killed by signal 11: no error message\n"
    assert (tmp_path / "build.log").read_text() == reason


def test_norms_that_tensorrt_cannot_build_are_no_choice(tune_norms: Any, tmp_path: Path) -> None:
    def failing(own: bool) -> Any:
        def one(into: Path, own_norms: bool) -> Plan:
            if own_norms == own:
                raise BuildError("no tactic")
            return build(into, own_norms)

        return one

    _, tuned = tune_norms.faster_norms(failing(own=True), SHAPE, tmp_path)
    assert tuned.form == "operators"
    assert list(tuned.latency_ms) == ["operators"]
    with pytest.raises(BuildError, match="no tactic"):
        tune_norms.faster_norms(failing(own=False), SHAPE, tmp_path)
