"""The bundled nets."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nstopt.calib.quality import psnr_db
from nstopt.export.contract import PictureModule
from nstopt.nets import load_net
from nstopt.pictures.files import Picture
from nstopt.samples import SAMPLES


@pytest.mark.parametrize(
    ("name", "family", "widths", "blocks"),
    [
        ("johnson_starry", "johnson", (16, 32, 48), 2),
        ("reconet_wave", "reconet", (16, 32, 48), 2),
        ("realtime_starry", "johnson", (8, 16, 32), 3),
    ],
)
def test_the_samples_are_small_nets_that_output_pictures(
    name: str, family: str, widths: tuple[int, ...], blocks: int, photographs: list[Picture]
) -> None:
    assert SAMPLES[name].stat().st_size <= 300_000
    net = load_net(SAMPLES[name])
    assert (net.family, net.widths, net.blocks) == (family, widths, blocks)
    with torch.no_grad():
        picture = PictureModule(net)(torch.from_numpy(photographs[0].copy())[None]).float()
    assert 40 < picture.mean() < 215
    assert 10 < picture.std() < 90


def test_the_student_s_pictures_resemble_its_teacher_s(photographs: list[Picture]) -> None:
    teacher, student = (PictureModule(load_net(SAMPLES[name])) for name in ("johnson_starry", "realtime_starry"))
    photo = torch.from_numpy(photographs[0].copy())[None]
    with torch.no_grad():
        assert psnr_db(student(photo).numpy(), teacher(photo).numpy()) > 20
        assert psnr_db(photo.numpy(), teacher(photo).numpy()) < 15


def test_the_samples_paths_need_no_heavy_import() -> None:
    code = "import sys, nstopt.samples; sys.exit(bool({'torch', 'numpy', 'onnx'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
