"""The training commands, from arguments to files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nets import layouts
from train.material import write_lossnet, write_pictures

from nstopt.errors import TrainingError
from nstopt.nets import load_net
from nstopt.pictures.files import read_picture
from nstopt.train.adain import AdainSpec, AdainTrainSpec

from .conftest import Cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the inputs of a training."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "photos")
    write_lossnet(tmp_path / "lossnet.npz")
    return tmp_path


STYLE = ("--style", "photos/0.png", "--lossnet", "lossnet.npz", "--style-side", 40)
SMALL = ("--data", "photos", "--steps", 3, "--crop", 32, "--every", 2)
SLIM = ("--widths", 4, 6, 8, "--blocks", 1)


def test_train_johnson_and_resume(here: Path, cli: Cli) -> None:
    command = ("train", "johnson", *STYLE, *SMALL, *SLIM, "-o", "net.safetensors")
    ran = cli(*command)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 2", "step 3", "wrote net.safetensors"]
    assert "content" in lines[-1]
    assert load_net(here / "net.safetensors").widths == (4, 6, 8)
    assert (here / "net.run" / "losses.csv").exists()
    again = cli(*command)
    assert (again.code, "give --resume" in again.err) == (1, True)
    assert cli(*command, "--resume").code == 0


def test_train_reconet(here: Path, cli: Cli) -> None:
    ran = cli("train", "reconet", "--norm", "instance", *STYLE, *SMALL, *SLIM, "-o", "net.safetensors")
    assert (ran.code, ran.err) == (0, "")
    assert "feature" in ran.out
    net = load_net(here / "net.safetensors")
    assert (net.family, net.widths) == ("reconet", (4, 6, 8))
    assert any(isinstance(module, torch.nn.InstanceNorm2d) for module in net.module.modules())


def test_train_adain(here: Path, cli: Cli) -> None:
    torch.save(layouts.adain_vgg(), "vgg.pth")
    ran = cli("train", "adain", "--style-dir", "photos", "--vgg", "vgg.pth", *SMALL, "-o", "net.safetensors")
    assert (ran.code, ran.err) == (0, "")
    net = load_net(here / "net.safetensors", vgg="vgg.pth", styles=[("photos/0.png", 1.0)])
    assert net.family == "adain"


def test_options_that_are_not_given_have_the_defaults_of_the_specs(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def train(system: object, spec: object, *_: object) -> None:
        seen.append(spec)
        raise TrainingError("enough")

    monkeypatch.setattr("nstopt.train.adain.Adain", lambda spec, place: seen.append(spec))
    monkeypatch.setattr("nstopt.train.trainer.train", train)
    files = ("--style-dir", "styles", "--data", "photos", "--vgg", "vgg.pth")
    ran = cli("train", "adain", *files, "--batch", 3, "--rate", 1e-3, "-o", "net.safetensors")
    assert ran.err == "error: enough\n"
    assert seen == [
        AdainSpec(data=Path("photos"), style_dir=Path("styles"), vgg=Path("vgg.pth"), peak_rate=1e-3),
        AdainTrainSpec(run=Path("net.run"), batch=3),
    ]


def test_gatys(here: Path, cli: Cli) -> None:
    arguments = ("--lossnet", "lossnet.npz", "--steps", 4, "--every", 2, "--side", 32, "--log", "log")
    ran = cli("gatys", "photos/1.png", "photos/0.png", *arguments, "-o", "out.png")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split(":")[0] for line in ran.out.splitlines()] == ["step 2", "step 4", "step 5", "wrote out.png"]
    assert read_picture(here / "out.png").rgb.shape == (32, 45, 3)
    assert len((here / "log" / "losses.csv").read_text().splitlines()) == 6


@pytest.mark.usefixtures("short_warm_up")
def test_distill_compares_student_and_teacher(here: Path, cli: Cli, tiny_checkpoint: Path) -> None:
    student = ("--width", 4, "--blocks", 1, "--kernel", 3, "--separable", "--res", 48)
    ran = cli("distill", tiny_checkpoint, *SMALL, *student, "--val", "photos", "-o", "student.safetensors")
    assert (ran.code, ran.err) == (0, "")
    assert load_net(here / "student.safetensors").widths == (4, 8, 16)
    assert "student against teacher on 3 pictures of photos: PSNR" in ran.out
    assert "GMAC" in ran.out


def test_distill_fails_if_no_width_is_fast_enough(
    here: Path, cli: Cli, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nstopt.train.student.WIDTHS", (4,))
    aim = ("--target", "gtx-1060", "--fps", 1000, "--blocks", 0, "--res", 2160)
    ran = cli("distill", tiny_checkpoint, *SMALL, *aim, "-o", "student.safetensors")
    assert (ran.code, "lower --fps or --res" in ran.err) == (1, True)
    assert not (here / "student.run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "johnson", *STYLE, *SMALL, "-o", "net.pth"), 1, "a name with this suffix"),
        (("train", "johnson", *STYLE, *SMALL, "-o", "n.safetensors", "--style", "no.png"), 1, "no such picture"),
        (("train", "johnson", *STYLE, *SMALL, "-o", "n.safetensors", "--crop", 33), 2, "33 is not a multiple of 16"),
        (("train", "johnson", *STYLE, *SMALL, "-o", "n.safetensors", "--device", "tpu"), 2, "not one of"),
        (("train", "reconet", *STYLE, *SMALL, "-o", "n.safetensors", "--norm", "batch"), 2, "not one of"),
        (("train", "adain", *SMALL, "--style-dir", "photos", "--vgg", "v.pth", "-o", "n.safetensors"), 1, "get vgg_"),
        (("gatys", "a.png", "b.png", "--lossnet", "vgg.pth", "-o", "out.txt"), 2, "is no picture"),
        (("gatys", "a.png", "b.png", "--lossnet", "l", "-o", "o.png", "--optimizer", "sgd"), 2, "not one of"),
        (("distill", "no.pth", *SMALL, "-o", "n.safetensors"), 1, "there is no checkpoint"),
        (("distill", "no.pth", *SMALL, "-o", "n.safetensors", "--kernel", 4), 2, "is even"),
        (
            ("distill", "no.pth", *SMALL, "-o", "n.safetensors", "--width", 8, "--target", "rtx-3090"),
            2,
            "leave --width",
        ),
    ],
)
def test_wrong_input(here: Path, cli: Cli, arguments: tuple[object, ...], code: int, message: str) -> None:
    ran = cli(*arguments)
    assert ran.code == code, ran.err
    assert message in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err
    assert not list(here.glob("*.safetensors"))
