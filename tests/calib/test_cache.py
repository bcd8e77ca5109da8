"""INT8 graphs of earlier builds: found again by what they depend on, and by nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from conftest import SMALL

from nstopt.calib import cache
from nstopt.calib.calibrate import Calibration, Quantized, calibrate
from nstopt.calib.picture_sets import PictureSet, at_most, from_folder
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.search import QualityTarget
from nstopt.pictures.files import Picture
from nstopt.progress import Silent

from .conftest import MakeGraph, render


class Counting:
    """Renders, and counts the models."""

    def __init__(self) -> None:
        self.models = 0

    def __call__(self, model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
        self.models += 1
        return render(model, pictures)


def build(
    model: onnx.ModelProto, pictures: PictureSet, counting: Counting, aim: float = 0, judge: str = "a"
) -> Quantized:
    calibration = Calibration(pictures, SMALL, 1, Int8Inputs(("Conv",)), counting, judge, QualityTarget(aim, aim))
    return calibrate(model, calibration, Silent())


@pytest.fixture(scope="module")
def searched(make_graph: MakeGraph, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Quantized]:
    """A cache after one search, and what that found."""
    folder, counting = tmp_path_factory.mktemp("cache"), Counting()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        precise = build(make_graph("johnson"), from_folder(photos), counting)
    assert counting.models > 3
    return folder, precise


@pytest.fixture
def first(searched: tuple[Path, Quantized], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Quantized:
    """What was found; a copy of the cache is in use."""
    shutil.copytree(searched[0], tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return searched[1]


def test_the_same_inputs_are_searched_once(first: Quantized, make_graph: MakeGraph, photos: Path) -> None:
    counting = Counting()
    assert build(make_graph("johnson"), from_folder(photos), counting) == first
    assert counting.models == 0


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("change", ["net", "pictures", "aim", "judge"])
def test_other_inputs_are_searched_again(make_graph: MakeGraph, photos: Path, change: str) -> None:
    counting, pictures = Counting(), from_folder(photos)
    model = make_graph("fast-style" if change == "net" else "johnson")
    pictures = at_most(pictures, 5) if change == "pictures" else pictures
    build(model, pictures, counting, aim=float(change == "aim"), judge="b" if change == "judge" else "a")
    assert counting.models > 3


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(("suffix", "content"), [("onnx", None), ("onnx", b""), ("json", b'{"layers": 3}')])
def test_damaged_entries_are_made_again(
    make_graph: MakeGraph, photos: Path, tmp_path: Path, suffix: str, content: bytes | None
) -> None:
    (file,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    file.write_bytes(content) if content is not None else file.unlink()
    counting = Counting()
    build(make_graph("johnson"), from_folder(photos), counting)
    assert counting.models > 3


def test_keys_tell_parts_apart() -> None:
    assert cache.key(["ab", "c"]) != cache.key(["a", "bc"])
    assert cache.key([b"a"]) == cache.key(["a"])


def test_a_cache_that_cannot_be_written_is_done_without(
    make_graph: MakeGraph, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert build(make_graph("johnson"), from_folder(photos), Counting()).layers
