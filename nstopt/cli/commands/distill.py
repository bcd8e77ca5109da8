"""`nstopt distill`: a net → a slimmer net that makes similar pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli.commands.train import train_and_save
from nstopt.cli.console import Bar, console, say
from nstopt.cli.options.engine import OneSize
from nstopt.cli.options.group import expand_groups
from nstopt.cli.options.net import NetOptions
from nstopt.cli.options.training import Photographs, StudentOptions, TrainedNet, TrainOptions
from nstopt.pictures.size import DEFAULT_SIZE

if TYPE_CHECKING:
    from nstopt.pictures.size import Size
    from nstopt.train.distill import StudentSpec


@expand_groups
def distill_command(
    teacher: Annotated[Path, typer.Argument(help="The net to learn from, as nstopt export takes it.")],
    *,
    data: Photographs,
    output: TrainedNet,
    val: Annotated[
        Path | None, typer.Option(help="Folder of photographs to compare on; default: those of scikit-image.")
    ] = None,
    res: OneSize = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="GPU", help="Take the widest student that is fast enough on this GPU, such as gtx-1060."),
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=1000, help="Frames a second that --target must reach.")] = 60.0,
    student: StudentOptions,
    options: TrainOptions,
    net: NetOptions,
) -> None:
    """Teach a slim net to make the pictures of TEACHER; compare their pictures, work and speed."""
    if target is not None and not target.strip():
        raise typer.BadParameter("--target names a GPU, such as gtx-1060")
    if target and student.width:
        raise typer.BadParameter("--target chooses the width: leave --width out")
    from nstopt.cli.render.bundle import quality_line
    from nstopt.cli.render.training import student_table
    from nstopt.nets import load_net
    from nstopt.train.distill import Distill, DistillSpec
    from nstopt.train.student import compare
    from nstopt.train.trainer import TrainSpec

    arguments = net.arguments()
    loaded, size = load_net(teacher, **arguments), res or DEFAULT_SIZE
    chosen = _widest(student.spec(), target, fps, size) if target else student.spec()
    spec = DistillSpec(student=chosen, data=data, **options.given("steps", "crop", "peak_rate", "seed"))
    train_and_save(lambda place: Distill(spec, loaded, place), output, options, TrainSpec)
    with Bar() as bar:
        compared = compare(teacher, output, size, val, bar, **arguments)
    console.print(student_table(compared))
    quality = compared.quality
    say(f"student against teacher on {quality.pictures} pictures of {quality.source}: {quality_line(quality)}")


def _widest(student: StudentSpec, target: str, fps: float, size: Size) -> StudentSpec:
    """Return the widest student that is projected to reach `fps` on the GPU `target`, and say so."""
    from nstopt.train.student import fitting

    fit, projected = fitting(student, target, fps, size)
    say(
        f"took width {fit.width}: projected {projected.low_ms:.1f} to {projected.high_ms:.1f} ms in INT8 on a "
        f"{projected.device} at {size}, and {fps:g} FPS leave {1000 / fps:.1f} ms"
    )
    return fit
