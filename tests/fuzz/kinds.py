"""The kinds of input: a sound example of each, how it is changed, and the door that it goes through."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import onnx
import torch
from conftest import noise, write_video
from made import build_inverter, inverter, record_of, run_of
from nets import layouts
from PIL import Image
from safetensors.torch import save_file

from nstopt import engines
from nstopt.bundle import MANIFEST, open_bundle
from nstopt.cli.console import console
from nstopt.cli.render.bundle import bundle_rows
from nstopt.cli.render.table import pairs
from nstopt.manifest import InputShape
from nstopt.nets import Convention, load_net
from nstopt.pictures.files import read_picture
from nstopt.pictures.size import Size, Sizes
from nstopt.pictures.video import frames
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec
from nstopt.report import tables
from nstopt.runs.run_file import read_run

from .mutations import mutate_bytes, mutate_json, mutate_zip

SMALL = Size(48, 64)


@dataclass(frozen=True)
class Kind:
    """`make` writes a sound example into a folder and returns the file to change; `enter` opens the changed example by
    that file; `before` mends what must fit the change, such as hashes; `warm` imports what each child would import."""

    make: Callable[[Path], Path]
    enter: Callable[[Path], object]
    mutate: Callable[[bytes, Random], bytes] = mutate_bytes
    before: Callable[[Path], object] = lambda path: None
    warm: Callable[[], object] = lambda: None


def _state() -> dict[str, torch.Tensor]:
    return layouts.johnson(blocks=1)


def _torch(folder: Path) -> Path:
    torch.save(_state(), folder / "net.pth")
    return folder / "net.pth"


def _safetensors(folder: Path) -> Path:
    save_file(_state(), folder / "net.safetensors")
    return folder / "net.safetensors"


def _npz(folder: Path) -> Path:
    np.savez(folder / "net.npz", **{name: tensor.numpy() for name, tensor in _state().items()})  # type: ignore[arg-type]
    return folder / "net.npz"


def _folder(folder: Path) -> Path:
    manifest = {}
    for name, tensor in _state().items():
        (folder / name).write_bytes(tensor.numpy().tobytes())
        manifest[name] = {"filename": name, "shape": list(tensor.shape)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder / MANIFEST


def _onnx(folder: Path) -> Path:
    onnx.save(inverter(InputShape.of(None, None)), folder / "net.onnx")
    return folder / "net.onnx"


def _onnx_to_build(folder: Path) -> Path:
    (folder / "val").mkdir()
    Image.fromarray(noise(*SMALL)).save(folder / "val" / "a.png")
    return _onnx(folder)


def _build(path: Path) -> None:
    build_engine(BuildSpec(path, path.parent, sizes=Sizes(SMALL), val=path.parent / "val"))


class TinyNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        convolved: torch.Tensor = self.conv(image)
        return convolved.sigmoid()


def _torchscript(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(TinyNet()).save(folder / "net.ts")
    return folder / "net.ts"


def _exported(folder: Path) -> Path:
    torch.export.save(torch.export.export(TinyNet(), (torch.zeros(1, 3, 64, 64),)), folder / "net.pt2")
    return folder / "net.pt2"


def _export_and_load() -> None:
    file = io.BytesIO()
    torch.export.save(torch.export.export(TinyNet(), (torch.zeros(1, 3, 64, 64),)), file)
    torch.export.load(io.BytesIO(file.getvalue())).module()


def _run_program(path: Path) -> None:
    net = load_net(path, convention=Convention())
    with torch.inference_mode():
        net.module(torch.zeros(1, 3, 64, 64))


def _bundle(folder: Path) -> Path:
    return build_inverter(folder, "net", InputShape.of(1, SMALL)) / MANIFEST


def _onnx_bundle(folder: Path) -> Path:
    path = build_inverter(folder, "net", InputShape.of(1, SMALL))
    for file in path.iterdir():
        if file.name != MANIFEST:
            file.unlink()
    onnx.save(inverter(InputShape.of(1, SMALL)), path / "model.onnx")
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["backend"]["name"] = "onnxruntime"
    manifest["files"] = {"model.onnx": ""}
    (path / MANIFEST).write_text(json.dumps(manifest))
    return path / "model.onnx"


def _sign_files(path: Path) -> None:
    """Write the hashes of all files into the manifest, and its own."""
    manifest = json.loads((path.parent / MANIFEST).read_bytes())
    manifest["files"] = {name: _hash(path.parent / name) for name in manifest["files"]}
    (path.parent / MANIFEST).write_text(json.dumps(manifest))
    _sign(path.parent / MANIFEST)


def _sign(path: Path) -> None:
    path.with_name(f"{MANIFEST}.sha256").write_text(f"{_hash(path)}  {MANIFEST}\n")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run_bundle(path: Path) -> None:
    bundle = open_bundle(path.parent)
    console.print(pairs(bundle_rows(bundle)))
    engines.require_as_stated(bundle)
    with engines.load(path.parent) as engine:
        engine(np.zeros((engine.shape.batch or 1, *engine.shape.sizes.first, 3), np.uint8))


def _picture(suffix: str, **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "a description"
        Image.fromarray(rgb).save(folder / f"a{suffix}", exif=exif, **options)  # type: ignore[arg-type]
        return folder / f"a{suffix}"

    return make


def _clip(folder: Path) -> Path:
    return write_video(folder / "a.mkv", [noise(32, 48, seed) for seed in range(4)])


def _run(folder: Path) -> Path:
    (folder / "run.json").write_bytes(msgspec.json.encode(run_of(record_of())))
    return folder / "run.json"


def _tables(path: Path) -> None:
    read = [read_run(path)]
    tables.to_csv(read)
    tables.to_markdown(read)


KINDS = {
    "torch": Kind(_torch, load_net),
    "safetensors": Kind(_safetensors, load_net),
    "npz": Kind(_npz, load_net),
    "folder": Kind(_folder, lambda path: load_net(path.parent), mutate_json),
    "torchscript": Kind(_torchscript, _run_program, mutate_zip),
    "pt2": Kind(_exported, _run_program, mutate_zip, warm=_export_and_load),
    "onnx": Kind(_onnx_to_build, _build),
    "manifest": Kind(_bundle, _run_bundle, mutate_json, _sign),
    "openvino": Kind(lambda folder: _bundle(folder).with_name("model.xml"), _run_bundle, before=_sign_files),
    "onnxruntime": Kind(_onnx_bundle, _run_bundle, before=_sign_files),
    "png": Kind(_picture(".png"), read_picture),
    "jpg": Kind(_picture(".jpg"), read_picture),
    "tif": Kind(_picture(".tif", compression="tiff_lzw"), read_picture),
    "webp": Kind(_picture(".webp"), read_picture),
    "bmp": Kind(_picture(".bmp"), read_picture),
    "run": Kind(_run, _tables, mutate_json),
    "clip": Kind(_clip, lambda path: list(frames(path))),
}


def changed(kind: Kind, sound: Path, folder: Path, seed: int) -> Path:
    """Copy the example at `sound` into `folder`, with the change of that seed; return the changed file."""
    path = copied(kind, sound, folder)
    return replaced(kind, path, kind.mutate(path.read_bytes(), Random(seed)))


def copied(kind: Kind, sound: Path, folder: Path) -> Path:
    """Copy the folder that holds an example, and return the copy's file."""
    target = folder / sound.parent.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(sound.parent, target)
    return target / sound.name


def replaced(kind: Kind, path: Path, content: bytes) -> Path:
    """Write the changed file, and mend what must fit it."""
    path.write_bytes(content)
    kind.before(path)
    return path
