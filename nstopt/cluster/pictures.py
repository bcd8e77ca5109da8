"""A folder of pictures on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nstopt.bundle import open_bundle
from nstopt.cluster.client import Placement, place
from nstopt.cluster.work import Lost, do_all
from nstopt.cluster.workers import PictureWorker
from nstopt.errors import MediaError
from nstopt.media.jobs import PictureJob
from nstopt.media.stylize import JobResult


def stylize_pictures(
    bundle: Path, jobs: Sequence[PictureJob], keep_alpha: bool, placement: Placement | None = None
) -> Iterator[JobResult]:
    """Stylize pictures on the cluster that this process is connected to, and yield the results as they are finished.
    The pictures are those that `media.stylize.run` writes on one machine.

    A picture that fails, or at which several workers are lost, does not stop the others. Raises BundleError or
    DeviceError if the engine cannot be opened or its device fails.
    """
    placement = placement or place(open_bundle(bundle).manifest.backend.name)
    tasks = {_absolute(job): job for job in jobs}
    for task, result in do_all(tasks, PictureWorker, (bundle.absolute(), keep_alpha), placement):
        if isinstance(result, Lost):
            result = JobResult(task, None, None, MediaError(f"{task.source}: {result.reason}"))
        yield result._replace(job=tasks[task])


def _absolute(job: PictureJob) -> PictureJob:
    """Return a job whose paths do not depend on a working folder, which workers have of their own."""
    both = job.side_by_side and job.side_by_side.absolute()
    return PictureJob(job.source.absolute(), job.target.absolute(), both)
