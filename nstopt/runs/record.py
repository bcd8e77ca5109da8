"""The record of one measured case, and the fields that identify and describe a case."""

from __future__ import annotations

from typing import Annotated

import msgspec

from nstopt.gpu.meter import GpuState
from nstopt.limits import Batch, Count, Decibels, Duration, Latency, Mebibytes, Name, Rate, Side, Ssim, Text
from nstopt.pictures.size import Size

# Timed runs of a case. A report resamples them some thousand times.
MAX_RUNS = 10_000
# Backends whose engines run on an NVIDIA GPU; the last two are peers only.
GPU_BACKENDS = frozenset({"tensorrt", "torch-cuda", "onnxruntime-cuda"})


class Machine(msgspec.Struct, frozen=True):
    """The machine a record was measured on.

    `cores` counts the cores that this process may use. `versions` maps installed packages to their versions.
    """

    cpu: Text
    cores: Count
    ram_gib: Rate
    gpus: tuple[Text, ...]
    os: Text
    python: Text
    versions: dict[Text, Text]


class Latencies(msgspec.Struct, frozen=True):
    """Milliseconds of one call on a whole batch. `samples` are raw, in the order in which they were taken."""

    p50: Latency
    p90: Latency
    p99: Latency
    mean: Latency
    min: Latency
    samples: Annotated[tuple[Latency, ...], msgspec.Meta(min_length=1, max_length=MAX_RUNS)]


class Stages(msgspec.Struct, frozen=True):
    """Milliseconds that one picture costs besides the net.

    `decode_ms` reads a JPEG file of the case's size, `encode_ms` writes one. `upload_ms` and `download_ms` are copies
    to and from the device. They are None on the CPU, where engines work on the caller's arrays. The latency of the net
    includes them.
    """

    photograph: Text
    decode_ms: Duration
    upload_ms: Duration | None
    download_ms: Duration | None
    encode_ms: Duration


class CaseKey(msgspec.Struct, frozen=True):
    """Identity of a case within a run.

    `sha256` is the hash of the bundle's manifest or, for a peer, of the net's file. A rebuilt engine is another case.
    """

    label: Name
    sha256: Text
    height: Side
    width: Side
    batch: Batch

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)


class CaseInfo(CaseKey, frozen=True):
    """Description of a case, known before it is timed.

    `label` names what runs: an engine of ours, or a peer (`is_peer`). `bundle` is the engine's path, None for a peer.
    `net_sha256` is the hash of the net's file. `precision` is that of the graph, `computes` the one the device
    multiplies in. `psnr_db` and `ssim` are means against FP32 from the bundle's manifest, None if not compared.
    """

    is_peer: bool
    bundle: Text | None
    net: Name
    net_sha256: Text
    family: Text
    backend: Text
    precision: Text
    computes: Text
    psnr_db: Decibels | None
    ssim: Ssim | None

    @property
    def key(self) -> CaseKey:
        return CaseKey(self.label, self.sha256, self.height, self.width, self.batch)


class Record(CaseInfo, frozen=True):
    """A measured case.

    `input` is "noise" or the file name of the picture. `round_runs` is the number of runs in a turn, None if the case
    was timed alone. `warmup_runs` counts all runs that were not timed. `fps` is pictures per second at the median
    latency. `peak_memory_mib` is the largest resident set of the case's own process, with interpreter and libraries.
    `warnings` are facts that cast doubt on the figures.
    """

    input: Text
    latency_ms: Latencies
    round_runs: Annotated[int, msgspec.Meta(ge=1, le=MAX_RUNS)] | None
    warmup_runs: Count
    fps: Rate
    peak_memory_mib: Mebibytes
    device: Text
    machine: Machine
    stages: Stages | None = None
    gpu: GpuState | None = None
    warnings: tuple[Text, ...] = ()

    @property
    def pipeline_fps(self) -> float | None:
        """Pictures per second of a program that decodes, stylizes and encodes one after the other."""
        if self.stages is None:
            return None
        around_ms = self.batch * (self.stages.decode_ms + self.stages.encode_ms)
        return 1000.0 * self.batch / (self.latency_ms.p50 + around_ms)
