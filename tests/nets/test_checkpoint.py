"""Checkpoint files: every format and wrapping gives the same tensors; every bad file gives a one-line error."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nstopt.errors import CheckpointError
from nstopt.nets import load_net
from nstopt.nets.checkpoint import read_state_dict, source_sha256

from . import layouts
from .layouts import State

STATE: State = {"a.weight": torch.arange(6.0).reshape(2, 3) / 4, "b": torch.tensor([1.5, -2.0])}


def save_folder(folder: Path, state: State = STATE) -> Path:
    """Write the manifest format: one raw little-endian float32 file per tensor."""
    folder.mkdir(exist_ok=True)
    manifest = {}
    for name, tensor in state.items():
        (folder / name).write_bytes(tensor.numpy().astype("<f4").tobytes())
        manifest[name] = {"filename": name, "shape": list(tensor.shape)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def save_npz(path: Path) -> Path:
    np.savez(path, **{name: tensor.numpy() for name, tensor in STATE.items()})  # type: ignore[arg-type]
    return path


def save_torch(path: Path, content: object, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def save_safetensors(path: Path) -> Path:
    save_file(STATE, path)
    return path


def wrapped(key: str) -> dict[str, object]:
    return {"epoch": 3, key: STATE, "optimizer": {"state": {0: torch.zeros(3)}}}


@pytest.mark.parametrize(
    "save",
    [
        lambda folder: save_torch(folder / "net.pth", STATE),
        lambda folder: save_torch(folder / "net.pt", STATE, zipped=False),
        lambda folder: save_torch(folder / "net.model", STATE | {"epoch": 3, "name": "style"}),
        lambda folder: save_torch(folder / "net.pth", wrapped("state_dict")),
        lambda folder: save_torch(folder / "net.pth", wrapped("model_state_dict")),
        lambda folder: save_torch(folder / "net.pth", wrapped("model")),
        lambda folder: save_torch(folder / "net.pth", {"net": wrapped("state_dict")}),
        lambda folder: save_torch(folder / "net.pth", {f"module.{name}": t for name, t in STATE.items()}),
        lambda folder: save_torch(folder / "net.pth", {name: t.half() for name, t in STATE.items()}),
        lambda folder: save_torch(folder / "net.pth", {name: t.bfloat16() for name, t in STATE.items()}),
        lambda folder: save_torch(folder / "net.pth", {name: nn.Parameter(t.double()) for name, t in STATE.items()}),
        lambda folder: save_safetensors(folder / "net.safetensors"),
        lambda folder: save_npz(folder / "net.npz"),
        lambda folder: save_folder(folder / "net"),
    ],
)
def test_formats_and_wrappings(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    state = read_state_dict(save(tmp_path))
    assert list(state) == list(STATE)
    for name, tensor in state.items():
        assert tensor.dtype == torch.float32
        assert not tensor.requires_grad
        torch.testing.assert_close(tensor, STATE[name], rtol=0, atol=0)


def test_integers_stay_integers(tmp_path: Path) -> None:
    state = read_state_dict(save_torch(tmp_path / "net.pth", {"count": torch.tensor(7)}))
    assert state["count"].dtype == torch.int64


class Harmful:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo harmful",)


def damaged(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def with_number(number: float) -> State:
    return {"x": torch.tensor([1.0, number, number])}


BAD: list[tuple[Callable[[Path], Path], str]] = [
    (lambda f: f / "net.pth", "there is no checkpoint at .*net.pth"),
    (lambda f: f, "is a folder without manifest.json"),
    (lambda f: written(f / "net.pth", b""), r"is empty \(0 bytes\)"),
    (lambda f: damaged(save_torch(f / "net.pth", STATE), 0.5), "truncated, damaged, or no PyTorch checkpoint"),
    (lambda f: damaged(save_torch(f / "net.pth", STATE, zipped=False), 0.5), "truncated, damaged, or no PyTorch"),
    (lambda f: damaged(save_npz(f / "net.npz"), 0.5), "truncated, damaged, or no .npz archive"),
    (lambda f: damaged(save_safetensors(f / "net.safetensors"), 0.9), "truncated, damaged, or no safetensors file"),
    (lambda f: written(f / "net.pth", b"hello world" * 9), "truncated, damaged, or no PyTorch checkpoint"),
    (lambda f: written(f / "net.npz", b"hello world" * 9), "truncated, damaged, or no .npz archive"),
    (lambda f: written(f / "net.pkl", pickle.dumps([1])), "truncated, damaged, or no PyTorch checkpoint"),
    (lambda f: save_torch(f / "net.pth", nn.Conv2d(1, 1, 1)), "needs the Python object torch.nn.*never unpickles code"),
    (lambda f: save_torch(f / "net.pth", {"a": Harmful()}), r"object (posix|nt)\.system, and nstopt never unpickles"),
    (lambda f: save_torch(f / "net.pth", {"a": Harmful()}, zipped=False), r"object (posix|nt)\.system, .*save only"),
    (lambda f: save_torch(f / "net.pth", [torch.zeros(3)]), "holds a list, not a state dict"),
    (lambda f: save_torch(f / "net.pth", torch.zeros(3)), "holds a Tensor, not a state dict"),
    (lambda f: save_torch(f / "net.pth", {"epoch": 3, "loss": 0.5}), "holds no tensors; its entries are: epoch, loss"),
    (lambda f: save_torch(f / "net.pth", {}), "holds no tensors; its entries are: none"),
    (lambda f: save_torch(f / "net.pth", with_number(float("nan"))), "2 of 3 numbers of x are NaN or infinite"),
    (lambda f: save_torch(f / "net.pth", with_number(float("inf"))), "2 of 3 numbers of x are NaN or infinite"),
    (lambda f: save_torch(f / "net.pth", {"x": torch.eye(2).to_sparse()}), "x is quantized, sparse, nested or complex"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_files(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_net(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link", "a\0b"])
def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(4))
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "manifest.json").write_text(json.dumps({"x": {"filename": name, "shape": [1]}}))
    for read in (read_state_dict, source_sha256):
        with pytest.raises(CheckpointError, match="is outside the folder"):
            read(folder)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "truncated, damaged, or no manifest"),
        ('{"x": {"filename": "x"}}', "truncated, damaged, or no manifest.*shape"),
        ('{"x": {"filename": "x", "shape": [-1]}}', "truncated, damaged, or no manifest"),
        ('{"x": {"filename": "y", "shape": [2]}}', r"y does not exist; its shape \[2\] .* needs 8 bytes"),
        ('{"x": {"filename": "x", "shape": [2, 2]}}', r"x has 8 bytes; its shape \[2, 2\] .* needs 16 bytes"),
    ],
)
def test_bad_manifests(tmp_path: Path, manifest: str, message: str) -> None:
    (tmp_path / "x").write_bytes(bytes(8))
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path)


def test_hash_of_a_folder_covers_every_named_file(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "net")
    before = source_sha256(folder)
    (folder / "unrelated.txt").write_text("not named by the manifest")
    assert source_sha256(folder) == before
    (folder / "b").write_bytes(bytes(8))
    assert source_sha256(folder) != before


def test_fast_style_from_a_folder(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "net", layouts.fast_style())
    net = load_net(folder)
    assert net.family == "fast-style"
    assert net.source_sha256 == source_sha256(folder)


def test_wrapped_johnson_in_half_precision(tmp_path: Path) -> None:
    state = {f"module.{name}": tensor.half() for name, tensor in layouts.johnson().items()}
    net = load_net(save_torch(tmp_path / "misleading_reconet_name.pt", {"state_dict": state}))
    assert net.family == "johnson"
    assert all(parameter.dtype == torch.float32 for parameter in net.module.parameters())
