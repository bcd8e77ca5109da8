"""INT8 graphs of earlier builds: found again by what they depend on, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from conftest import SMALL

from nstopt.calib import cache
from nstopt.calib.pictures import PictureSet, at_most, from_folder
from nstopt.calib.precision import Calibration, Precise, to_precision
from nstopt.calib.ranges import Inputs
from nstopt.calib.search import Aim
from nstopt.pictures import RGB
from nstopt.progress import Silent

from .conftest import MakeGraph, render


class Counting:
    """Renders, and counts the models."""

    def __init__(self) -> None:
        self.models = 0

    def __call__(self, model: onnx.ModelProto, pictures: Sequence[RGB]) -> tuple[list[RGB], float]:
        self.models += 1
        return render(model, pictures)


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def build(
    model: onnx.ModelProto, pictures: PictureSet, counting: Counting, aim: float = 0, judge: str = "a"
) -> Precise:
    calibration = Calibration(pictures, SMALL, 1, Inputs(("Conv",)), counting, judge, Aim(aim, aim))
    return to_precision(model, "int8", calibration, Silent())


def test_the_same_inputs_are_searched_once(make_graph: MakeGraph, photos: Path) -> None:
    counting, pictures = Counting(), from_folder(photos)
    first = build(make_graph("johnson"), pictures, counting)
    searched = counting.models
    assert searched > 3
    again = build(make_graph("johnson"), from_folder(photos), counting)
    assert counting.models == searched
    assert again == first


def test_other_inputs_are_searched_again(make_graph: MakeGraph, photos: Path) -> None:
    counting, pictures = Counting(), from_folder(photos)
    build(make_graph("johnson"), pictures, counting)
    changes: tuple[Callable[[], Precise], ...] = (
        lambda: build(make_graph("fast-style"), pictures, counting),
        lambda: build(make_graph("johnson"), at_most(pictures, 5), counting),
        lambda: build(make_graph("johnson"), pictures, counting, aim=1),
        lambda: build(make_graph("johnson"), pictures, counting, judge="b"),
    )
    for change in changes:
        before = counting.models
        change()
        assert counting.models > before


@pytest.mark.parametrize(("suffix", "content"), [("onnx", None), ("onnx", b""), ("json", b'{"layers": 3}')])
def test_damaged_entries_are_made_again(
    make_graph: MakeGraph, photos: Path, tmp_path: Path, suffix: str, content: bytes | None
) -> None:
    counting, pictures = Counting(), from_folder(photos)
    build(make_graph("johnson"), pictures, counting)
    (file,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    file.write_bytes(content) if content is not None else file.unlink()
    before = counting.models
    build(make_graph("johnson"), pictures, counting)
    assert counting.models > before


def test_keys_tell_parts_apart() -> None:
    assert cache.key(["ab", "c"]) != cache.key(["a", "bc"])
    assert cache.key([b"a"]) == cache.key(["a"])


def test_a_cache_that_cannot_be_written_is_done_without(
    make_graph: MakeGraph, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert build(make_graph("johnson"), from_folder(photos), Counting()).layers
