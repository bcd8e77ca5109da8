from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nstopt.errors import DeviceError
from nstopt.strips import spill
from nstopt.strips.spill import SpillFiles, require_space, spill_folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpillFiles]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with ThreadPoolExecutor(2) as pool, SpillFiles(pool) as opened:
        yield opened


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_rows_come_back(files: SpillFiles, dtype: type[np.generic], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "RUN_BYTES", 100)
    rows = np.random.default_rng(0).integers(0, 200, (30, 7, 5)).astype(dtype)
    tensor = files.new((30, 7, 5), dtype)
    for begin, end in ((20, 30), (0, 13), (13, 20), (5, 5)):
        tensor.write(rows[begin:end], begin)
    for begin, end in ((0, 30), (12, 22), (3, 4)):
        found = tensor.read(begin, end)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found[0], rows[begin:end])


def test_files_have_no_names_and_are_used_again(files: SpillFiles, tmp_path: Path) -> None:
    first, second = files.new((4, 3, 2), np.float32), files.new((4, 3, 2), np.float32)
    first.write(np.ones((4, 3, 2), np.float32), 0)
    assert list(tmp_path.iterdir()) == []
    assert first.file != second.file
    files.drop(first)
    assert files.new((8, 3, 2), np.float32).file == first.file


def test_a_full_disk(files: SpillFiles) -> None:
    tensor = files.new((4, 3, 2), np.float32)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, tensor.file)
    os.close(full)
    with pytest.raises(DeviceError, match=r"cannot use a temporary file in .*: No space left on device"):
        tensor.write(np.ones((4, 3, 2), np.float32), 0)


def test_too_little_space() -> None:
    require_space(0)
    with pytest.raises(DeviceError, match=r"has .* GiB free, and 4294967296\.0 GiB of intermediate results go there"):
        require_space(2**62)


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert spill_folder() == tmp_path
    monkeypatch.delenv("TMPDIR")
    assert spill_folder().is_dir()
