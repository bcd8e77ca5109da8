"""The journal: a folder OUT.nstopt/ beside the output that holds finished segments until the output is whole.

    out.mp4.nstopt/
      journal.json    what the segments belong to: source, engine, options, version
      00000.mp4       a segment
      00000.json      its SegmentResult; the segment is finished once this file is there
      00000.state     the stylizer's state after it, for stylizers that have one; only the newest is kept
      lock            locked while a process works here

Every file is written under another name and renamed, so that a kill loses only the segments under way.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from nstopt.errors import MediaError, NstoptError
from nstopt.files import decode_versioned, make_folder, write_atomically
from nstopt.video.pipeline import SegmentResult
from nstopt.video.plan import VideoPlan
from nstopt.video.segments import Segment

FORMAT_VERSION = 1
SUFFIX = ".nstopt"
SAMPLES, SAMPLE_BYTES = 16, 1 << 16


class _Header(msgspec.Struct, frozen=True):
    format_version: int
    identity: dict[str, str]


def journal_folder(target: Path) -> Path:
    """The journal's folder of an output file."""
    return target.with_name(f"{target.name}{SUFFIX}")


class Journal:
    """The open journal of an output. It implements pipeline.SegmentStore."""

    def __init__(self, folder: Path, identity: Mapping[str, str], suffix: str) -> None:
        """Open the journal in `folder`, or begin one. `suffix` is that of segment files.

        Raises MediaError if the folder belongs to another command, is in use, or cannot be written.
        """
        self.folder, self._suffix = folder, suffix
        with contextlib.ExitStack() as opened:
            self._lock = opened.enter_context(_locked(folder))
            self._check_header(dict(identity))
            for left in folder.glob(".*"):
                left.unlink()
            self.results = {result.number: result for result in self._read_results()}
            opened.pop_all()

    def _check_header(self, identity: dict[str, str]) -> None:
        header = self.folder / "journal.json"
        if not header.exists():
            write_atomically(header, msgspec.json.format(msgspec.json.encode(_Header(FORMAT_VERSION, identity))))
            return
        try:
            found = decode_versioned(header.read_bytes(), _Header, FORMAT_VERSION).identity
        except (OSError, ValueError) as error:
            raise MediaError(
                f"{header}: not a journal that this nstopt reads ({error}); remove {self.folder}"
            ) from error
        differing = [name for name in {**found, **identity} if found.get(name) != identity.get(name)]
        if differing:
            raise MediaError(
                f"{self.folder} holds unfinished work of another command (its {differing[0]} differs): give that "
                "command again, choose another output, or remove the folder"
            )

    def _read_results(self) -> list[SegmentResult]:
        results = []
        for path in sorted(self.folder.glob("[0-9]*.json")):
            try:
                result = msgspec.json.decode(path.read_bytes(), type=SegmentResult)
            except (OSError, msgspec.DecodeError):
                continue  # as if it had not been finished
            if result.frames == 0 or self.path(result.number).is_file():
                results.append(result)
        return results

    def missing(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments that are not finished, up to the one at which the clip is damaged."""
        damaged = min((one.number for one in self.results.values() if one.damage), default=len(segments))
        return [one for one in segments if one.number not in self.results and one.number <= damaged]

    def path(self, number: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{number:05d}{self._suffix}"

    def draft(self, number: int) -> Path:
        return self.folder / f".{number:05d}{self._suffix}"

    def commit(self, result: SegmentResult) -> None:
        """Keep a segment whose draft is complete. Raises MediaError if the disk is full."""
        try:
            if result.frames:
                self.draft(result.number).replace(self.path(result.number))
            if result.state:
                write_atomically(self._state(result.number), result.state)
            kept = msgspec.structs.replace(result, state=b"")
            write_atomically(self.path(result.number).with_suffix(".json"), msgspec.json.encode(kept))
            self._state(result.number - 1).unlink(missing_ok=True)
        except (OSError, NstoptError) as error:
            raise MediaError(f"{self.folder}: cannot be written ({error})") from error
        self.results[result.number] = kept

    def state_before(self, number: int) -> bytes:
        path = self._state(number - 1)
        return path.read_bytes() if path.exists() else b""

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:05d}.state"

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Close the journal after a block. An error that ends the block also says how many segments are kept."""
        try:
            yield
        except NstoptError as error:
            if not self.results:
                raise
            kept = f"what is finished is kept ({len(self.results)} segments): the same command goes on"
            raise type(error)(f"{error}; {kept}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Let others work here."""
        self._lock.close()

    def remove(self) -> None:
        """Remove the folder, when the output is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()


def _locked(folder: Path) -> IO[str]:
    """Make a journal's folder if needed, and lock it for as long as the returned file is open. Raises MediaError."""
    try:
        make_folder(folder)
        with contextlib.ExitStack() as opened:
            lock = opened.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            opened.pop_all()
            return lock
    except BlockingIOError as error:
        raise MediaError(f"{folder}: another nstopt is working on this output") from error
    except OSError as error:
        raise MediaError(f"{folder}: cannot be written ({error.strerror})") from error


def open_journal(plan: VideoPlan, stylizer: str) -> Journal:
    """Open or begin the journal of a plan's target. `stylizer` is the identity of what stylizes the frames.

    Raises MediaError as Journal does, and if the source cannot be read.
    """
    return Journal(journal_folder(plan.job.target), identity_of(plan, stylizer), plan.encoding.suffix)


def identity_of(plan: VideoPlan, stylizer: str) -> dict[str, str]:
    """Return everything that the frames of a result depend on, by name. Raises MediaError."""
    encoding = plan.encoding
    return {
        "source": _fingerprint(plan.clip.path),
        "part": f"{plan.segments[0].start} to {plan.segments[-1].stop}",
        "engine": stylizer,
        "codec": encoding.codec,
        "crf": str(encoding.crf),
        "pixel format": encoding.pixel_format,
    }


def _fingerprint(path: Path) -> str:
    """Hash of a file's size and of blocks spread over it: reading hours of video would take minutes."""
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            for sample in range(SAMPLES):
                file.seek(sample * max(size - SAMPLE_BYTES, 0) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
