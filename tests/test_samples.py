"""The bundled net."""

from __future__ import annotations

import subprocess
import sys

import torch

from nstopt.nets import load_net
from nstopt.samples import SAMPLE


def test_the_sample_is_a_small_johnson_net() -> None:
    assert SAMPLE.stat().st_size <= 300_000
    net = load_net(SAMPLE)
    assert (net.family, net.widths, net.blocks) == ("johnson", (16, 32, 48), 2)


def test_the_sample_paints_within_the_range_of_a_picture() -> None:
    ramp = torch.linspace(0, 255, 64).expand(1, 3, 64, 64)
    with torch.no_grad():
        picture = load_net(SAMPLE).module(ramp)
    assert 40 < picture.mean() < 215
    assert 10 < picture.std() < 90


def test_its_path_costs_no_heavy_import() -> None:
    code = "import sys, nstopt.samples; sys.exit(bool({'torch', 'numpy', 'onnx'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
