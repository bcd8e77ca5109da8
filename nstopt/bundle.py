"""The engine bundle: a folder `NAME-HxW-PRECISION.nst/` with a manifest and the backend's own files, untouched.

    wave-512x512-int8.nst/
      manifest.json          the net, how the engine was built, its quality, and the SHA-256 of every other file
      manifest.json.sha256   SHA-256 of the manifest itself, in the format that `sha256sum -c` reads
      model.xml, model.bin   OpenVINO's files; other backends have model.onnx, model.ts or engine.plan
      graph.onnx             the lowered graph, where the backend's own files are not that

A bundle is written to a temporary sibling folder and renamed, so that a kill leaves the old bundle or the new one. Its
hashes are checked before native code reads any of its files: an object of type `Bundle` has passed that check.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from nstopt import trial
from nstopt.errors import BundleError
from nstopt.files import MAX_JSON_BYTES, make_folder, read_regular
from nstopt.manifest import Manifest, decode_manifest, encode_manifest

MANIFEST = "manifest.json"
SUFFIX = ".nst"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose hashes all matched when it was opened. `contents` maps each file's name to the bytes that were
    hashed, so that no file can change between the check and the use."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest as nstopt writes it, which holds that of every other file."""
        return sha256(encode_manifest(self.manifest)).hexdigest()

    def file(self, name: str) -> bytes:
        """Return the bytes of a file of the bundle. Raises BundleError if the manifest does not list it."""
        if name not in self.contents:
            raise BundleError(f"{self.path}: the manifest lists no {name}; build the engine again")
        return self.contents[name]


def evidence_of(path: Path) -> Path:
    """Return the folder in which a failed build of the bundle at `path` leaves its log and its graph."""
    return path.with_suffix(".failed")


def is_bundle(path: Path) -> bool:
    """Return True if a path names an engine bundle rather than a net or a picture. The bundle need not exist."""
    return path.suffix == SUFFIX or (path / f"{MANIFEST}.sha256").is_file()


def open_bundle(path: Path) -> Bundle:
    """Read and check a bundle. Raises BundleError if a file is missing, changed, or of another format version."""
    try:
        raw = _checked_manifest(path)
        manifest = decode_manifest(raw)
        contents = {name: _checked_file(path, name, digest) for name, digest in manifest.files.items()}
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror} ({error.filename})") from error
    except ValueError as error:
        raise BundleError(f"{path}: {MANIFEST} is not valid: {error}; build the engine again") from error
    return Bundle(path, manifest, contents)


def read_files(folder: Path) -> dict[str, bytes]:
    """Read the files of an engine that was built just now, by name. Raises OSError."""
    return {file.name: read_regular(file) for file in sorted(folder.iterdir())}


def _checked_manifest(path: Path) -> bytes:
    """Read the manifest and check it against its hash, which is in a file of its own: no file can hold its own hash."""
    file, sums = path / MANIFEST, path / f"{MANIFEST}.sha256"
    if not file.is_file():
        what = "no such folder" if not path.exists() else f"not an engine bundle (no {MANIFEST} in it)"
        raise BundleError(f"{path}: {what}; build one with: nstopt build-engine NET.onnx -o {path}")
    raw = read_regular(file, MAX_JSON_BYTES)
    if not sums.is_file() or read_regular(sums, MAX_JSON_BYTES) != _sums(raw):
        raise BundleError(f"{path}: {MANIFEST} does not match its hash; build the engine again")
    return raw


def _sums(manifest: bytes) -> bytes:
    """Return the content of manifest.json.sha256."""
    return f"{sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _checked_file(folder: Path, name: str, digest: str) -> bytes:
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise BundleError(f"{folder}: the manifest names '{name}', which lies outside the bundle")
    file = folder / name
    if not file.is_file():
        raise BundleError(f"{folder}: {name} is missing; build the engine again")
    raw = read_regular(file)
    if sha256(raw).hexdigest() != digest:
        raise BundleError(f"{folder}: {name} does not match its hash (damaged or changed); build the engine again")
    return raw


class BundleDraft:
    """A bundle that is being written. A backend writes its files into `folder`; `commit` adds the manifest and gives
    the folder its name."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder

    def commit(self, manifest: Manifest) -> Bundle:
        """Write `manifest`, with the hashes of all files in `folder`, and rename the folder to its final path. What was
        built here needs no first run."""
        contents = read_files(self.folder)
        hashes = {name: sha256(content).hexdigest() for name, content in contents.items()}
        manifest = msgspec.structs.replace(manifest, files=hashes)
        raw = encode_manifest(manifest) + b"\n"
        (self.folder / MANIFEST).write_bytes(raw)
        (self.folder / f"{MANIFEST}.sha256").write_bytes(_sums(raw))
        _swap_in(self.folder, self.path)
        bundle = Bundle(self.path, manifest, contents)
        for digest in (bundle.sha256, *hashes.values()):
            trial.remember(digest)
        return bundle


@contextlib.contextmanager
def new_bundle(path: Path) -> Iterator[BundleDraft]:
    """Write a bundle atomically: nothing is left under `path` unless the draft is committed.

    Raises BundleError if the folder cannot be written.
    """
    try:
        with _temporary_sibling(path) as folder:
            yield BundleDraft(path, folder)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _temporary_sibling(path: Path) -> Iterator[Path]:
    """Make a fresh folder beside `path` and remove it at the end. Its name holds the process id, which tells the
    leftovers of a killed build from the folder of a running one."""
    make_folder(path.parent)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        owner = left.name.split(".")[-2]
        if not (owner.isdigit() and Path(f"/proc/{owner}").exists()):
            shutil.rmtree(left, ignore_errors=True)
    folder = path.parent / f".{path.name}.{os.getpid()}.tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def adopt(bundle: Bundle, path: Path) -> Bundle:
    """Move a bundle to `path`, on the same file system, in place of the one that is there. Raises BundleError."""
    try:
        make_folder(path.parent)
        _swap_in(bundle.path, path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror or error}") from error
    return Bundle(path, bundle.manifest, bundle.contents)


def _swap_in(folder: Path, path: Path) -> None:
    """Give `folder` its final name. An existing bundle is exchanged with it in one step, so that a kill at any moment
    leaves a whole bundle under the name. The caller removes the old one, now in the temporary folder."""
    if not path.exists():
        folder.rename(path)
    elif not (path / MANIFEST).is_file():
        raise OSError(errno.EEXIST, "it exists and is not an engine bundle; choose another name", str(path))
    else:
        _exchange(folder, path)


def _exchange(left: Path, right: Path) -> None:
    """Exchange two names atomically: renameat2(2) with RENAME_EXCHANGE, for which Python has no binding."""
    at_fdcwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    status = libc.renameat2(at_fdcwd, os.fsencode(left), at_fdcwd, os.fsencode(right), rename_exchange)
    if status != 0 and ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS):  # some network file systems cannot
        old = left.with_name(f"{left.name}.old")
        right.rename(old)
        left.rename(right)
        old.rename(left)
    elif status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(right))
