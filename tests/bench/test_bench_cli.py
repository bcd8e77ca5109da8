"""`nstopt bench --layers` and `nstopt export --explain`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nstopt import console
from nstopt.bench import layers
from nstopt.bench.roofline import Bandwidth, Peaks
from nstopt.bundle import ShapeInfo
from nstopt.cli import app
from nstopt.errors import BuildError

from .conftest import MakeBundle

run = CliRunner().invoke


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a command prints with rich."""
    found: list[object] = []
    monkeypatch.setattr(console.console, "print", lambda what, **_: found.append(what))
    return found


def test_layers(make_bundle: MakeBundle, printed: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "measure_peaks", lambda _: Peaks(1.0, None, (Bandwidth(1, 1.0),)))
    measured: list[layers.Layers] = []
    monkeypatch.setattr(layers, "render", measured.append)
    bundles = [make_bundle("one", ShapeInfo(1, 32, 48)), make_bundle("any")]
    result = run(
        app, ["bench", *map(str, bundles), "--layers", "--runs", "2", "--res", "32x48"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert [(each.label, str(each.size), each.runs) for each in measured] == [
        ("one.nst", "32x48", 2),
        ("any.nst", "32x48", 2),
    ]
    assert len(printed) == 2


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
