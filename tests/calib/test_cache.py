"""INT8 graphs of earlier builds: found again by all inputs of the search, and only by them."""

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
from nstopt.calib.search import QualityTarget, Render
from nstopt.pictures.files import Picture
from nstopt.progress import Silent

from .conftest import MakeGraph, render


class SearchStartedError(Exception):
    """Raised by `refuse`: the graph did not come from the cache."""


def refuse(model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
    raise SearchStartedError


def build(
    model: onnx.ModelProto, pictures: PictureSet, render: Render, target_db: float = 0, judge: str = "a"
) -> Quantized:
    target = QualityTarget(target_db, target_db)
    return calibrate(model, Calibration(pictures, SMALL, 1, Int8Inputs(("Conv",)), render, judge, target), Silent())


@pytest.fixture(scope="module")
def searched(make_graph: MakeGraph, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Quantized]:
    """A cache after one search, and the result of the search."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        return folder, build(make_graph("johnson"), from_folder(photos), render)


@pytest.fixture
def first(searched: tuple[Path, Quantized], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Quantized:
    """The result of the search; a copy of the cache is in use."""
    shutil.copytree(searched[0], tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return searched[1]


def test_the_same_inputs_are_searched_once(first: Quantized, make_graph: MakeGraph, photos: Path) -> None:
    assert build(make_graph("johnson"), from_folder(photos), refuse) == first


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("change", ["net", "pictures", "target", "judge"])
def test_other_inputs_are_searched_again(make_graph: MakeGraph, photos: Path, change: str) -> None:
    pictures = from_folder(photos)
    model = make_graph("fast-style" if change == "net" else "johnson")
    pictures = at_most(pictures, 5) if change == "pictures" else pictures
    target_db, judge = float(change == "target"), "b" if change == "judge" else "a"
    with pytest.raises(SearchStartedError):
        build(model, pictures, refuse, target_db, judge)


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(("suffix", "content"), [("onnx", None), ("onnx", b""), ("json", b'{"layers": 3}')])
def test_damaged_entries_are_searched_again(
    make_graph: MakeGraph, photos: Path, tmp_path: Path, suffix: str, content: bytes | None
) -> None:
    (file,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    file.write_bytes(content) if content is not None else file.unlink()
    with pytest.raises(SearchStartedError):
        build(make_graph("johnson"), from_folder(photos), refuse)


def test_keys_separate_their_parts() -> None:
    assert cache.key(["ab", "c"]) != cache.key(["a", "bc"])
    assert cache.key([b"a"]) == cache.key(["a"])


def test_a_cache_that_cannot_be_written_is_skipped(
    make_graph: MakeGraph, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert build(make_graph("johnson"), from_folder(photos), render).layers
