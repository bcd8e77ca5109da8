"""The file that holds the records of a run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from nstopt.errors import NstoptError
from nstopt.files import atomic_path
from nstopt.runs.layers import Layers
from nstopt.runs.projected import Projected
from nstopt.runs.record import CaseKey, Record

FORMAT_VERSION = 2


class RunPlan(msgspec.Struct, frozen=True):
    """What a run sets out to measure, so that an interrupted one is known again."""

    cases: tuple[CaseKey, ...]
    runs: int
    input: str
    in_turns: bool


class RunFile(msgspec.Struct, frozen=True):
    """What --json writes. `created` is when the run began, ISO 8601, UTC. `left_out` says what was wanted and cannot be
    had here, and why. `is_complete` is set when all is there that was set out for."""

    format_version: int
    created: str
    plan: RunPlan
    records: tuple[Record, ...]
    layers: tuple[Layers, ...] = ()
    projected: tuple[Projected, ...] = ()
    left_out: tuple[str, ...] = ()
    is_complete: bool = False

    @property
    def unfinished(self) -> str:
        """What a reader must know of an interrupted run, else empty."""
        if self.is_complete:
            return ""
        return (
            f"an interrupted run: {len(self.records)} of {len(self.plan.cases)} cases; the same command goes on with it"
        )


def write_run(path: Path, run: RunFile) -> None:
    """Write the run to `path` at once: whoever reads it sees the old file or the new one. Raises NstoptError."""
    raw = msgspec.json.format(msgspec.json.encode(run), indent=2)
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


def read_run(path: Path) -> RunFile:
    """A run file. Raises NstoptError if it cannot be read or is of another format version."""
    try:
        raw = path.read_bytes()
        version = msgspec.json.decode(raw, type=_Version).format_version
        if version != FORMAT_VERSION:
            raise NstoptError(
                f"{path}: run format {version}, but this nstopt reads format {FORMAT_VERSION}; bench again with it"
            )
        return msgspec.json.decode(raw, type=RunFile)
    except OSError as error:
        raise NstoptError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NstoptError(f"{path}: not the record of a bench run: {error}") from error


class _Version(msgspec.Struct):
    format_version: int


def _unwritable(path: Path, error: OSError) -> NstoptError:
    return NstoptError(f"{path}: the bench records cannot be written: {error.strerror or error}; choose another --json")
