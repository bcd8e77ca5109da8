"""The segments of a video on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nstopt.bundle import open_bundle
from nstopt.cluster.client import Placement, place
from nstopt.cluster.work import Lost, do_all
from nstopt.cluster.workers import SegmentWorker
from nstopt.errors import MediaError
from nstopt.progress import Progress, Silent
from nstopt.video.journal import Journal, open_journal
from nstopt.video.plan import VideoPlan
from nstopt.video.segments import Segment
from nstopt.video.stylize import VideoResult, finish
from nstopt.video.stylizer import EngineStylizer


def stylize_video(
    plan: VideoPlan,
    stylizer: EngineStylizer,
    bundle: Path,
    progress: Progress | None = None,
    placement: Placement | None = None,
) -> VideoResult:
    """Stylize the video of a plan on the cluster that this process is connected to. The journal is that of one machine:
    each can go on with the other's work, and no finished segment is done again.

    `stylizer` is that of `bundle` on this machine; workers open one of the same streams. Raises what
    `video.stylize.stylize_video` raises, and MediaError if several workers are lost at one segment.
    """
    placement = placement or place(open_bundle(bundle).manifest.backend.name)
    journal = open_journal(plan, stylizer.identity)
    with journal.working():
        missing = journal.missing(plan.segments)
        resumed = plan.frames - sum(segment.frames for segment in missing)
        worker = (bundle.absolute(), stylizer.in_flight, _absolute(plan))
        is_interrupted = False
        try:
            done = _stylize(journal, missing, worker, placement)
            for _ in (progress or Silent()).track(done, len(missing), "stylizing segments"):
                pass
        except KeyboardInterrupt:
            is_interrupted = True
        _drop_after_damage(journal)
        return finish(plan, journal, resumed, is_interrupted=is_interrupted)


def _stylize(
    journal: Journal, missing: list[Segment], worker: tuple[Path, int, VideoPlan], placement: Placement
) -> Iterator[None]:
    """Stylize the segments, and keep each in the journal as it is finished."""
    tasks = {(segment.number, journal.draft(segment.number).absolute()): segment for segment in missing}
    for (number, _), result in do_all(tasks, SegmentWorker, worker, placement):
        if isinstance(result, Lost):
            raise MediaError(f"{worker[2].clip.path}: segment {number}: {result.reason}")
        journal.commit(result)
        yield


def _drop_after_damage(journal: Journal) -> None:
    """Forget the segments after a damage, which one machine would not have reached."""
    damaged = [number for number, result in journal.results.items() if result.damage]
    for number in [number for number in journal.results if damaged and number > min(damaged)]:
        del journal.results[number]


def _absolute(plan: VideoPlan) -> VideoPlan:
    """Return a plan whose source does not depend on a working folder, which workers have of their own."""
    return replace(plan, clip=replace(plan.clip, path=plan.clip.path.absolute()))
