"""`nstopt plan`: a net and a GPU → what to deploy, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, say, took
from nstopt.cli.options.engine import OneSize
from nstopt.cli.options.group import expand_groups
from nstopt.cli.options.net import NetOptions
from nstopt.pictures.size import DEFAULT_SIZE


@expand_groups
def plan_command(
    net: Annotated[Path | None, typer.Argument(help="Checkpoint, or ONNX file that nstopt export wrote.")] = None,
    *,
    target: Annotated[str, typer.Option(metavar="GPU", help="GPU to plan for, present or not.")] = "gtx-1060",
    fps: Annotated[float, typer.Option(min=0.1, max=1000, help="Frames a second to reach.")] = 30.0,
    res: OneSize = None,
    options: NetOptions,
) -> None:
    """Project what a GPU can run, present or not: size for each precision, memory, software, and what to change."""
    from nstopt.bundle import is_bundle
    from nstopt.errors import BuildError
    from nstopt.gpu import facts
    from nstopt.pipeline.ensure import export
    from nstopt.projection.plan import Question, advise, check_free_size

    gpu = facts.gpu(target)
    with Bar() as bar:
        net = net or took(artifacts.newest_onnx())
        if is_bundle(net):
            raise BuildError(f"{net}: is built already, for one GPU; a plan takes its checkpoint or its .onnx")
        model = export(net, artifacts.FOLDER, options.arguments(), progress=bar)
        check_free_size(model)
        bar.step(f"projecting {model.stem} on {gpu.title}")
        advice = advise(Question(model.stem, model, gpu, fps, res or DEFAULT_SIZE))
    say(f"{model.stem} on {gpu.title}, projected and not measured (docs/projection.md):")
    for sentence in advice.sentences:
        say(f"- {sentence}")
