"""`nstopt bench --layers` and `nstopt export --explain`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nstopt.cli import app
from nstopt.errors import BuildError

from .conftest import MakeBundle

run = CliRunner().invoke


def test_explain_shows_the_rewrites_and_leaves_the_raw_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    written = tmp_path / "net.onnx"
    command = ["export", str(tiny_checkpoint), "-o", str(written), "--res", "48x64", "--explain"]
    result = run(app, [*command, "--backend", "onnxruntime"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Rewrites for onnxruntime at 48x64" in result.output
    assert "UpsampleConv applied to 2 layers" in result.output
    assert b"Resize" in written.read_bytes()


def test_an_unknown_peer_is_named(make_bundle: MakeBundle, tmp_path: Path) -> None:
    command = ["bench", str(make_bundle()), "--compare", "torch,jax", "--checkpoint", str(tmp_path / "net.pth")]
    with pytest.raises(BuildError, match="unknown peer 'jax'; there are: torch, torch-channels-last"):
        run(app, command, catch_exceptions=False)


def test_a_backend_to_explain_is_checked_before_anything_is_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    command = ["export", str(tiny_checkpoint), "-o", str(tmp_path / "net.onnx"), "--explain", "--backend", "jax"]
    with pytest.raises(BuildError, match="unknown backend 'jax'"):
        run(app, command, catch_exceptions=False)
    assert not list(tmp_path.iterdir())
