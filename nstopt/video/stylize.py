"""The whole way of a video: plan, journal, segments, assembly."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

from nstopt.progress import Progress, Silent
from nstopt.video.assemble import Piece, assemble, end_of
from nstopt.video.journal import Journal, open_journal
from nstopt.video.pipeline import Pipeline, SegmentResult
from nstopt.video.plan import VideoPlan
from nstopt.video.stylizer import FrameStylizer


class VideoResult(NamedTuple):
    """What was written: the number of frames, and of those that an earlier call had finished; the seconds that they
    show; a line for each track that was left out; why the source ends early, if it does; True after Ctrl-C."""

    frames: int
    resumed: int
    seconds: float
    left_out: tuple[str, ...]
    damage: str | None
    is_interrupted: bool


def stylize_video(plan: VideoPlan, stylizer: FrameStylizer, progress: Progress | None = None) -> VideoResult:
    """Stylize the video of a plan. Work that an earlier call with the same plan and stylizer left is continued.

    After Ctrl-C, the target holds the frames finished so far, and the journal what is needed to go on. Raises
    KeyboardInterrupt if there are none, MediaError, BundleError, DeviceError; finished segments are kept.
    """
    journal = open_journal(plan, stylizer.identity)
    with journal.working():
        missing = journal.missing(plan.segments)
        to_do = sum(segment.frames for segment in missing)
        pipeline = Pipeline(plan.clip, plan.encoding, missing, stylizer, journal)
        is_interrupted = False
        try:
            with closing(pipeline.run()) as frames:
                for _ in (progress or Silent()).track(frames, to_do, "stylizing"):
                    pass
        except KeyboardInterrupt:
            is_interrupted = True
        return finish(
            plan, journal, plan.frames - to_do, pipeline.cut_short if is_interrupted else None, is_interrupted
        )


def finish(
    plan: VideoPlan,
    journal: Journal,
    resumed: int,
    cut_short: SegmentResult | None = None,
    is_interrupted: bool = False,
) -> VideoResult:
    """Assemble the target from the segments finished, up to the first that is missing, and from the draft that an
    interruption cut short. The journal is removed unless there is more to do."""
    pieces = []
    for segment in plan.segments:
        result = journal.results.get(segment.number)
        if result is None:
            break
        pieces.append(Piece(segment, journal.path(segment.number), result))
    if cut_short is not None and cut_short.number == len(pieces):
        pieces.append(Piece(plan.segments[cut_short.number], journal.draft(cut_short.number), cut_short))
    if is_interrupted and not any(piece.result.frames for piece in pieces):
        raise KeyboardInterrupt
    left_out = assemble(plan, pieces)
    damage = next((piece.result.damage for piece in pieces if piece.result.damage), plan.clip.damage)
    if not is_interrupted:
        journal.remove()
    clip, begin = plan.clip, pieces[0].segment.start
    return VideoResult(
        frames=sum(piece.result.frames for piece in pieces),
        resumed=resumed,
        seconds=float((end_of(clip, pieces[-1]) - begin) * clip.time_base),
        left_out=tuple(left_out),
        damage=damage,
        is_interrupted=is_interrupted,
    )
