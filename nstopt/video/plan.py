"""What is to be done with a video: everything that a worker must know, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nstopt.errors import MediaError
from nstopt.files import real_path
from nstopt.video.clip import Clip, probe
from nstopt.video.encode import Encoding, choose_encoding
from nstopt.video.segments import Segment, split


@dataclass(frozen=True)
class VideoJob:
    """What the user asks for: a video, the file to write, its codec (a name of CODECS) and constant quality, and the
    part of it in seconds after its first frame. None stands for the default."""

    source: Path
    target: Path
    codec: str | None = None
    crf: int | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class VideoPlan:
    """A job, the facts of its clip, its segments, and how they are encoded."""

    job: VideoJob
    clip: Clip
    segments: tuple[Segment, ...]
    encoding: Encoding

    @property
    def frames(self) -> int:
        """The number of frames to stylize."""
        return sum(segment.frames for segment in self.segments)


def plan_video(job: VideoJob) -> VideoPlan:
    """Read the clip and decide everything that does not depend on the engine.

    Raises MediaError if the video cannot be read, if the result would overwrite it, or if it cannot be
    encoded as asked.
    """
    if real_path(job.target) == real_path(job.source):
        raise MediaError(f"{job.target}: the result would overwrite the video itself; choose another output")
    if job.target.is_dir():
        raise MediaError(f"{job.target}: is a folder; name the video to write")
    clip = probe(job.source)
    return VideoPlan(
        job, clip, split(clip, job.start_s, job.end_s), choose_encoding(clip, job.target, job.codec, job.crf)
    )


def notes(plan: VideoPlan) -> list[str]:
    """Say in a line each what a viewer of the result should know."""
    clip, encoding = plan.clip, plan.encoding
    said = []
    if clip.color.hdr:
        said.append(
            f"HDR ({clip.color.hdr}): the net sees the {clip.color.hdr} values as they are, in 8 bits, and the result "
            "keeps the HDR tags"
        )
    shared = "yuv420p" in encoding.pixel_format
    if clip.layout.columns_shared * clip.layout.rows_shared == 4 and not shared:
        said.append(f"{encoding.codec} cannot store {clip.size} in 4:2:0: encoded in {encoding.pixel_format}")
    if clip.layout.bits > 8 and not encoding.pixel_format.endswith("le"):
        said.append(f"{encoding.codec} has no {clip.layout.bits} bits here: encoded in 8 bits")
    return said
