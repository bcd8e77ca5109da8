"""The commands that faults are tried on, and their inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from conftest import noise, write_video
from made import build_inverter, record_of, run_of
from nets import layouts
from PIL import Image
from safetensors.torch import load_file
from train.material import write_lossnet, write_pictures

from nstopt.bundle import open_bundle
from nstopt.export.onnx_file import read_onnx
from nstopt.manifest import InputShape
from nstopt.nets import load_net
from nstopt.nets.custom import load_torchscript
from nstopt.pictures.files import read_picture
from nstopt.pictures.size import Size
from nstopt.pictures.video import frames
from nstopt.runs.run_file import read_run

OUT = Path("out")
Read = Callable[[Path], object]
READ: dict[str, Read] = {
    ".onnx": read_onnx,
    ".ts": load_torchscript,
    ".nst": open_bundle,
    ".png": read_picture,
    ".mp4": lambda path: list(frames(path)),
    ".json": read_run,
    ".safetensors": load_net,
}


@dataclass(frozen=True)
class Command:
    """Arguments of nstopt, which write below `out`.

    `is_killed`: kills are tried. `resumed`: the file that must have the same bits after a kill and a second run as
    without a kill. `overwrites`: the output may be there already."""

    arguments: str
    is_killed: bool = False
    resumed: str | None = None
    overwrites: bool = True


TRAINING = "--data photos --steps 8 --every 2 --crop 32"
COMMANDS = {
    "export": Command("export net.pth -o out/net.onnx --torchscript out/net.ts", is_killed=True),
    "build": Command("build-engine net.onnx --res 48 --val one -o out/net.nst", is_killed=True),
    "sweep": Command("bench net.onnx --res 32,48 --runs 5 --precision fp32 --json out/run.json", is_killed=True),
    "folder": Command("stylize net.nst many -o out", is_killed=True),
    "video": Command("stylize net.nst clip.mkv -o out/clip.mp4", is_killed=True, resumed="clip.mp4"),
    "training": Command(
        f"train johnson --style photos/0.png --lossnet lossnet.npz --style-side 40 {TRAINING} --widths 4 6 8 "
        "--blocks 1 --resume --run out/run -o out/net.safetensors",
        is_killed=True,
        resumed="net.safetensors",
    ),
    "package": Command("package net.nst -o out --name model", overwrites=False),
    "picture": Command("stylize net.nst one/0.png -o out/a.png --before-after out/b.png"),
    "compare": Command("compare net.nst net.nst --images one -o out/a.png"),
    "report": Command("report run.json -o out/page.html --csv out/a.csv --markdown out/a.md --png out/charts"),
    "gatys": Command(
        "gatys one/0.png one/0.png --lossnet lossnet.npz --steps 2 --every 1 --side 32 --log out/log -o out/a.png"
    ),
    "distill": Command(
        f"distill net.pth {TRAINING} --width 4 --blocks 1 --res 48 --val photos --run out/run --resume "
        "-o out/net.safetensors"
    ),
    "plot": Command(
        "build-engine net.onnx --res 48 --int8 --calib photos --min-psnr 10 --plot out/a.png -o out/net.nst"
    ),
}


def prepare() -> None:
    """Write the commands' inputs into the working folder, where net.onnx is exported afterwards."""
    torch.save(layouts.vivid(layouts.johnson(blocks=1), "deconv3.conv2d", 20, 128), "net.pth")
    build_inverter(Path(), "bundle", InputShape.of(1, Size(48, 64)))
    Path("bundle.nst").rename("net.nst")
    for folder, count in (("one", 1), ("many", 12)):
        Path(folder).mkdir()
        for number in range(count):
            Image.fromarray(noise(240, 320, number)).save(f"{folder}/{number}.png")
    write_video(Path("clip.mkv"), [noise(96, 128, number) for number in range(100)])
    write_pictures(Path("photos"))
    write_lossnet(Path("lossnet.npz"))
    Path("run.json").write_bytes(msgspec.json.encode(run_of(record_of())))


def bits(path: Path) -> bytes:
    """Return the content of an output; of a net its weights, since safetensors orders metadata at random."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    weights = load_file(path)
    return b"".join(weights[name].numpy().tobytes() for name in sorted(weights))


def check_outputs() -> None:
    """Raise if a file or a bundle of the output that has its final name is not whole."""
    for path in OUT.glob("[!.]*"):
        if read := READ.get(path.suffix):
            read(path)
    if (model := OUT / "model").exists():
        (model / "config.pbtxt").stat()
