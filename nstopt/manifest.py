"""The manifest of an engine bundle: the net, how the engine was built, and how good it is."""

from __future__ import annotations

from typing import Any

import msgspec

from nstopt.files import decode_versioned
from nstopt.limits import Batch, Count, Decibels, Latency, Name, Ssim
from nstopt.pictures.size import MAX_SIDE, MIN_SIDE, Size, Sizes

FORMAT_VERSION = 2


class NetInfo(msgspec.Struct, frozen=True):
    """The net's name and architecture. `source_sha256` is of the checkpoint, not of the ONNX file."""

    name: Name
    family: str
    widths: tuple[Count, ...]
    blocks: Count
    source_sha256: str


class InputShape(msgspec.Struct, frozen=True):
    """The pictures that an engine takes, uint8 RGB [batch, height, width, 3]. `batch` is None for any number."""

    batch: Batch | None
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
    precision. `differences` names the convolutions that the device computes in other types than the graph's, as far as
    the backend tells."""

    asked: str
    computes: str
    layers: dict[str, str]
    differences: tuple[str, ...] = ()


class CalibrationInfo(msgspec.Struct, frozen=True):
    """The calibration pictures (`sha256` over their names and bytes) and the method. `coverage` counts the dark,
    bright, flat and busy pictures among them. `judge` names the backend, version and device that the candidates of the
    search ran on."""

    source: str
    sha256: str
    pictures: Count
    method: str
    coverage: dict[str, Count] = {}
    judge: str = ""


class QualityInfo(msgspec.Struct, frozen=True):
    """Engine against the FP32 export on `pictures` validation pictures, none of which was used for calibration. PSNR in
    dB, capped at 100. `psnr_db_border` is the mean over a border of 16 pixels, `psnr_db_interior` over the rest."""

    source: str
    pictures: Count
    psnr_db_mean: Decibels
    psnr_db_worst: Decibels
    ssim_mean: Ssim
    ssim_worst: Ssim
    max_gray_levels: Count
    psnr_db_border: Decibels | None = None
    psnr_db_interior: Decibels | None = None

    def __post_init__(self) -> None:
        if (self.psnr_db_border is None) != (self.psnr_db_interior is None):
            raise ValueError("psnr_db_border and psnr_db_interior belong together")


class DriftInfo(msgspec.Struct, frozen=True):
    """Engine against the FP32 export on consecutive frames of a clip. `psnr_db_mean` and `psnr_db_worst` are of single
    frames; `flicker_psnr_db` is of the change from frame to frame, so it measures the flicker that the engine adds."""

    source: str
    sha256: str
    frames: Count
    psnr_db_mean: Decibels
    psnr_db_worst: Decibels
    flicker_psnr_db: Decibels


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
    latency_ms: Latency
    psnr_db_mean: Decibels
    psnr_db_worst: Decibels
    on_front: bool = True


class RivalInfo(msgspec.Struct, frozen=True):
    """An engine of another precision that is both faster than an INT8 engine and closer to FP32: its median latency and
    the INT8 engine's, measured in turns, and its PSNR in dB on the validation pictures."""

    precision: str
    latency_ms: Latency
    int8_latency_ms: Latency
    psnr_db_mean: Decibels
    psnr_db_worst: Decibels


class TunedInfo(msgspec.Struct, frozen=True):
    """A layer whose form was chosen by measuring. `latency_ms` maps each form to its milliseconds, measured in a small
    graph that holds this layer alone, in its shape."""

    layer: str
    form: str
    latency_ms: dict[str, Latency]


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
    rival: RivalInfo | None = None
    fingerprint: Fingerprint | None = None


def decode_manifest(raw: bytes) -> Manifest:
    """Read a manifest from JSON. Raises ValueError, with a one-line reason, if it is not valid."""
    return decode_versioned(raw, Manifest, FORMAT_VERSION, _decode_sizes)


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_encode_sizes), indent=2)


def _decode_sizes(kind: type, value: Any) -> Sizes:
    """Read what `_encode_sizes` wrote: [[height, width], …], empty for any size."""
    sizes = msgspec.convert(value, tuple[Size, ...])
    if not all(MIN_SIDE <= side <= MAX_SIDE for size in sizes for side in size):
        raise ValueError(f"each side of a size must lie in {MIN_SIDE}..{MAX_SIDE}")
    return Sizes(*sizes)


def _encode_sizes(sizes: Any) -> list[Size]:
    return list(sizes)
