"""Cache of INT8 graphs, so that a second build with the same inputs takes seconds.

The key covers everything the result depends on: the FP32 graph, the pictures, the size, the backend and its
capabilities, the quality target, and the version of nstopt. An entry is two files; an incomplete or damaged one is
ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
import onnx

from nstopt.files import atomic_path, cache_folder
from nstopt.manifest import CalibrationInfo, CandidateInfo


class Entry(msgspec.Struct, frozen=True):
    """Calibration record of a cached INT8 graph. `model_sha256` ties it to the graph's file."""

    model_sha256: str
    layers: dict[str, str]
    calibration: CalibrationInfo
    search: tuple[CandidateInfo, ...]


def key(parts: Iterable[bytes | str]) -> str:
    """Hash all parts, in order, into one key."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def load(name: str) -> tuple[onnx.ModelProto, Entry] | None:
    """Return the graph stored under a key, with its entry; None if there is none."""
    folder = cache_folder() / "int8"
    try:
        raw = (folder / f"{name}.onnx").read_bytes()
        entry = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Entry)
    except (OSError, msgspec.DecodeError):
        return None
    if hashlib.sha256(raw).hexdigest() != entry.model_sha256:
        return None
    return onnx.load_from_string(raw), entry


def store(
    name: str,
    model: onnx.ModelProto,
    layers: dict[str, str],
    calibration: CalibrationInfo,
    search: tuple[CandidateInfo, ...],
) -> None:
    """Store a graph under a key. Raises OSError if the cache cannot be written."""
    folder = cache_folder() / "int8"
    raw: bytes = model.SerializeToString()
    entry = Entry(hashlib.sha256(raw).hexdigest(), layers, calibration, search)
    for suffix, content in (("onnx", raw), ("json", msgspec.json.encode(entry))):
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            temporary.write_bytes(content)
