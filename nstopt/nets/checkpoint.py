"""Read checkpoints: .pth/.pt/.pkl and the like, .safetensors, .npz, and folders with a manifest.json.

No file can run code: torch.load unpickles only tensors and plain containers, and numpy loads no objects.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nstopt.errors import CheckpointError, first_line
from nstopt.files import MAX_JSON_BYTES, check_regular, decode_json, read_regular, sha256_file

MANIFEST = "manifest.json"
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
DDP_PREFIX = "module."
# Far above those of any style net.
MAX_TENSORS, MAX_DIMS, MAX_NUMBERS = 10_000, 8, 1 << 30
MAX_WRAPPERS = 4
REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)")


class ManifestEntry(msgspec.Struct, frozen=True):
    """One tensor of a folder: a file of raw little-endian float32 numbers, and its shape."""

    filename: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]], msgspec.Meta(max_length=MAX_DIMS)]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, on the CPU; floating-point tensors are converted to float32.

    Unwraps a state dict nested under `state_dict`, `model_state_dict`, `model` or `net`, removes the prefix `module.`
    of DistributedDataParallel, and drops entries that are not tensors. Raises CheckpointError, with a one-line message,
    if the file is missing, damaged, or holds no finite, plain tensors.
    """
    check_exists(path)
    if path.is_dir():
        content: object = _read_folder(path)
    elif path.suffix == ".safetensors":
        content = _read_safetensors(path)
    elif path.suffix == ".npz":
        content = _read_npz(path)
    else:
        content = _read_torch(path)
    state = _strip_prefix(_unwrap(content, path))
    if len(state) > MAX_TENSORS:
        raise CheckpointError(f"{path} holds {len(state)} tensors; no style net has more than {MAX_TENSORS}")
    return {name: _as_float32(name, tensor, path) for name, tensor in state.items()}


