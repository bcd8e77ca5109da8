"""`nstopt stylize`: engine bundle + pictures or a video → stylized pictures or a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, errors, say, took
from nstopt.cli.options.group import expand_groups, given_on_command_line
from nstopt.cli.options.large import LargeOptions
from nstopt.cli.options.video import VideoOptions
from nstopt.errors import MediaError

if TYPE_CHECKING:
    from nstopt.media.jobs import PictureJob
    from nstopt.media.stylize import JobResult
    from nstopt.video.plan import VideoPlan
    from nstopt.video.stylize import VideoResult
    from nstopt.video.stylizer import EngineStylizer

ONLY_PICTURES = frozenset({"keep_alpha", "before_after"}) | LargeOptions.names()


@expand_groups
def stylize_command(
    context: typer.Context,
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle; default: the newest.")] = None,
    picture: Annotated[
        Path | None, typer.Argument(help="Picture, folder of pictures, or video; default: a demo photograph.")
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Picture, folder or video to write; default: nstopt-out/NAME-stylized."),
    ] = None,
    keep_alpha: Annotated[bool, typer.Option("--keep-alpha", help="Keep transparency; default: over white.")] = False,
    before_after: Annotated[
        Path | None,
        typer.Option(help="Also write before and after side by side: a picture, or for a folder of pictures a folder."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Work on a Ray cluster: HOST:PORT, or auto. All its machines need the same paths.",
        ),
    ] = None,
    large: LargeOptions,
    video: VideoOptions,
) -> None:
    """Stylize a picture, all pictures of a folder, or a video. The result has the source's own size.

    The bundle may be left out: nstopt stylize PICTURE. A video that was interrupted goes on when the same command is
    given again.
    """
    from nstopt.bundle import is_bundle
    from nstopt.video.names import is_video

    if bundle and picture is None and not is_bundle(bundle):
        bundle, picture = None, bundle
    path = bundle or took(artifacts.newest_bundle())
    is_clip = picture is not None and is_video(picture)
    _check_options(given_on_command_line(context), is_clip)
    if ray is not None and video.stabilize:
        raise typer.BadParameter("--stabilize needs each frame's predecessor, so one machine does it: leave --ray out")
    if is_clip and picture is not None:
        _stylize_video(path, picture, output, ray, video)
    else:
        _stylize_pictures(path, picture, output, keep_alpha, before_after, ray, large)


def _check_options(given: set[str], is_clip: bool) -> None:
    """Raise typer.BadParameter for an option that would have no effect."""
    useless = sorted(given & (ONLY_PICTURES if is_clip else VideoOptions.names()))
    if useless:
        kind = "pictures" if is_clip else "videos"
        raise typer.BadParameter(f"--{useless[0].replace('_', '-')} is for {kind}: leave it out")


def _stylize_pictures(
    path: Path,
    picture: Path | None,
    output: Path | None,
    keep_alpha: bool,
    before_after: Path | None,
    ray: str | None,
    large: LargeOptions,
) -> None:
    from nstopt.media.jobs import list_jobs
    from nstopt.media.stylize import run
    from nstopt.pictures.files import demo_photograph
    from nstopt.strips import engine as strips

    source = picture or took(demo_photograph("astronaut"))
    default = artifacts.FOLDER / (f"{source.name}-stylized" if source.is_dir() else f"{source.stem}-stylized.png")
    jobs = list_jobs(source, output or default, keep_alpha, before_after)
    if ray is not None:
        _stylize_pictures_on_cluster(ray, path, jobs, keep_alpha)
        return
    # One picture at a time where memory is limited.
    ahead = None if large.max_memory is None else 0
    with Bar() as bar, strips.load(path, large.max_memory, bar, say) as engine:
        done = list(bar.track(run(engine, jobs, keep_alpha, ahead, large.max_pixels), len(jobs), "stylizing"))
    _show(done, f"its engine takes {engine.shape.sizes}")


def _stylize_pictures_on_cluster(address: str, path: Path, jobs: Sequence[PictureJob], keep_alpha: bool) -> None:
    from nstopt.bundle import open_bundle
    from nstopt.cluster.client import connected
    from nstopt.cluster.pictures import stylize_pictures

    sizes = open_bundle(path).manifest.shape.sizes
    with connected(address), Bar() as bar:
        done = list(bar.track(stylize_pictures(path, jobs, keep_alpha), len(jobs), "stylizing"))
    _show(sorted(done, key=lambda one: jobs.index(one.job)), f"its engine takes {sizes}")


def _show(done: Sequence[JobResult], limit: str) -> None:
    """Print what was written. Raises the error of a single picture, or MediaError if any of several failed."""
    for one in done:
        if one.error is None:
            scaled = "" if one.ran_at == one.size else f", the net ran at {one.ran_at} ({limit})"
            say(f"wrote {one.job.target}: {one.size}{scaled}")
            if one.job.side_by_side:
                say(f"wrote {one.job.side_by_side}: before and after")
    failed = [one.error for one in done if one.error is not None]
    if failed and len(done) == 1:
        raise failed[0]
    for error in failed:
        say(f"left out: {error}")
    if failed:
        others = "; the others were written" if len(failed) < len(done) else ""
        raise MediaError(f"{len(failed)} of {len(done)} pictures could not be stylized{others}")


def _stylize_video(path: Path, source: Path, output: Path | None, ray: str | None, options: VideoOptions) -> None:
    from nstopt.video.encode import CONTAINERS
    from nstopt.video.open_stylizer import open_stylizer
    from nstopt.video.plan import VideoJob, notes, plan_video
    from nstopt.video.stylize import stylize_video

    suffix = source.suffix if source.suffix.lower() in CONTAINERS else ".mp4"
    target = output or artifacts.FOLDER / f"{source.stem}-stylized{suffix}"
    if target.is_dir():
        target = target / f"{source.stem}{suffix}"
    plan = plan_video(VideoJob(source, target, options.codec, options.crf, options.start, options.end))
    with open_stylizer(path, options.streams, options.stabilize) as stylizer:
        for note in [*stylizer.notes(plan.clip.size), *notes(plan)]:
            say(note)
        if ray is not None:
            result = _stylize_video_on_cluster(ray, path, plan, stylizer)
        else:
            with Bar(unit="FPS") as bar:
                result = stylize_video(plan, stylizer, bar)
    _show_video(plan, result)


def _stylize_video_on_cluster(address: str, path: Path, plan: VideoPlan, stylizer: EngineStylizer) -> VideoResult:
    from nstopt.cluster.client import connected
    from nstopt.cluster.video import stylize_video

    with connected(address), Bar() as bar:
        return stylize_video(plan, stylizer, path, bar)


def _show_video(plan: VideoPlan, result: VideoResult) -> None:
    """Print what was written. Raises MediaError if the source is damaged, KeyboardInterrupt if Ctrl-C was pressed."""
    for line in result.left_out:
        say(line)
    target, clip = plan.job.target, plan.clip
    before = f", {result.resumed} of them before" if result.resumed else ""
    say(f"wrote {target}: {result.frames} frames of {clip.size}{before}, {result.seconds:.3f} s")
    if result.is_interrupted:
        errors.print(
            f"interrupted after {result.frames} of {plan.frames} frames; to go on, give the same command again"
        )
        raise KeyboardInterrupt
    if result.damage:
        raise MediaError(
            f"{clip.path}: damaged ({result.damage}); {target} holds the {result.frames} frames before that"
        )
