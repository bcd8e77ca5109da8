"""Files: hashes, and atomic writes, which leave either the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nstopt.errors import NstoptError

CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 8 << 30
MAX_JSON_BYTES = 64 << 20
T = TypeVar("T")
# Part of the names of temporary files, by which they are recognized.
MARK = ".nstopt-part"
MAX_STEM = 100
LEFT_SECONDS = 24 * 3600
# Leftovers of killed processes that this one removed: the command says so at its end.
removed: list[Path] = []


def cache_folder() -> Path:
    """Folder of cached measurements and calibrations: $XDG_CACHE_HOME/nstopt, or ~/.cache/nstopt. Raises NstoptError if
    the user has no home."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "nstopt"
    except RuntimeError as error:
        raise NstoptError("this user has no home folder for a cache: set XDG_CACHE_HOME") from error


def read_regular(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read a file that may come from outside. Raises OSError if it is missing, larger than `limit` bytes, or no regular
    file: reading a FIFO would wait for ever, and a device may never end."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _require_regular(os.fstat(file.fileno()), path)
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit >> 20} MiB", str(path))
    return raw


def check_regular(path: Path) -> None:
    """Raise OSError if `path` is missing or no regular file, before a library opens it by its name."""
    _require_regular(path.stat(), path)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a device, pipe or socket, not a file", str(path))


def real_path(path: Path) -> Path:
    """Return the absolute path without symbolic links. Unlike Path.resolve, it raises nothing for a loop of them."""
    return Path(os.path.realpath(path))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits. Raises OSError if the file cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they are missing. Raises OSError; NotADirectoryError if a file is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder", str(folder)) from error


def check_writable(path: Path) -> None:
    """Check that a file can be written at `path`. Makes the folder if needed and leaves an existing file as it is.

    Raises OSError if the folder cannot be made or written, or if `path` is a folder itself.
    """
    make_folder(path.parent)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def decode_json(raw: bytes, kind: type[T], dec_hook: Callable[[type, Any], Any] | None = None) -> T:
    """Decode JSON into `kind`, a type that msgspec knows or that `dec_hook` makes. Raises ValueError, with a one-line
    reason, if it does not fit or is nested too deeply."""
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=dec_hook)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def decode_versioned(raw: bytes, kind: type[T], version: int, dec_hook: Callable[[type, Any], Any] | None = None) -> T:
    """Decode JSON with a `format_version` field into a msgspec struct of type `kind`, as `decode_json` does.

    The version is checked first, since a file of another version has other fields. Raises ValueError, with a one-line
    reason, if the version is another one or if the JSON does not fit.
    """
    found = decode_json(raw, _Version).format_version
    if found != version:
        raise ValueError(f"it has format {found}, but this nstopt reads format {version}")
    return decode_json(raw, kind, dec_hook)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; rename it to `path` on success, remove it on an exception.

    The sibling keeps the suffix, which libraries use to choose a format. Siblings that a killed process left more than
    a day ago are removed. Raises OSError if the folder cannot be written, or if a device or a pipe is at `path`: to
    rename over /dev/null would end it.
    """
    make_folder(path.parent)
    if path.exists() and not path.is_dir():
        check_regular(path)
    prefix, suffix = f".{path.stem[:MAX_STEM]}.", f"{MARK}{path.suffix}"
    _remove_leftovers(path.parent, prefix, suffix)
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, prefix: str, suffix: str) -> None:
    """Remove temporary files of a killed process. A younger one may belong to a process that still writes it."""
    for left in folder.glob(f"{glob.escape(prefix)}*{glob.escape(suffix)}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()
                removed.append(left)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a file, whole or not at all. Raises NstoptError if it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise NstoptError(f"{path}: cannot be written: {error.strerror or error}") from error


class _Version(msgspec.Struct):
    format_version: int


def _umask() -> int:
    """Return the process's umask, which mkstemp ignores. It can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
