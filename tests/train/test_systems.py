"""Each system for a few steps: the loss falls, and the file is a net that nstopt knows and paints with."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from nets import layouts
from PIL import Image

from nstopt.errors import CheckpointError, MediaError
from nstopt.export.contract import PictureModule
from nstopt.nets import load_net
from nstopt.train.adain import Adain, AdainSpec
from nstopt.train.clips import ClipPairs
from nstopt.train.distill import Distill, DistillSpec, StudentSpec
from nstopt.train.johnson import Johnson
from nstopt.train.reconet import Reconet, ReconetSpec
from nstopt.train.save import check_writable, save_net
from nstopt.train.trainer import System, train

from .material import CPU, johnson, johnson_spec, style, train_spec, write_lossnet, write_pictures

STEPS = 40


def reconet(folder: Path, frn: bool = True, **changes: object) -> Reconet:
    photos, lossnet = write_pictures(folder / "photos"), write_lossnet(folder / "lossnet.npz")
    fields: dict[str, object] = {"widths": (4, 6, 8), "blocks": 1, "crop": 32, "peak_rate": 1e-2}
    fields |= {"data": photos, "lossnet": lossnet, "steps": STEPS, "frn": frn}
    return Reconet(ReconetSpec(style(folder), **(fields | changes)), CPU)  # type: ignore[arg-type]


def adain(folder: Path) -> Adain:
    vgg = folder / "vgg.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({name: tensor * 3 for name, tensor in layouts.adain_vgg().items()}, vgg)
    photos, styles = write_pictures(folder / "photos"), write_pictures(folder / "styles", count=4)
    return Adain(AdainSpec(photos, styles, vgg, STEPS, crop=32, peak_rate=1e-2), CPU)


def distill(folder: Path, separable: bool = False) -> Distill:
    teacher = folder / "teacher.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(layouts.vivid(layouts.johnson(blocks=0, kernel=3), "deconv3.conv2d", 20, 128), teacher)
    student = StudentSpec(width=4, blocks=1, kernel=5, separable=separable)
    photos = write_pictures(folder / "photos")
    return Distill(DistillSpec(student, photos, STEPS, crop=32, peak_rate=2e-2), load_net(teacher), CPU)


SYSTEMS: dict[str, Callable[[Path], System]] = {
    "johnson": lambda folder: johnson(folder, steps=STEPS, peak_rate=1e-2),
    "reconet-frn": lambda folder: reconet(folder),
    "reconet-instance": lambda folder: reconet(folder, frn=False),
    "adain": adain,
    "distill": distill,
    "distill-separable": lambda folder: distill(folder, separable=True),
}


@pytest.fixture(params=SYSTEMS)
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, System, Path]:
    """A system's name, the system after its training, and the run's folder."""
    system = SYSTEMS[request.param](tmp_path)
    train(system, train_spec(tmp_path / "run", STEPS), CPU)
    return request.param, system, tmp_path


def test_it_learns_and_its_file_paints(trained: tuple[str, System, Path]) -> None:
    name, system, folder = trained
    rows = (folder / "run" / "losses.csv").read_text().splitlines()[1:]
    totals = [float(row.split(",")[1]) for row in rows]
    assert sum(totals[-5:]) < 0.9 * sum(totals[:5])
    path = folder / "net.safetensors"
    save_net(path, system.weights(), system.settings, {"total": 1.0})
    options = {"vgg": folder / "vgg.pth", "styles": [(folder / "styles" / "0.png", 1.0)]} if name == "adain" else {}
    net = load_net(path, **options)  # type: ignore[arg-type]
    assert net.family == name.split("-")[0].replace("distill", "johnson")
    photo = torch.from_numpy(np.array(Image.open(folder / "photos" / "0.png")))
    with torch.no_grad():
        painted = PictureModule(net)(photo[None]).float()
    batch = [part[None] for part in system.sample(0)]
    with torch.no_grad():
        shown = system.paint(*batch)[-1].clamp(0, 255)  # as a picture is
    assert painted.shape == (1, 40, 56, 3)
    assert painted.std() > 3
    assert abs(painted.mean() - shown.mean()) < 60  # gray levels of both, not numbers of some other range


def test_frn_nets_hold_filter_response_norms(tmp_path: Path) -> None:
    names = {frn: set(reconet(tmp_path, frn).weights()) for frn in (True, False)}
    assert any(name.endswith(".tau") for name in names[True])
    assert not any(name.endswith(".tau") for name in names[False])


def test_temporal_losses_are_nothing_where_nothing_moves(tmp_path: Path) -> None:
    system = reconet(tmp_path)
    photo = system.sample(0)[0][None]
    still, everywhere = torch.zeros(1, 2, 32, 32), torch.ones(1, 1, 32, 32)
    with torch.no_grad():
        terms = system.losses(system.module, photo, photo, still, everywhere)
        moving = system.losses(system.module, *[part[None] for part in system.sample(0)])
    assert max(terms["feature"].item(), terms["output"].item()) < 1e-6
    assert min(moving["feature"].item(), moving["output"].item()) > 1e-5


def write_clip(path: Path, count: int = 20) -> Path:
    """A picture that moves one pixel a frame."""
    path.parent.mkdir(exist_ok=True)
    random = np.random.default_rng(0).integers(0, 256, (10, 16, 3), dtype=np.uint8)
    scene = np.asarray(Image.fromarray(random).resize((96, 48), Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            picture = np.ascontiguousarray(scene[:, number : number + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_pairs_of_clips_have_estimated_flow(tmp_path: Path) -> None:
    pairs = ClipPairs(write_clip(tmp_path / "clips" / "a.mp4").parent, 32, seed=0)
    first = pairs[0]
    # A pixel of 48 is two thirds of one of 32; the scene goes left, so things were to the right before.
    assert np.median(first.flow[0]) == pytest.approx(2 / 3, abs=0.25)
    assert np.median(first.flow[1]) == pytest.approx(0, abs=0.1)
    assert first.visible.mean() > 0.6
    numbers = {pairs[number].frame.tobytes() for number in range(3)}
    assert len(numbers) == 3  # frames 1, 9 and 17, each once
    assert {pairs[number].frame.tobytes() for number in range(3, 6)} == numbers


def test_reconet_learns_from_clips(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "a.mp4", count=4)
    system = reconet(tmp_path, data=tmp_path / "clips", from_clips=True)
    assert train(system, train_spec(tmp_path / "run", 2), CPU)["output"] > 0


def test_bad_input(tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "no", "no such folder"), (write_pictures(tmp_path / "p"), "no video clips")):
        with pytest.raises(MediaError, match=message):
            ClipPairs(folder, 32, 0)
    write_clip(tmp_path / "one" / "a.mp4", count=1)
    with pytest.raises(MediaError, match="no clip has two frames"):
        ClipPairs(tmp_path / "one", 32, 0)
    spec = johnson_spec(tmp_path)
    with pytest.raises(MediaError, match="no such folder"):
        Johnson(johnson_spec(tmp_path, data=tmp_path / "nowhere"), CPU)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        Johnson(johnson_spec(tmp_path, lossnet=tmp_path / "no.npz"), CPU)
    with pytest.raises(CheckpointError, match=r"get vgg_normalized\.pth from https://github\.com"):
        Adain(AdainSpec(spec.data, spec.data, tmp_path / "no.pth", 1), CPU)


def test_the_file_is_fp16_and_says_how_it_came_about(tmp_path: Path) -> None:
    system, path = johnson(tmp_path), tmp_path / "out" / "net.safetensors"
    save_net(path, system.weights(), system.settings, {"total": 0.5, "style": 0.25})
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__")
    assert {tensor["dtype"] for tensor in header.values()} == {"F16"}
    assert {parameter.dtype for parameter in load_net(path).module.parameters()} == {torch.float32}
    assert (metadata["style"], metadata["widths"], metadata["seed"]) == ("0.png", "(4, 6, 8)", "0")
    assert (metadata["family"], metadata["style_loss"]) == ("johnson", "0.25")
    assert str(tmp_path) not in str(metadata)


def test_a_net_that_cannot_be_written(tmp_path: Path) -> None:
    weights = {"weight": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"ends so"):
        check_writable(tmp_path / "net.pth")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_net(tmp_path / "file" / "net.safetensors", weights, {}, {})
    with pytest.raises(CheckpointError, match="weight is not finite"):
        save_net(tmp_path / "net.safetensors", {"weight": torch.tensor([1e9])}, {}, {})
    assert not (tmp_path / "net.safetensors").exists()
