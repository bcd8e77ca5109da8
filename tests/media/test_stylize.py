"""Pictures through an engine: whatever their size and format, and whatever else lies in the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, noise
from PIL import Image

from nstopt import engines
from nstopt.bundle import Bundle
from nstopt.engines.base import Engine
from nstopt.errors import MediaError
from nstopt.media.stylize import PictureJob, before_after, list_jobs, run, stylize
from nstopt.pictures.files import read_picture, resize
from nstopt.pictures.size import Size


@pytest.fixture(scope="module")
def fixed(int8_bundle: Bundle) -> Iterator[Engine]:
    """An engine for 48x64."""
    with engines.load(int8_bundle.path) as engine:
        yield engine


@pytest.fixture(scope="module")
def free(any_size_bundle: Bundle) -> Iterator[Engine]:
    """An engine for any size."""
    with engines.load(any_size_bundle.path) as engine:
        yield engine


def test_an_engine_for_any_size_runs_at_the_pictures_own(free: Engine) -> None:
    picture = noise(37, 51)
    result, ran_at = stylize(free, picture)
    assert ran_at == (37, 51)
    np.testing.assert_array_equal(result, free(picture))


def test_a_picture_of_the_engines_size(fixed: Engine) -> None:
    picture = noise(*SMALL)
    result, ran_at = stylize(fixed, picture)
    assert ran_at == SMALL
    np.testing.assert_array_equal(result, fixed(picture))


@pytest.mark.parametrize(
    ("size", "inner"),
    [((96, 128), (48, 64)), ((100, 100), (48, 48)), ((200, 50), (48, 12)), ((16, 300), (3, 64)), ((16, 2000), (1, 64))],
)
def test_a_picture_of_another_size_keeps_its_own(fixed: Engine, size: tuple[int, int], inner: tuple[int, int]) -> None:
    result, ran_at = stylize(fixed, noise(*size))
    assert result.shape == (*size, 3)
    assert result.flags.c_contiguous
    assert ran_at == inner


def test_another_size_is_scaled_not_distorted(fixed: Engine) -> None:
    picture = noise(24, 24)
    result, inner = stylize(fixed, picture)
    scaled = resize(picture, inner)
    filled = np.pad(scaled, ((0, 0), (0, 16), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(result, resize(np.ascontiguousarray(fixed(filled)[:, :48]), Size(24, 24)))


def test_a_picture_into_a_file_or_a_folder(tmp_path: Path) -> None:
    source, folder = tmp_path / "a.jpg", tmp_path / "out"
    folder.mkdir()
    assert list_jobs(source, tmp_path / "b.png", False) == [PictureJob(source, tmp_path / "b.png")]
    assert list_jobs(source, folder, False) == [PictureJob(source, folder / "a.jpg")]
    assert list_jobs(source, folder, True) == [PictureJob(source, folder / "a.png")]


def test_a_folder_into_a_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_text("")
    assert [job.target.name for job in list_jobs(tmp_path, tmp_path / "out", False)] == ["a.png", "b.jpg"]
    assert [job.target.name for job in list_jobs(tmp_path, tmp_path / "out", True)] == ["a.png", "b.png"]


def test_two_pictures_that_would_have_one_result(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).write_text("")
    with pytest.raises(MediaError, match=r"out/a\.png: would be the result of both a\.jpg and a\.png; rename one"):
        list_jobs(tmp_path, tmp_path / "out", keep_alpha=True)


def test_no_picture_is_overwritten_by_its_result(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    (tmp_path / "link.png").symlink_to("a.png")
    for source, target in (("a.png", "a.png"), ("a.png", "link.png"), ("a.png", "."), (".", ".")):
        with pytest.raises(MediaError, match="the result would overwrite the picture itself; choose another output"):
            list_jobs(tmp_path / source, tmp_path / target, False)


def test_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures in this folder"):
        list_jobs(tmp_path, tmp_path / "out", False)


def test_a_folder_goes_into_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    (tmp_path / "out.png").write_text("")
    with pytest.raises(MediaError, match=r"out\.png: is a file; the results of a folder need a folder"):
        list_jobs(tmp_path, tmp_path / "out.png", False)


def test_a_bad_picture_does_not_stop_the_others(free: Engine, tmp_path: Path) -> None:
    Image.fromarray(noise(20, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    Image.fromarray(noise(15, 30)).save(tmp_path / "c.png")
    Image.fromarray(noise(24, 18)).save(tmp_path / "d.jpg")
    jobs = list_jobs(tmp_path, tmp_path / "out", False)
    done = list(run(free, jobs, False))
    assert [one.error is None for one in done] == [True, False, False, True]
    assert [(one.size, one.ran_at) for one in (done[0], done[3])] == [((20, 30), (20, 30)), ((24, 18), (24, 18))]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "d.jpg"]
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "a.png").rgb, free(noise(20, 30)))


@pytest.mark.parametrize("keep", [False, True])
def test_transparency(free: Engine, tmp_path: Path, keep: bool) -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 10:] = 255
    image = Image.fromarray(noise(20, 30))
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "in.png")
    (done,) = run(free, list_jobs(tmp_path / "in.png", tmp_path / "out.png", keep), keep)
    assert done.error is None
    written = Image.open(tmp_path / "out.png")
    assert written.mode == ("RGBA" if keep else "RGB")
    white = noise(20, 30)
    white[:, :10] = 255
    np.testing.assert_array_equal(np.asarray(written)[..., :3], free(white))
    if keep:
        np.testing.assert_array_equal(np.asarray(written)[..., 3], alpha)


def test_a_result_that_cannot_be_written(free: Engine, tmp_path: Path) -> None:
    Image.fromarray(noise(20, 30)).save(tmp_path / "in.png")
    (done,) = run(free, [PictureJob(tmp_path / "in.png", tmp_path / "in.png" / "out.png")], False)
    assert "cannot be written" in str(done.error)


def test_before_and_after() -> None:
    both = before_after(noise(20, 30), noise(20, 30, 1))
    np.testing.assert_array_equal(both[:, :30], noise(20, 30))
    np.testing.assert_array_equal(both[:, 30:], noise(20, 30, 1))
