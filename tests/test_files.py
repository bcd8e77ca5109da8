"""Hashes, and writes that leave the old file or the new one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from nstopt.errors import NstoptError
from nstopt.files import (
    CHUNK_BYTES,
    MARK,
    atomic_path,
    check_regular,
    check_writable,
    decode_json,
    decode_versioned,
    read_regular,
    removed,
    sha256_file,
    write_atomically,
)


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


def test_a_path_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "file"
    old.write_text("old")
    check_writable(old)
    check_writable(tmp_path / "new" / "file")
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "new"]


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path / "file" / "below")


class Versioned(msgspec.Struct):
    format_version: int
    value: str


def test_versioned_json_is_decoded() -> None:
    raw = b'{"format_version": 2, "value": "a"}'
    assert decode_versioned(raw, Versioned, 2) == Versioned(2, "a")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"format_version": 1, "other": 3}', "it has format 1, but this nstopt reads format 2"),
        (b'{"format_version": 2}', "missing required field `value`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"\xff", "malformed"),
        (b'{"format_version": 2, "value": "\xff"}', "can't decode byte"),
    ],
)
def test_other_json_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_versioned(raw, Versioned, 2)


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    path, others = tmp_path / "a[b].png", [tmp_path / ".a[b].old.png", tmp_path / f".c.x{MARK}.png"]
    left = tmp_path / f".a[b].12345678{MARK}.png"
    for file in (left, *others):
        file.touch()
    write_atomically(path, b"new")
    assert left.exists()
    for file in (left, *others):
        os.utime(file, (0, 0))
    write_atomically(path, b"new")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
    assert removed == [left]
    removed.clear()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"12345")
    for name, message in (("fifo", "not a file"), ("large", "larger than"), ("..", "directory"), ("no", "No such")):
        with pytest.raises(OSError, match=message):
            read_regular(tmp_path / name, 4)
    with pytest.raises(OSError, match="not a file"):
        check_regular(Path("/dev/zero"))
    assert read_regular(tmp_path / "large", 5) == b"12345"


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_json(b"[" * 100_000 + b"]" * 100_000, object)


def test_a_device_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(NstoptError, match="pipe: cannot be written: a device, pipe or socket, not a file"):
        write_atomically(pipe, b"content")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
