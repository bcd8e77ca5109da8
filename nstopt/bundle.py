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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nstopt.errors import BundleError
from nstopt.files import make_folder, sha256_file
from nstopt.manifest import Manifest, decode_manifest, encode_manifest

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
SUFFIX = ".nst"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose hashes all matched when it was opened."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of one of the bundle's files. Raises BundleError if the manifest does not list it."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the manifest lists no {name}; build the engine again")
        return self.path / name


def evidence_of(path: Path) -> Path:
    """Return the folder in which a failed build of the bundle at `path` leaves its log and its graph."""
    return path.with_suffix(".failed")


def is_bundle(path: Path) -> bool:
    """Return True if a path names an engine bundle rather than a net or a picture. The bundle need not exist."""
    return path.suffix == SUFFIX or (path / f"{MANIFEST}.sha256").is_file()


def open_bundle(path: Path) -> Bundle:
    """Read and check a bundle. Raises BundleError if a file is missing, changed, or of another format version."""
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        what = "no such folder" if not path.exists() else f"not an engine bundle (no {MANIFEST} in it)"
        raise BundleError(f"{path}: {what}; build one with: nstopt build-engine NET.onnx -o {path}")
    try:
        _check_manifest_hash(manifest_path)
        raw = manifest_path.read_bytes()
        manifest = _decode(path, raw)
        for name, digest in manifest.files.items():
            _check_file(path, name, digest)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror} ({error.filename})") from error
    return Bundle(path, manifest)


def _decode(path: Path, raw: bytes) -> Manifest:
    class Version(msgspec.Struct):
        format_version: int

    try:
        version = msgspec.json.decode(raw, type=Version).format_version
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{path}: bundle format {version}, but this nstopt reads format {FORMAT_VERSION}; "
                "build the engine again with this version"
            )
        return decode_manifest(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: {MANIFEST} is not valid: {error}; build the engine again") from error


def _check_manifest_hash(manifest_path: Path) -> None:
    """Check the manifest against its hash, which is in a file of its own: no file can hold its own hash."""
    sums = manifest_path.with_name(f"{MANIFEST}.sha256")
    expected = sums.read_text(errors="replace").split(" ")[0] if sums.is_file() else "missing"
    if sha256_file(manifest_path) != expected:
        raise BundleError(f"{manifest_path.parent}: {MANIFEST} does not match its hash; build the engine again")


def _check_file(folder: Path, name: str, digest: str) -> None:
    if Path(name).name != name or name in ("", ".."):
        raise BundleError(f"{folder}: the manifest names '{name}', which lies outside the bundle")
    file = folder / name
    if not file.is_file():
        raise BundleError(f"{folder}: {name} is missing; build the engine again")
    if sha256_file(file) != digest:
        raise BundleError(f"{folder}: {name} does not match its hash (damaged or changed); build the engine again")


class BundleDraft:
    """A bundle that is being written. A backend writes its files into `folder`; `commit` adds the manifest and gives
    the folder its name."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder

    def commit(self, manifest: Manifest) -> Bundle:
        """Write `manifest`, with the hashes of all files in `folder`, and rename the folder to its final path."""
        hashes = {file.name: sha256_file(file) for file in sorted(self.folder.iterdir())}
        manifest = msgspec.structs.replace(manifest, files=hashes)
        raw = encode_manifest(manifest)
        (self.folder / MANIFEST).write_bytes(raw + b"\n")
        digest = sha256_file(self.folder / MANIFEST)
        (self.folder / f"{MANIFEST}.sha256").write_text(f"{digest}  {MANIFEST}\n")
        _swap_in(self.folder, self.path)
        return Bundle(self.path, manifest)


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
    return Bundle(path, bundle.manifest)


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
