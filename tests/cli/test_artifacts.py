"""The artifact that a command takes when none is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nstopt.cli.artifacts import newest_bundle, newest_onnx, newest_run
from nstopt.errors import BuildError, BundleError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "nstopt-out"
    folder.mkdir()
    return folder


def written(path: Path, second: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    os.utime(path, (second, second))


def test_the_newest_is_taken_not_the_last_by_name(folder: Path) -> None:
    for second, name in enumerate(("b", "c", "a")):
        written(folder / f"{name}.onnx", second)
        written(folder / f"{name}.nst" / "manifest.json", second)
        written(folder / f"bench-{name}.json", second)
    assert newest_onnx() == Path("nstopt-out/a.onnx")
    assert newest_bundle() == Path("nstopt-out/a.nst")
    assert newest_run() == Path("nstopt-out/bench-a.json")


def test_unfinished_ones_do_not_count(folder: Path) -> None:
    written(folder / ".a.nst.123.tmp" / "manifest.json", 5)
    written(folder / ".b.nst" / "manifest.json", 5)
    written(folder / ".a.0f3.onnx", 5)
    (folder / "empty.nst").mkdir()
    written(folder / "a.onnx", 1)
    written(folder / "a.nst" / "manifest.json", 1)
    assert (newest_onnx().name, newest_bundle().name) == ("a.onnx", "a.nst")


@pytest.mark.parametrize("there", [True, False])
def test_the_error_names_the_command_that_makes_one(folder: Path, there: bool) -> None:
    if not there:
        folder.rmdir()
    with pytest.raises(BuildError, match=r"no ONNX file in \./nstopt-out: name one, or run nstopt export first"):
        newest_onnx()
    with pytest.raises(BundleError, match=r"no engine bundle in \./nstopt-out: name one, or run nstopt build-engine"):
        newest_bundle()
    with pytest.raises(BuildError, match=r"no run file in \./nstopt-out: name one, or run nstopt bench first"):
        newest_run()
