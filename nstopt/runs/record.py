"""The record of one measured case."""

from __future__ import annotations

import msgspec

from nstopt.gpu.meter import GpuState
from nstopt.pictures.size import Size

# The backends, of ours and of peers, whose engines run on an NVIDIA GPU.
GPU_BACKENDS = frozenset({"tensorrt", "torch-cuda", "onnxruntime-cuda"})


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
        """Pictures a second of a program that reads, stylizes and writes one after the other."""
        if self.stages is None:
            return None
        around_ms = self.batch * (self.stages.decode_ms + self.stages.encode_ms)
        return 1000.0 * self.batch / (self.latency_ms.p50 + around_ms)
