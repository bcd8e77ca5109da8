"""The record of one measured case, and the file that holds the records of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nstopt.errors import NstoptError
from nstopt.files import atomic_path
from nstopt.size import Size

FORMAT_VERSION = 1


class Machine(msgspec.Struct, frozen=True):
    """Where a record was measured. `cores` are those this process may use; `versions` by package name, as
    installed."""

    cpu: str
    cores: int
    ram_gib: float
    gpus: tuple[str, ...]
    os: str
    python: str
    versions: dict[str, str]


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds of one call on a whole batch. `samples` are raw, in the order in which they were taken."""

    p50: float
    p90: float
    p99: float
    mean: float
    min: float
    samples: tuple[float, ...]


class Record(msgspec.Struct, frozen=True):
    """One case: what ran, on what, how fast, how well.

    `label` names what ran; `is_peer` tells a peer from an engine of ours. `precision` is what the graph holds,
    `computes` what the device multiplies in. `input` is "noise" or the picture's file name. `warmup_runs` counts
    every run that was not timed. `fps` is pictures a second at the median latency. `peak_memory_mib` is the largest
    resident set of the case's own process, interpreter and libraries included. `psnr_db` and `ssim` are means against
    FP32 from the bundle's manifest, None where nothing was compared. `warnings` are facts that cast doubt on the
    numbers.
    """

    label: str
    is_peer: bool
    net: str
    family: str
    backend: str
    precision: str
    computes: str
    height: int
    width: int
    batch: int
    input: str
    latency_ms: Latency
    warmup_runs: int
    fps: float
    peak_memory_mib: float
    psnr_db: float | None
    ssim: float | None
    device: str
    machine: Machine
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)


class RunFile(msgspec.Struct, frozen=True):
    """What --json writes."""

    format_version: int
    records: tuple[Record, ...]


def write_run(path: Path, records: Sequence[Record]) -> None:
    """Write the records to `path` at once: whoever reads it sees the old file or the new one. Raises NstoptError."""
    raw = msgspec.json.format(msgspec.json.encode(RunFile(FORMAT_VERSION, tuple(records))), indent=2)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(raw + b"\n")
    except OSError as error:
        raise _unwritable(path, error) from error


def check_writable(path: Path) -> None:
    """Find out before a long run, and without touching an older file, that `path` can be written. Raises
    NstoptError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder", str(path))
    except OSError as error:
        raise _unwritable(path, error) from error


def read_run(path: Path) -> tuple[Record, ...]:
    """The records of a run file. Raises NstoptError if it cannot be read or is of another format version."""
    try:
        run = msgspec.json.decode(path.read_bytes(), type=RunFile)
    except OSError as error:
        raise NstoptError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NstoptError(f"{path}: not the record of a bench run: {error}") from error
    if run.format_version != FORMAT_VERSION:
        raise NstoptError(f"{path}: run format {run.format_version}, but this nstopt reads format {FORMAT_VERSION}")
    return run.records


def _unwritable(path: Path, error: OSError) -> NstoptError:
    return NstoptError(f"{path}: the bench records cannot be written: {error.strerror or error}; choose another --json")