def source_sha256(path: Path) -> str:
    """Return the SHA-256 of a checkpoint file as 64 hex digits.

    For a folder, it is that of a list: the digests of the manifest and of the files it names, sorted by name. Raises
    CheckpointError if the file or folder cannot be read.
    """
    check_exists(path)
    try:
        if path.is_file():
            return sha256_file(path)
        names = [MANIFEST, *sorted({entry.filename for entry in _read_manifest(path).values()})]
        lines = [f"{sha256_file(_inside(path, name))}  {name}\n" for name in names]
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_exists(path: Path) -> None:
    """Raise CheckpointError if `path` does not exist, or is neither a folder nor a file with content."""
    if not os.path.lexists(path):
        raise CheckpointError(f"there is no checkpoint at {path}")
    try:
        if path.is_dir():
            return
        check_regular(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty (0 bytes): download or save it again")


def zip_members(path: Path) -> list[str]:
    """List the names in a ZIP archive without their top folder, which torch's archives have; [] if it is no archive."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.partition("/")[2] for name in archive.namelist()]
    except Exception:  # zipfile raises several built-in errors for parts of the format that it does not know
        return []


def is_torchscript(path: Path) -> bool:
    """Return True if `path` is a TorchScript archive, which is a program, not a state dict."""
    members = zip_members(path)
    return "constants.pkl" in members and any(name.startswith("code/") for name in members)


def is_exported_program(path: Path) -> bool:
    """Return True if `path` is an archive written by torch.export.save (.pt2)."""
    return "archive_format" in zip_members(path)


def _read_torch(path: Path) -> object:
    if is_torchscript(path) or is_exported_program(path):
        raise CheckpointError(
            f"{path} is a TorchScript or torch.export program, not a state dict: it is a net by itself"
        )
    try:
        with warnings.catch_warnings():
            # torch warns of pickle protocols above 2. Files that it cannot read for that reason fail below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged pickle, the unpickler can raise anything
        refused = REFUSED_GLOBAL.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused:
            raise CheckpointError(
                f"{path} needs the Python object {refused.group(1)}, and nstopt never unpickles code: "
                "save only the weights, torch.save(net.state_dict(), FILE), in the program that made the file"
            ) from error
        raise _damaged(path, "PyTorch checkpoint", error) from error


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path, device="cpu")
    except Exception as error:  # its reader and torch each raise their own errors
        raise _damaged(path, "safetensors file", error) from error


def _read_npz(path: Path) -> object:
    try:
        with zipfile.ZipFile(path) as archive:  # numpy would also accept a single .npy, or a pickle, under this name
            if sum(member.file_size for member in archive.infolist()) > 8 * MAX_NUMBERS:
                raise ValueError("it unpacks to more than any style net")
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        return {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind in "fiu"}
    except Exception as error:  # zipfile, zlib and numpy each raise their own errors on damaged files
        raise _damaged(path, ".npz archive", error) from error


def _read_folder(folder: Path) -> object:
    return {name: _read_raw(folder, entry) for name, entry in _read_manifest(folder).items()}


def _read_manifest(folder: Path) -> dict[str, ManifestEntry]:
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is a folder without {MANIFEST}: pass a checkpoint file, or a folder that has one"
        )
    try:
        return decode_json(read_regular(path, MAX_JSON_BYTES), dict[str, ManifestEntry])
    except (ValueError, OSError) as error:
        raise _damaged(path, "manifest (name to filename and shape)", error) from error


def _read_raw(folder: Path, entry: ManifestEntry) -> Tensor:
    path = _inside(folder, entry.filename)
    needed, found = 4 * math.prod(entry.shape), path.stat().st_size if path.is_file() else None
    if found != needed:
        has = "does not exist" if found is None else f"has {found} bytes"
        raise CheckpointError(f"{path} {has}; its shape {entry.shape} in {MANIFEST} needs {needed} bytes of float32")
    try:
        values = np.fromfile(path, dtype="<f4").astype(np.float32)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return torch.from_numpy(values.reshape(entry.shape))


def _inside(folder: Path, name: str) -> Path:
    """Return the path of `name` in `folder`. Raises CheckpointError if an untrusted manifest points outside."""
    path = folder / name
    try:
        is_inside = "\0" not in name and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError up to Python 3.12
        raise CheckpointError(f"{folder / MANIFEST} names {name!r}: {first_line(error)}") from error
    if not is_inside:
        raise CheckpointError(f"{folder / MANIFEST} names {name!r}, which is outside the folder")
    return path


def _damaged(path: Path, kind: str, error: Exception) -> CheckpointError:
    reason = first_line(error).split(". ")[0]  # torch's messages continue with guesses about the cause
    return CheckpointError(
        f"cannot read {path}: truncated, damaged, or no {kind} ({path.stat().st_size} bytes; {reason})"
    )


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    for _ in range(MAX_WRAPPERS):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict (names to tensors)")
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{path} holds no tensors; its entries are: {', '.join(map(str, content)) or 'none'}")
    return state


def _strip_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if not all(name.startswith(DDP_PREFIX) for name in state):
        return state
    return {name.removeprefix(DDP_PREFIX): tensor for name, tensor in state.items()}


def _as_float32(name: str, tensor: Tensor, path: Path) -> Tensor:
    if not _is_plain(tensor):
        raise CheckpointError(f"{path}: {name} is quantized, sparse, nested or complex; save plain float tensors")
    if tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name} {list(tensor.shape)} has no numbers of its own; save plain tensors")
    if tensor.ndim > MAX_DIMS or tensor.numel() > MAX_NUMBERS:
        raise CheckpointError(f"{path}: {name} {list(tensor.shape)} is larger than any style net's")
    tensor = tensor.detach()
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.to(torch.float32)
    if bad := int((~torch.isfinite(tensor)).sum()):
        raise CheckpointError(
            f"{path}: {bad} of {tensor.numel()} numbers of {name} are NaN or infinite: the training diverged"
        )
    return tensor


def _is_plain(tensor: Tensor) -> bool:
    special = tensor.is_quantized or tensor.is_complex() or tensor.is_nested
    return not special and tensor.layout == torch.strided
