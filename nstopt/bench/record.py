"""The record of one measured case, and the file that holds the records of a run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from nstopt.bench.roofline import Peaks
from nstopt.errors import NstoptError
from nstopt.files import atomic_path
from nstopt.size import Size

FORMAT_VERSION = 2
# The target of a projection for the machine that the run was on.
HERE = "here"
# A kernel that takes a smaller share of its floor puts the floor in doubt.
BELOW_FLOOR = 0.8


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


class Stages(msgspec.Struct, frozen=True):
    """What one picture costs besides the net, milliseconds: reading a JPEG file of that size, copies to and from the
    device, writing a JPEG. A copy is None where there is none: engines on the CPU read and write the caller's arrays in
    place. `net` holds the copies too."""

    photograph: str
    decode_ms: float
    upload_ms: float | None
    download_ms: float | None
    encode_ms: float


class GpuState(msgspec.Struct, frozen=True):
    """The GPU during the timed runs, medians over the turns; `memory_mib` is what all processes used of it at most.
    None where the driver does not tell."""

    sm_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    memory_mib: float | None


class CaseKey(msgspec.Struct, frozen=True):
    """What tells one case of a run from all others. `sha256` is that of the bundle's manifest or, for a peer, of the
    net's file: a rebuilt engine is another case."""

    label: str
    sha256: str
    height: int
    width: int
    batch: int


class Record(msgspec.Struct, frozen=True):
    """One case: what ran, on what, how fast, how well.

    `label` names what ran; `is_peer` tells a peer from an engine of ours, `bundle` is the engine's path, `net_sha256`
    the hash of the net's file. `precision` is what the graph holds, `computes` what the device multiplies in.
    `input` is "noise" or the picture's file name.
    `round_runs` is the number of runs a turn, None where the case was timed alone. `warmup_runs` counts every run that
    was not timed. `fps` is pictures a second at the median latency, `pipeline_fps` the same of decode, net and encode
    one after the other. `peak_memory_mib` is the largest resident set of the case's own process, interpreter and
    libraries included. `psnr_db` and `ssim` are means against FP32 from the bundle's manifest, None where nothing was
    compared. `warnings` are facts that cast doubt on the numbers.
    """

    label: str
    is_peer: bool
    bundle: str | None
    sha256: str
    net: str
    net_sha256: str
    family: str
    backend: str
    precision: str
    computes: str
    height: int
    width: int
    batch: int
    input: str
    latency_ms: Latency
    round_runs: int | None
    warmup_runs: int
    fps: float
    peak_memory_mib: float
    psnr_db: float | None
    ssim: float | None
    device: str
    machine: Machine
    stages: Stages | None = None
    gpu: GpuState | None = None
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def key(self) -> CaseKey:
        return CaseKey(self.label, self.sha256, self.height, self.width, self.batch)

    @property
    def pipeline_fps(self) -> float | None:
        """Pictures a second of a program that reads, stylises and writes one after the other."""
        if self.stages is None:
            return None
        around_ms = self.batch * (self.stages.decode_ms + self.stages.encode_ms)
        return 1000.0 * self.batch / (self.latency_ms.p50 + around_ms)


class LayerRow(msgspec.Struct, frozen=True):
    """One kernel: median milliseconds, and its floor, None where no layer of the graph asked for the kernel."""

    name: str
    kind: str
    ms: float
    floor_ms: float | None

    @property
    def gap_ms(self) -> float:
        """What could be gained at most."""
        return max(self.ms - (self.floor_ms or 0.0), 0.0)


class Layers(msgspec.Struct, frozen=True):
    """All kernels of an engine in the order in which they run."""

    label: str
    backend: str
    height: int
    width: int
    batch: int
    runs: int
    peaks: Peaks
    rows: tuple[LayerRow, ...]

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def doubt(self) -> str:
        """A note if floors cannot be right, else empty. A little below its floor a kernel may come by noise."""
        count = sum(row.floor_ms is not None and row.ms < row.floor_ms * BELOW_FLOOR for row in self.rows)
        if not count:
            return ""
        return (
            f"{count} of {len(self.rows)} kernels took less than their floor: the rates were measured while other work "
            "held them up, or these kernels multiply less than the graph says"
        )

    @property
    def next_to_attack(self) -> list[LayerRow]:
        """The rows, largest gap first."""
        return sorted(self.rows, key=lambda row: -row.gap_ms)


class Projected(msgspec.Struct, frozen=True):
    """A latency that nobody measured: computed for a device that is not here, as a range. See projection.py."""

    net: str
    target: str
    device: str
    backend: str
    precision: str
    height: int
    width: int
    batch: int
    low_ms: float
    high_ms: float
    memory_mib: float

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def middle_ms(self) -> float:
        """The middle of the range by ratio, for comparing it with something measured and for the place of a mark."""
        return float((self.low_ms * self.high_ms) ** 0.5)


class Plan(msgspec.Struct, frozen=True):
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
    plan: Plan
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
