"""Each system for a few steps: the loss falls, and the saved file is a net that nstopt loads and runs."""

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
from nstopt.train.adain import Adain, AdainSpec, AdainTrainSpec
from nstopt.train.clips import ClipPairs
from nstopt.train.distill import Distill, DistillSpec, StudentSpec
from nstopt.train.gatys import GatysSpec
from nstopt.train.johnson import Johnson, JohnsonSpec
from nstopt.train.objective import StyleSpec
from nstopt.train.reconet import Reconet, ReconetSpec
from nstopt.train.save import check_writable, save_net
from nstopt.train.trainer import System, TrainSpec, train

from .material import CPU, johnson, johnson_spec, style, totals_in, write_lossnet, write_pictures

STEPS = 16


def reconet(folder: Path, **changes: object) -> Reconet:
    photos, lossnet = write_pictures(folder / "photos"), write_lossnet(folder / "lossnet.npz")
    fields: dict[str, object] = {"widths": (4, 6, 8), "blocks": 1, "crop": 32, "peak_rate": 2e-2}
    fields |= {"data": photos, "lossnet": lossnet, "steps": STEPS}
    return Reconet(ReconetSpec(style(folder), **(fields | changes)), CPU)  # type: ignore[arg-type]


def adain(folder: Path) -> Adain:
    vgg = folder / "vgg.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({name: tensor * 3 for name, tensor in layouts.adain_vgg().items()}, vgg)
    photos, styles = write_pictures(folder / "photos"), write_pictures(folder / "styles", count=4)
    return Adain(AdainSpec(photos, styles, vgg, STEPS, crop=32, peak_rate=2e-2), CPU)


def distill(folder: Path) -> Distill:
    teacher = folder / "teacher.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(layouts.vivid(layouts.johnson(blocks=0, kernel=3), "deconv3.conv2d", 20, 128), teacher)
    student = StudentSpec(width=4, blocks=1, kernel=5, separable=True)
    photos = write_pictures(folder / "photos")
    return Distill(DistillSpec(student, photos, STEPS, crop=32, peak_rate=2e-2), load_net(teacher), CPU)


