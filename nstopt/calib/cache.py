"""INT8 graphs that were found before, so that a second build with the same inputs takes seconds.

The key covers all that the result depends on: the FP32 graph, the pictures, the size, what the backend can do and is,
the aim, and the version of nstopt. An entry is two files; one without the other, or damaged, is no entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
import onnx

from nstopt.files import atomic_path, cache_folder
from nstopt.manifest import CalibrationInfo, CandidateInfo


class Entry(msgspec.Struct, frozen=True):
    """What is known of an INT8 graph besides itself. `model_sha256` ties it to the graph's file."""

    model_sha256: str
    layers: dict[str, str]
    calibration: CalibrationInfo
    search: tuple[CandidateInfo, ...]


def key(parts: Iterable[bytes | str]) -> str:
    """One hash over all parts, in order."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def load(name: str) -> tuple[onnx.ModelProto, Entry] | None:
    """The graph stored under a key, with its entry; None if there is none."""
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
    """Keep a graph under a key. Raises OSError if the cache cannot be written."""
    folder = cache_folder() / "int8"
    raw: bytes = model.SerializeToString()
    entry = Entry(hashlib.sha256(raw).hexdigest(), layers, calibration, search)
    for suffix, content in (("onnx", raw), ("json", msgspec.json.encode(entry))):
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            temporary.write_bytes(content)
