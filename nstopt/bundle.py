"""The engine bundle: a folder `NAME-HxW-PRECISION.nst/` with a manifest and the backend's own files, untouched.

    wave-512x512-int8.nst/
      manifest.json          the net, how the engine was built, its quality, and the SHA-256 of every other file
      manifest.json.sha256   SHA-256 of the manifest itself, in the format that `sha256sum -c` reads
      model.xml, model.bin   OpenVINO's files; other backends have model.onnx, model.ts or engine.plan

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
from typing import Any

import msgspec

from nstopt.errors import BundleError
from nstopt.files import make_folder, sha256_file
from nstopt.pictures.size import Size, Sizes

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
SUFFIX = ".nst"


class NetInfo(msgspec.Struct, frozen=True):
    """The net's name and architecture. `source_sha256` is of the checkpoint, not of the ONNX file."""

    name: str
    family: str
    widths: tuple[int, ...]
    blocks: int
    source_sha256: str


class InputShape(msgspec.Struct, frozen=True):
    """The pictures that an engine takes, uint8 RGB [batch, height, width, 3]. `batch` is None for any number."""

    batch: int | None
    sizes: Sizes

    @classmethod
    def of(cls, batch: int | None, size: Size | None) -> InputShape:
        """The shape for one size, or for any size if `size` is None."""
        return cls(batch, Sizes(size) if size else Sizes())

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.sizes)) or "anyxany"
        return f"{self.batch or 'any'}x{sizes}"


class PrecisionInfo(msgspec.Struct, frozen=True):
    """`asked` is the precision that the user asked for and that the graph holds. `computes` is the precision that
    the device multiplies in: most CPUs run an FP16 graph in FP32. `layers` maps each convolution's name to its
    precision."""

    asked: str
    computes: str
    layers: dict[str, str]


class CalibrationInfo(msgspec.Struct, frozen=True):
    """The calibration pictures (`sha256` over their names and bytes) and the method. `coverage` counts the dark,
    bright, flat and busy pictures among them."""

    source: str
    sha256: str
    pictures: int
    method: str
    coverage: dict[str, int] = {}


class QualityInfo(msgspec.Struct, frozen=True):
    """Engine against the FP32 export on `pictures` validation pictures, none of which was used for calibration. PSNR in
    dB, capped at 100. `psnr_db_border` is the mean over a border of 16 pixels, `psnr_db_interior` over the rest."""

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
    """Engine against the FP32 export on consecutive frames of a clip. `psnr_db_mean` and `psnr_db_worst` are of single
    frames; `flicker_psnr_db` is of the change from frame to frame, so it measures the flicker that the engine adds."""

    source: str
    sha256: str
    frames: int
    psnr_db_mean: float
    psnr_db_worst: float
    flicker_psnr_db: float


class BackendInfo(msgspec.Struct, frozen=True):
    """The backend, the device that the engine was built for, and library versions by package name."""

    name: str
    device: str
    versions: dict[str, str]


class Fingerprint(msgspec.Struct, frozen=True):
    """Everything that the engine's bytes depend on. An existing engine is up to date if a new build would have the same
    fingerprint. `model_sha256` is of the exported ONNX file, `calibration_sha256` of the calibration pictures;
    `backend` names the backend, its version and the device; `options` are the build options by name."""

    nstopt: str
    model_sha256: str
    backend: str
    options: dict[str, str]
    calibration_sha256: str | None = None


class CandidateInfo(msgspec.Struct, frozen=True):
    """An INT8 recipe that the search tried: its latency, and its PSNR in dB on the pictures of the search. A recipe is
    `on_front` if no other one is both faster and closer to FP32."""

    recipe: str
    latency_ms: float
    psnr_db_mean: float
    psnr_db_worst: float
    on_front: bool = True


class TunedInfo(msgspec.Struct, frozen=True):
    """A layer whose form was chosen by measuring. `latency_ms` maps each form to its milliseconds, measured in a small
    graph that holds this layer alone, in its shape."""

    layer: str
    form: str
    latency_ms: dict[str, float]


class Manifest(msgspec.Struct, frozen=True):
    """Everything known about an engine. `files` maps each file's name to its SHA-256."""

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
    fingerprint: Fingerprint | None = None


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
        return msgspec.json.decode(raw, type=Manifest, dec_hook=_decode_sizes)
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


def _decode_sizes(kind: type, value: Any) -> Sizes:
    """Read what `_encode_sizes` wrote: [[height, width], …], empty for any size."""
    return Sizes(*msgspec.convert(value, tuple[Size, ...]))


def _encode_sizes(sizes: Any) -> list[Size]:
    return list(sizes)


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
        raw = msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_encode_sizes), indent=2)
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