SYSTEMS: dict[str, Callable[[Path], System]] = {
    "johnson": lambda folder: johnson(folder, steps=STEPS, peak_rate=2e-2),
    "reconet": reconet,
    "adain": adain,
    "distill": distill,
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_loss_falls_and_the_saved_net_runs(tmp_path: Path, name: str) -> None:
    system, path = SYSTEMS[name](tmp_path), tmp_path / "net.safetensors"
    train(system, TrainSpec(tmp_path / "run", STEPS), CPU)
    totals = totals_in(tmp_path / "run")
    assert sum(totals[-4:]) < 0.9 * sum(totals[:4])
    save_net(path, system.weights(), system.settings, {"total": 1.0})
    options = {"vgg": tmp_path / "vgg.pth", "styles": [(tmp_path / "styles" / "0.png", 1.0)]} if name == "adain" else {}
    net = load_net(path, **options)  # type: ignore[arg-type]
    assert net.family == name.replace("distill", "johnson")
    photo = torch.from_numpy(np.array(Image.open(tmp_path / "photos" / "0.png")))
    with torch.no_grad():
        painted = PictureModule(net)(photo[None]).float()
        shown = system.paint(*[part[None] for part in system.sample(0)])[-1].clamp(0, 255)
    assert painted.shape == (1, 40, 56, 3)
    assert painted.std() > 3
    assert abs(painted.mean() - shown.mean()) < 60  # both are in gray levels


def test_frn_selects_the_norm(tmp_path: Path) -> None:
    for frn in (True, False):
        assert any(name.endswith(".tau") for name in reconet(tmp_path, frn=frn).weights()) == frn


def test_temporal_losses_are_zero_without_motion(tmp_path: Path) -> None:
    system = reconet(tmp_path)
    photo = system.sample(0)[0][None]
    still, everywhere = torch.zeros(1, 2, 32, 32), torch.ones(1, 1, 32, 32)
    with torch.no_grad():
        terms = system.losses(system.module, photo, photo, still, everywhere)
        moving = system.losses(system.module, *[part[None] for part in system.sample(0)])
    assert max(terms["feature"].item(), terms["output"].item()) < 1e-6
    assert min(moving["feature"].item(), moving["output"].item()) > 1e-5


def write_clip(path: Path, count: int = 20) -> Path:
    """Write a clip of a scene that moves left by one pixel per frame."""
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
    # Clips of height 48 are resized to 32, by 2/3. The scene moves left, so the flow to the previous frame is positive.
    assert np.median(first.flow[0]) == pytest.approx(2 / 3, abs=0.25)
    assert np.median(first.flow[1]) == pytest.approx(0, abs=0.1)
    assert first.visible.mean() > 0.6
    numbers = {pairs[number].frame.tobytes() for number in range(3)}
    assert len(numbers) == 3  # frames 1, 9 and 17, each once
    assert {pairs[number].frame.tobytes() for number in range(3, 6)} == numbers


def test_reconet_learns_from_clips(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "a.mp4", count=4)
    system = reconet(tmp_path, data=tmp_path / "clips", from_clips=True)
    assert train(system, TrainSpec(tmp_path / "run", 2), CPU)["output"] > 0


def test_bad_folders_of_clips(tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "no", "no such folder"), (write_pictures(tmp_path / "p"), "no video clips")):
        with pytest.raises(MediaError, match=message):
            ClipPairs(folder, 32, 0)
    write_clip(tmp_path / "one" / "a.mp4", count=1)
    with pytest.raises(MediaError, match="no clip has two frames"):
        ClipPairs(tmp_path / "one", 32, 0)


def test_missing_training_files(tmp_path: Path) -> None:
    spec = johnson_spec(tmp_path)
    with pytest.raises(MediaError, match="no such folder"):
        Johnson(johnson_spec(tmp_path, data=tmp_path / "nowhere"), CPU)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        Johnson(johnson_spec(tmp_path, lossnet=tmp_path / "no.npz"), CPU)
    with pytest.raises(CheckpointError, match=r"get vgg_normalised\.pth from https://github\.com"):
        Adain(AdainSpec(spec.data, spec.data, tmp_path / "no.pth"), CPU)


def test_the_specs_hold_all_defaults(tmp_path: Path) -> None:
    picture, folder, file = StyleSpec(tmp_path / "style.jpg"), tmp_path / "photos", tmp_path / "net.pth"
    for spec in (
        JohnsonSpec(picture, folder, file),
        ReconetSpec(picture, folder, file),
        DistillSpec(StudentSpec(), folder),
    ):
        assert (spec.steps, spec.crop, TrainSpec(tmp_path).steps) == (2000, 256, 2000)
    assert AdainSpec(folder, folder, file).steps == AdainTrainSpec(tmp_path).steps == 160_000
    assert TrainSpec(tmp_path) == TrainSpec(tmp_path, batch=2, every=200)
    assert AdainTrainSpec(tmp_path) == AdainTrainSpec(tmp_path, batch=8, every=1000)
    assert GatysSpec(file, picture, file).steps == 250


def test_the_file_is_fp16_and_its_metadata_holds_the_settings(tmp_path: Path) -> None:
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
    with pytest.raises(CheckpointError, match="a name with this suffix"):
        check_writable(tmp_path / "net.pth")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written \(.*file is not a folder\)"):
        save_net(tmp_path / "file" / "net.safetensors", weights, {}, {})
    with pytest.raises(CheckpointError, match="weight is not finite"):
        save_net(tmp_path / "net.safetensors", {"weight": torch.tensor([1e9])}, {}, {})
    assert not (tmp_path / "net.safetensors").exists()
