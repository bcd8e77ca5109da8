"""`nstopt stylize` on videos: what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from video.clips import make_clip, times_of

from .conftest import Cli


@pytest.mark.usefixtures("folder")
def test_a_video(cli: Cli) -> None:
    source = make_clip(Path("clip.mp4"), frames=20, size=(36, 64), subtitles="mov_text")
    ran = cli("stylize", "net.nst", "clip.mp4", "-o", "made/out.mp4", "--crf", 30)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "wrote made/out.mp4: 20 frames of 36x64, 0.800 s\n"
    assert times_of(Path("made/out.mp4")) == times_of(source)
    ran = cli("stylize", "net.nst", "clip.mp4", "-o", "made", "--start", "0:00.2", "--end", 0.4, "--codec", "hevc")
    assert ran.out == "wrote made/clip.mp4: 5 frames of 36x64, 0.200 s\n"
    ran = cli("stylize", "net.nst", "clip.mp4", "-o", "made/out.mkv", "--streams", 1)
    assert ran.out.splitlines()[-1] == "wrote made/out.mkv: 20 frames of 36x64, 0.800 s"


@pytest.mark.usefixtures("folder")
def test_frames_of_another_size(cli: Cli) -> None:
    make_clip(Path("clip.mkv"), frames=3, size=(72, 128))
    ran = cli("stylize", "net.nst", "clip.mkv")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "frames of 72x128 are stylized at 36x64 and scaled back (net.nst takes 48x64)",
        "wrote nstopt-out/clip-stylized.mkv: 3 frames of 72x128, 0.120 s",
    ]


@pytest.mark.usefixtures("folder")
def test_no_stabilizing_changes_nothing(cli: Cli) -> None:
    make_clip(Path("clip.mp4"), frames=5)
    for name, options in (("plain", []), ("none", ["--stabilize", 0]), ("some", ["--stabilize", 0.5])):
        assert cli("stylize", "net.nst", "clip.mp4", "-o", f"{name}.mp4", *options).code == 0
    plain, none, some = (Path(f"{name}.mp4").read_bytes() for name in ("plain", "none", "some"))
    assert plain == none != some


@pytest.mark.usefixtures("folder")
def test_what_is_wrong_with_a_video(cli: Cli) -> None:
    make_clip(Path("clip.mkv"), frames=150)
    Path("half.mkv").write_bytes(Path("clip.mkv").read_bytes()[:-5000])
    ran = cli("stylize", "net.nst", "half.mkv", "-o", "half.mp4")
    shown = len(times_of(Path("half.mp4")))
    assert ran.code == 1
    assert ran.out.startswith(f"wrote half.mp4: {shown} frames of 48x64, ")
    assert ran.err.startswith("error: half.mkv: damaged (the file is cut off: ")
    assert ran.err.endswith(f"half.mp4 holds the {shown} frames before that\n")
    Path("text.mp4").write_text("text")
    for arguments, code, message in (
        (["text.mp4"], 1, "error: text.mp4: not a readable video"),
        (["clip.mkv", "--codec", "theora"], 1, "error: unknown codec 'theora'; there are: h264, hevc"),
        (["clip.mkv", "-o", "out.avi"], 1, "error: out.avi: a video is written as .mp4, "),
        (["clip.mkv", "--start", "2 s"], 2, "is not a time"),
        (["clip.mkv", "--keep-alpha"], 2, "--keep-alpha is for pictures"),
        (["photo.png", "--crf", 3], 2, "--crf is for videos"),
        (["photo.png", "--stabilize", 1], 2, "--stabilize is for videos"),
        (["clip.mkv", "--stabilize", 2], 2, "'2' is not a number from 0 to 1"),
        (["clip.mkv", "--stabilize", 1, "--streams", 2], 2, "--streams has no effect with --stabilize"),
        (["clip.mkv", "--stabilize", 1, "--ray", "auto"], 2, "leave --ray out"),
        (["clip.mkv", "--ray", "127.0.0.1:1"], 1, "error: no Ray cluster at 127.0.0.1:1: Connection refused"),
    ):
        ran = cli("stylize", "net.nst", *arguments)
        assert (ran.code, ran.out) == (code, "")
        assert message in " ".join(ran.err.replace("│", "").split())
