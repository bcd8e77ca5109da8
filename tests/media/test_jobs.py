"""Sources and outputs are checked before any picture is stylized."""

from __future__ import annotations

from pathlib import Path

import pytest

from nstopt.errors import MediaError
from nstopt.media.jobs import PictureJob, list_jobs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two pictures, a link to one, and files that are no pictures."""
    monkeypatch.chdir(tmp_path)
    pictures = tmp_path / "in"
    pictures.mkdir()
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.png"):
        (pictures / name).write_text("")
    (tmp_path / "link.png").symlink_to("in/a.png")
    (tmp_path / "file.png").write_text("")
    return tmp_path


def test_a_picture_into_a_file_or_a_folder(folder: Path) -> None:
    (folder / "out").mkdir()
    source, out = Path("in/b.jpg"), Path("out")
    assert list_jobs(source, Path("b.png"), False) == [PictureJob(source, Path("b.png"))]
    assert list_jobs(source, out, False) == [PictureJob(source, out / "b.jpg")]
    assert list_jobs(source, out, True) == [PictureJob(source, out / "b.png")]
    assert list_jobs(source, out, False, Path("both.png")) == [PictureJob(source, out / "b.jpg", Path("both.png"))]
    assert list_jobs(source, Path("b.png"), False, out) == [PictureJob(source, Path("b.png"), out / "b.jpg")]


def test_a_folder_into_a_folder(folder: Path) -> None:
    source, out = Path("in"), Path("out")
    assert [job.target for job in list_jobs(source, out, False)] == [out / "a.png", out / "b.jpg"]
    assert [job.target for job in list_jobs(source, out, True)] == [out / "a.png", out / "b.png"]
    both = [job.side_by_side for job in list_jobs(source, out, True, Path("both"))]
    assert both == [Path("both/a.png"), Path("both/b.jpg")]


def test_two_pictures_with_one_result(folder: Path) -> None:
    (folder / "in" / "a.jpg").write_text("")
    with pytest.raises(MediaError, match=r"out/a\.png: would be the result of both a\.jpg and a\.png; rename one"):
        list_jobs(Path("in"), Path("out"), keep_alpha=True)


@pytest.mark.parametrize(
    ("source", "target", "side_by_side"),
    [
        ("in/a.png", "in/a.png", None),
        ("in/a.png", "link.png", None),
        ("in/a.png", "in/../in/a.png", None),
        ("in/a.png", "in", None),
        ("in", "in", None),
        ("in/a.png", "out.png", "in/a.png"),
        ("in/a.png", "out.png", "link.png"),
        ("in", "out", "in"),
    ],
)
def test_no_picture_is_overwritten(folder: Path, source: str, target: str, side_by_side: str | None) -> None:
    both = Path(side_by_side) if side_by_side else None
    with pytest.raises(MediaError, match="the result would overwrite the picture itself; choose another output"):
        list_jobs(Path(source), Path(target), False, both)


@pytest.mark.parametrize(("source", "outputs"), [("in/a.png", ("out.png", "./out.png")), ("in", ("out", "in/../out"))])
def test_no_result_is_overwritten_by_the_side_by_side_picture(
    folder: Path, source: str, outputs: tuple[str, str]
) -> None:
    target, both = map(Path, outputs)
    with pytest.raises(MediaError, match="would be both the result and the side-by-side picture"):
        list_jobs(Path(source), target, False, both)


@pytest.mark.parametrize("outputs", [("file.png", None), ("out", "file.png")])
def test_a_folder_does_not_fit_into_a_file(folder: Path, outputs: tuple[str, str | None]) -> None:
    target, both = outputs
    with pytest.raises(MediaError, match=r"file\.png: is a file; the results of a folder need a folder"):
        list_jobs(Path("in"), Path(target), False, Path(both) if both else None)


def test_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures in this folder"):
        list_jobs(tmp_path, tmp_path / "out", False)
