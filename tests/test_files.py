"""Hashes, and writes that leave the old file or the new one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nstopt.files import CHUNK_BYTES, atomic_path, check_writable, sha256_file


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_the_hash_is_that_of_all_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_a_write_that_ends_well_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.png"
    for text in ("first", "second"):
        with atomic_path(path) as temporary:
            assert temporary.suffix == ".png"
            temporary.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "out") as temporary:
            temporary.write_text("text")
    finally:
        os.umask(mask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.json"
    check_writable(path)
    assert list(path.parent.iterdir()) == []
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "reason"), [("file/out", "file is not a folder"), ("file/new/out", "Not a directory"), ("", "is a folder")]
)
def test_check_writable_names_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=reason) as caught:
        check_writable(tmp_path / name)
    assert reason in str(caught.value.strerror)
