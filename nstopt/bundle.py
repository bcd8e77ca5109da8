"""The engine bundle: a folder `NAME-HxW-PRECISION.nst/` with a manifest and the backend's own files, untouched.

    wave-512x512-int8.nst/
      manifest.json          what this is, how it was made, how good it is, and the sha256 of every other file
      manifest.json.sha256   hash of the manifest itself, in the format `sha256sum -c` reads
      model.xml, model.bin   OpenVINO's; or model.onnx, model.ts, engine.plan

A bundle is written to a sibling temporary folder and renamed, so that a kill leaves the old bundle or the new one. It
is checked before any of its files reaches native code: an object of type `Bundle` is a bundle whose hashes matched.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nstopt.errors import BundleError
from nstopt.files import make_folder, sha256_file
from nstopt.pictures.size import Size

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SUFFIX = ".nst"


class NetInfo(msgspec.Struct, frozen=True):
    """Where the net comes from. `source_sha256` is the hash of the checkpoint, not of the ONNX file."""

    name: str
    family: str
    widths: tuple[int, ...]
    blocks: int
    source_sha256: str


class InputShape(msgspec.Struct, frozen=True):
    """The pictures the engine takes: uint8 [batch, height, width, 3]; None where any value is taken. Where `sizes` are
    listed, height and width are None and one of these is taken."""

    batch: int | None
    height: int | None
    width: int | None
    sizes: tuple[Size, ...] = ()

    @property
    def size(self) -> Size | None:
        """The one size the engine takes, or None where it takes any."""
        return Size(self.height, self.width) if self.height and self.width else None


class PrecisionInfo(msgspec.Struct, frozen=True):
    """`asked` is what the user asked for and the graph holds; `computes` what the device multiplies in (a CPU runs an
    FP16 graph in FP32). `layers` gives the precision of each convolution, by node name."""

    asked: str
    computes: str
    layers: dict[str, str]


class CalibrationInfo(msgspec.Struct, frozen=True):
    """The pictures the ranges came from (hash over their names and bytes) and the method. `coverage` counts those of
    each kind: dark, bright, flat, busy."""

    source: str
    sha256: str
    pictures: int
    method: str
    coverage: dict[str, int] = {}


class QualityInfo(msgspec.Struct, frozen=True):
    """Engine against the FP32 export on `pictures` that were not used for calibration. PSNR in dB, capped at 100; that
    of the border, 16 pixels wide, and of what it encloses are means."""

    source: str
    pictures: int
    psnr_db_mean: float
    psnr_db_worst: float
    ssim_mean: float
    ssim_worst: float
    max_gray_levels: int
    psnr_db_border: float | None = None
    psnr_db_interior: float | None = None


class DriftInfo(msgspec.Struct, frozen=True):
    """Engine against the FP32 export on consecutive frames of a clip. `psnr_db_*` are of single frames;
    `flicker_psnr_db` is of the change from frame to frame: the flicker that the engine adds."""

    source: str
    sha256: str
    frames: int
    psnr_db_mean: float
    psnr_db_worst: float
    flicker_psnr_db: float


class BackendInfo(msgspec.Struct, frozen=True):
    """What built the engine, for which device; versions by package name."""

    name: str
    device: str
    versions: dict[str, str]


class CandidateInfo(msgspec.Struct, frozen=True):
    """One INT8 recipe that was tried: its speed and its PSNR in dB on the pictures of the search. None of the others
    beats one `on_front` in both."""

    recipe: str
    latency_ms: float
    psnr_db_mean: float
    psnr_db_worst: float
    on_front: bool = True


class TunedInfo(msgspec.Struct, frozen=True):
    """A layer whose form was chosen by measuring: the milliseconds of each form, alone in a graph of its shape."""

    layer: str
    form: str
    latency_ms: dict[str, float]


class Manifest(msgspec.Struct, frozen=True):
    """Everything known about an engine. `files` maps each file's name to its sha256."""

    format_version: int
    net: NetInfo
    shape: InputShape
    precision: PrecisionInfo
    calibration: CalibrationInfo | None
    quality: QualityInfo | None
    backend: BackendInfo
    files: dict[str, str]
    created: str
    rewrites: tuple[str, ...] = ()
    tuning: tuple[TunedInfo, ...] = ()
    search: tuple[CandidateInfo, ...] = ()
    drift: DriftInfo | None = None


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose every hash matched when it was opened."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of one of the bundle's files. Raises BundleError if the manifest does not list it."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the manifest lists no {name}; build the engine again")
        return self.path / name


def open_bundle(path: Path) -> Bundle:
    """Read and check a bundle. Raises BundleError if anything is missing, changed, or of another format version."""
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
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: {MANIFEST} is not valid: {error}; build the engine again") from error


def _check_manifest_hash(manifest_path: Path) -> None:
    """The manifest's own hash is a file of its own, since no file can hold its own hash."""
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


def write_bundle(path: Path, fill: Callable[[Path], Manifest]) -> Bundle:
    """Write a bundle atomically. `fill` writes the backend's files into the folder it is given and returns the
    manifest, whose `files` this function sets. Raises BundleError if the folder cannot be written; nothing is left
    behind then.
    """
    try:
        with _temporary_sibling(path) as folder:
            manifest = fill(folder)
            hashes = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
            manifest = msgspec.structs.replace(manifest, files=hashes)
            raw = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            (folder / MANIFEST).write_bytes(raw + b"\n")
            (folder / f"{MANIFEST}.sha256").write_text(f"{sha256_file(folder / MANIFEST)}  {MANIFEST}\n")
            _swap_in(folder, path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror or error}") from error
    return Bundle(path, manifest)


@contextlib.contextmanager
def _temporary_sibling(path: Path) -> Iterator[Path]:
    """A fresh folder beside `path`, removed at the end. Its name holds the process id, so that what a killed build left
    behind is told from what a running one is still writing."""
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


def _swap_in(folder: Path, path: Path) -> None:
    """Give `folder` its final name. An existing bundle changes places with it in one step, so that a kill at any moment
    leaves a whole bundle under the name; the old one is then in the temporary folder, which the caller removes."""
    if not path.exists():
        folder.rename(path)
    elif not (path / MANIFEST).is_file():
        raise OSError(errno.EEXIST, "it exists and is not an engine bundle; choose another name", str(path))
    else:
        _exchange(folder, path)


def _exchange(left: Path, right: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE: two names change places atomically. Python has no binding for it."""
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
