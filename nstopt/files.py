"""Files: hashes, and writes that leave either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nstopt.errors import NstoptError

CHUNK_BYTES = 1 << 20


def cache_folder() -> Path:
    """Where measurements and calibrations are kept: $XDG_CACHE_HOME/nstopt, or ~/.cache/nstopt."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "nstopt"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits. Raises OSError if the file cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there. Raises OSError, with a reason that makes sense."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder", str(folder)) from error


def check_writable(path: Path) -> None:
    """Raise OSError, with a clear `strerror`, if a file could not be written at `path`.

    To be called before long work. Makes missing folders; leaves an existing file untouched.
    """
    make_folder(path.parent)
    with tempfile.TemporaryFile(dir=path.parent):
        pass
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{path} is a folder", str(path))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; renamed to `path` if the block ends well, removed if it does not.

    The sibling keeps the suffix, which libraries use to choose a format. Raises OSError if the folder cannot be
    written.
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises NstoptError if it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise NstoptError(f"{path}: cannot be written: {error.strerror or error}") from error


def _umask() -> int:
    """The process's umask, which can only be read by setting it; mkstemp ignores it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
