"""The JSON file that holds the records of a run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nstopt import files
from nstopt.errors import NstoptError
from nstopt.limits import Count, Text
from nstopt.runs.layers import Layers
from nstopt.runs.projected import Projected
from nstopt.runs.record import CaseKey, Record

FORMAT_VERSION = 3


class RunPlan(msgspec.Struct, frozen=True):
    """The cases a run is to measure. An interrupted run is recognized by its plan."""

    cases: tuple[CaseKey, ...]
    runs: Count
    input: Text
    in_turns: bool


class RunFile(msgspec.Struct, frozen=True):
    """Content of the file that `nstopt bench --json` writes.

    `created` is the start of the run, ISO 8601 in UTC. `left_out` lists what was asked for but is not available here,
    with reasons. `is_complete` is set when everything planned was measured.
    """

    format_version: int
    created: Text
    plan: RunPlan
    records: tuple[Record, ...]
    layers: tuple[Layers, ...] = ()
    projected: tuple[Projected, ...] = ()
    left_out: tuple[Text, ...] = ()
    is_complete: bool = False

    @property
    def unfinished(self) -> str:
        """A note if the run was interrupted, else empty."""
        if self.is_complete:
            return ""
        return (
            f"an interrupted run: {len(self.records)} of {len(self.plan.cases)} cases; the same command goes on with it"
        )


def write_run(path: Path, run: RunFile) -> None:
    """Write the run to `path` atomically. Raises NstoptError if the file cannot be written."""
    raw = msgspec.json.format(msgspec.json.encode(run), indent=2)
    try:
        with files.atomic_path(path) as temporary:
            temporary.write_bytes(raw + b"\n")
    except OSError as error:
        raise _unwritable(path, error) from error


def check_writable(path: Path) -> None:
    """Check before a long run that `path` can be written; an existing file is left as it is.

    Raises NstoptError if it cannot be written.
    """
    try:
        files.check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def read_run(path: Path) -> RunFile:
    """Read a run file. Raises NstoptError if it cannot be read, is damaged, or has another format version."""
    try:
        return files.decode_versioned(files.read_regular(path, files.MAX_JSON_BYTES), RunFile, FORMAT_VERSION)
    except OSError as error:
        raise NstoptError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise NstoptError(f"{path}: not a run that this nstopt can read: {error}; run the benchmark again") from error


def _unwritable(path: Path, error: OSError) -> NstoptError:
    return NstoptError(f"{path}: the bench records cannot be written: {error.strerror or error}; choose another --json")
