"""Pictures of all sizes and formats through engines, one by one and in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, noise
from PIL import Image

from nstopt.errors import BundleError, MediaError
from nstopt.media.jobs import PictureJob, list_jobs
from nstopt.media.stylize import fit, run, stylize
from nstopt.pictures.files import read_picture, resize
from nstopt.pictures.size import Size

from .conftest import MakeEngine


def test_an_engine_for_any_size_gets_the_picture_as_it_is(make_engine: MakeEngine) -> None:
    engine, picture = make_engine(), noise(37, 51)
    assert fit(engine, picture).inner == (37, 51)
    np.testing.assert_array_equal(stylize(engine, picture), 255 - picture)


@pytest.mark.parametrize(
    ("size", "inner"),
    [
        ((48, 64), (48, 64)),
        ((100, 100), (48, 48)),
        ((200, 50), (48, 12)),
        ((16, 300), (3, 64)),
        ((16, 2000), (1, 64)),
    ],
)
def test_a_picture_of_another_size_keeps_its_own(
    make_engine: MakeEngine, size: tuple[int, int], inner: tuple[int, int]
) -> None:
    engine, picture = make_engine(SMALL), noise(*size)
    assert fit(engine, picture).inner == inner
    result = stylize(engine, picture)
    assert result.shape == (*size, 3)
    assert result.flags.c_contiguous
    assert engine.calls == [(1, 48, 64, 3)]


@pytest.mark.parametrize(("size", "ran_at"), [((40, 70), (48, 64)), ((90, 80), (96, 96)), ((96, 96), (96, 96))])
def test_an_engine_of_several_sizes_runs_at_the_nearest(
    make_engine: MakeEngine, size: tuple[int, int], ran_at: tuple[int, int]
) -> None:
    engine = make_engine(SMALL, Size(96, 96))
    assert stylize(engine, noise(*size)).shape == (*size, 3)
    assert engine.calls == [(1, *ran_at, 3)]


def test_another_size_is_scaled_not_distorted(make_engine: MakeEngine) -> None:
    picture = noise(24, 24)
    scaled = resize(picture, Size(48, 48))
    np.testing.assert_array_equal(fit(make_engine(SMALL), picture).picture[:, :48], scaled)
    np.testing.assert_array_equal(fit(make_engine(SMALL), picture).picture[:, 48:], scaled[:, 46:30:-1])
    np.testing.assert_array_equal(stylize(make_engine(SMALL), picture), resize(255 - scaled, Size(24, 24)))


def test_a_bad_picture_does_not_stop_the_others(make_engine: MakeEngine, tmp_path: Path) -> None:
    Image.fromarray(noise(20, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    Image.fromarray(noise(15, 30)).save(tmp_path / "c.png")
    Image.fromarray(noise(24, 18)).save(tmp_path / "d.jpg")
    done = list(run(make_engine(), list_jobs(tmp_path, tmp_path / "out", False), False))
    assert [type(one.error) for one in done] == [type(None), MediaError, MediaError, type(None)]
    assert [(one.size, one.ran_at) for one in (done[0], done[3])] == [((20, 30), (20, 30)), ((24, 18), (24, 18))]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "d.jpg"]
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "a.png").rgb, 255 - noise(20, 30))


def test_a_picture_that_the_engine_refuses_does_not_stop_the_others(make_engine: MakeEngine, tmp_path: Path) -> None:
    for name, height in (("a", 20), ("b", 24), ("c", 20)):
        Image.fromarray(noise(height, 30)).save(tmp_path / f"{name}.png")
    done = list(run(make_engine(refused=24), list_jobs(tmp_path, tmp_path / "out", False), False))
    assert [type(one.error) for one in done] == [type(None), BundleError, type(None)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(("batch", "calls"), [(1, 5), (2, 3), (4, 2), (None, 5)])
def test_a_folder_fills_the_batch(make_engine: MakeEngine, tmp_path: Path, batch: int | None, calls: int) -> None:
    for number in range(5):
        Image.fromarray(noise(48, 64, number)).save(tmp_path / f"{number}.png")
    engine = make_engine(SMALL, batch=batch)
    done = list(run(engine, list_jobs(tmp_path, tmp_path / "out", False), False))
    assert engine.calls == [(batch or 1, 48, 64, 3)] * calls
    assert [one.job.source.name for one in done] == [f"{number}.png" for number in range(5)]
    for number in range(5):
        written = read_picture(tmp_path / "out" / f"{number}.png").rgb
        np.testing.assert_array_equal(written, 255 - noise(48, 64, number))


def test_a_batch_has_pictures_of_one_shape(make_engine: MakeEngine, tmp_path: Path) -> None:
    for name, size in (("a", (20, 30)), ("b", (20, 30)), ("c", (24, 18)), ("d", (20, 30)), ("e", (20, 30))):
        Image.fromarray(noise(*size)).save(tmp_path / f"{name}.png")
    jobs = list_jobs(tmp_path, tmp_path / "out", False)
    free, fixed = make_engine(batch=2), make_engine(SMALL, batch=2)
    assert [one.error for one in run(free, jobs, False)] == [None] * 5
    assert free.calls == [(2, 20, 30, 3), (2, 24, 18, 3), (2, 20, 30, 3)]
    assert [one.error for one in run(fixed, jobs, False)] == [None] * 5
    assert fixed.calls == [(2, 48, 64, 3)] * 3


@pytest.mark.parametrize("keep", [False, True])
def test_transparency(make_engine: MakeEngine, tmp_path: Path, keep: bool) -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 10:] = 255
    image = Image.fromarray(noise(20, 30))
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "in.png")
    (done,) = run(make_engine(), list_jobs(tmp_path / "in.png", tmp_path / "out.png", keep), keep)
    assert done.error is None
    written = Image.open(tmp_path / "out.png")
    assert written.mode == ("RGBA" if keep else "RGB")
    white = noise(20, 30)
    white[:, :10] = 255
    np.testing.assert_array_equal(np.asarray(written)[..., :3], 255 - white)
    if keep:
        np.testing.assert_array_equal(np.asarray(written)[..., 3], alpha)


def test_a_result_that_cannot_be_written(make_engine: MakeEngine, tmp_path: Path) -> None:
    Image.fromarray(noise(20, 30)).save(tmp_path / "in.png")
    (done,) = run(make_engine(), [PictureJob(tmp_path / "in.png", tmp_path / "in.png" / "out.png")], False)
    assert "cannot be written" in str(done.error)


def test_before_and_after_of_a_folder_are_made_in_memory(make_engine: MakeEngine, tmp_path: Path) -> None:
    for name, picture in (("a", noise(20, 30)), ("b", noise(24, 18, 1))):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    jobs = list_jobs(tmp_path, tmp_path / "out", False, tmp_path / "both")
    lossy = [job._replace(target=job.target.with_suffix(".jpg")) for job in jobs]
    assert [one.error for one in run(make_engine(), lossy, False)] == [None] * 2
    for name, picture in (("a", noise(20, 30)), ("b", noise(24, 18, 1))):
        both = read_picture(tmp_path / "both" / f"{name}.png").rgb
        np.testing.assert_array_equal(both, np.concatenate([picture, 255 - picture], axis=1))
