"""The training command."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from nstopt.nets import load_net
from nstopt.train.__main__ import main

from .material import spec

APP = typer.Typer()
APP.command()(main)


def arguments(folder: Path) -> list[str]:
    files = spec(folder)
    sizes = ["--widths", "4", "6", "8", "--blocks", "1", "--steps", "3", "--crop", "32", "--style-side", "40"]
    return ["--style", f"{files.style}", "--data", f"{files.data}", "--lossnet", f"{files.lossnet}", *sizes]


def test_it_writes_a_net_and_prints_its_loss(tmp_path: Path) -> None:
    output = tmp_path / "net.safetensors"
    result = CliRunner().invoke(APP, [*arguments(tmp_path), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert f"{output}: step 3: loss " in result.output
    assert load_net(output).widths == (4, 6, 8)


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    output = tmp_path / "net.safetensors"
    result = CliRunner().invoke(APP, [*arguments(tmp_path), "--style", str(tmp_path / "no.png"), "-o", str(output)])
    assert result.exit_code == 1
    assert "no such picture" in result.output
    assert "Traceback" not in result.output
    assert not output.exists()


def test_what_would_fail_after_the_training_fails_before(tmp_path: Path) -> None:
    result = CliRunner().invoke(APP, [*arguments(tmp_path), "-o", str(tmp_path / "net.pth")])
    assert (result.exit_code, "ends so" in result.output, "step" in result.output) == (1, True, False)
    result = CliRunner().invoke(APP, [*arguments(tmp_path), "--crop", "33", "-o", str(tmp_path / "net.safetensors")])
    assert (result.exit_code, "33 is not a multiple of 16" in result.output) == (2, True)
