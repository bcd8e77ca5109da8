"""`nstopt live`: what it says, and its errors."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import noise, write_video
from made import MakeBundle

from nstopt import live
from nstopt.bench import default_engine
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.progress import Silent

from .conftest import Cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a clip of two seconds."""
    monkeypatch.chdir(tmp_path)
    return write_video(tmp_path / "clip.avi", [noise(48, 64, seed) for seed in range(20)]).parent


def test_a_clip_is_shown_to_its_end(folder: Path, make_bundle: MakeBundle, cli: Cli) -> None:
    make_bundle("one"), make_bundle("two")
    ran = cli("live", "one.nst", "two.nst", "--source", "clip.avi", "--port", 0)
    assert (ran.code, ran.err) == (0, "")
    source, one, two, ready, end = ran.out.splitlines()
    assert source == "source: clip.avi, 48x64"
    assert one.startswith("style one: openvino fp")
    assert two.startswith("style two: openvino fp")
    assert re.fullmatch(r"ready: http://127\.0\.0\.1:\d+/", ready)
    assert end == "clip.avi has ended"


def test_on_the_network_there_is_a_token_and_a_line_on_tls(folder: Path, make_bundle: MakeBundle, cli: Cli) -> None:
    make_bundle("one")
    ran = cli("live", "one.nst", "--source", "clip.avi", "--port", 0, "--host", "0.0.0.0")
    assert ran.code == 0
    assert re.search(r"^ready: http://\S+:\d+/\?token=\S{20,}$", ran.out, re.MULTILINE)
    assert "put a TLS proxy in front, or forward the port by ssh -L" in ran.out


@pytest.mark.parametrize(("arguments", "code", "reason"), [
    ("one.nst --source none.mp4", 1, "none.mp4: neither a video file nor an address such as rtsp://"),
    ("one.nst --camera 97", 1, "/dev/video97: no such camera"),
    ("no.nst --source clip.avi", 1, "no.nst: no such folder"),
    ("fixed.nst --source clip.avi --fps 30", 1, "--fps 30: fixed has an engine of fixed size"),
    ("one.nst --source clip.avi --virtual-camera", 1, "no virtual camera: "),
    ("one.nst --source clip.avi -o clip.avi/folder --fps 0", 2, "--fps"),
    ("one.nst --source clip.avi --camera 0", 2, "are two pictures to stylize: give one of them"),
    ("one.nst --loop", 2, "--loop plays a video again"),
])  # fmt: skip
def test_wrong_input(folder: Path, make_bundle: MakeBundle, cli: Cli, arguments: str, code: int, reason: str) -> None:
    make_bundle("one"), make_bundle("fixed", InputShape.of(1, Size(48, 64)))
    ran = cli("live", *arguments.split())
    assert ran.code == code
    assert reason in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err


def test_a_port_that_is_taken(folder: Path, make_bundle: MakeBundle, cli: Cli) -> None:
    make_bundle("one")
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = cli("live", "one.nst", "--source", "clip.avi", "--port", port)
    assert (ran.code, ran.err) == (
        1, f"error: port {port} of 127.0.0.1 is taken: choose another one with --port, or any with --port 0\n"
    )  # fmt: skip


def test_ctrl_c_ends_it(folder: Path, make_bundle: MakeBundle) -> None:
    make_bundle("one")
    command = [sys.executable, "-m", "nstopt", "live", "one.nst", "--source", "clip.avi", "--loop", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        while not process.stdout.readline().startswith("ready: "):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_the_bundled_net_is_built_once(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(default_engine, "NET", tiny_checkpoint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    for _ in range(2):
        path = default_engine.default_engine(Size(48, 64), Silent(), said.append)
        assert path == tmp_path / "nstopt" / "live" / "tiny-48x64.nst"
    assert said == ["building the bundled net tiny for 48x64, once; next time it starts at once"]


@pytest.mark.parametrize(("package", "module", "option", "what", "extra"), [
    ("aiohttp", "nstopt.live.page", "--serve", "the page", "live"),
    ("aiortc", "nstopt.live.page", "--serve", "the page", "live"),
    ("pygame", "nstopt.live.window", "--window", "a window", "window"),
    ("pyvirtualcam", "nstopt.live.virtual_camera", "--virtual-camera", "a virtual camera", "virtual-camera"),
])  # fmt: skip
def test_a_missing_package_is_named(
    folder: Path, make_bundle: MakeBundle, cli: Cli, monkeypatch: pytest.MonkeyPatch,
    package: str, module: str, option: str, what: str, extra: str,
) -> None:  # fmt: skip
    make_bundle("one")
    for name in [name for name in sys.modules if f"{name}.".startswith((f"{module}.", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    name = module.removeprefix("nstopt.live.")
    monkeypatch.setattr(live, name, None, raising=False)  # so that what this test imports is taken back
    monkeypatch.setitem(sys.modules, package, None)
    line = f"error: {what} needs {package}, which is not installed: pip install 'nstopt[{extra}]'\n"
    assert cli("live", "one.nst", "--source", "clip.avi", option) == (1, "", line)
