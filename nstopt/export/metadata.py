"""Facts about the net in the ONNX file's metadata, so that a build needs no other file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx

from nstopt.errors import ExportError
from nstopt.manifest import NetInfo

PREFIX = "nstopt."


class ExportInfo(msgspec.Struct, frozen=True):
    """Facts about an export.

    `net` goes into the bundle's manifest. `torchscript_sha256` is the digest of the TorchScript file of the same
    export, if one was written.
    """

    net: NetInfo
    torchscript_sha256: str | None


def write_info(model: onnx.ModelProto, info: ExportInfo) -> None:
    """Store `info` in the model's metadata, in place."""
    onnx.helper.set_model_props(model, {f"{PREFIX}export": msgspec.json.encode(info).decode()})


def read_info(model: onnx.ModelProto, path: Path) -> ExportInfo | None:
    """Read the info that `write_info` stored; None if the model was not exported by nstopt.

    Raises ExportError, naming the model `path`, if the info is damaged.
    """
    stored = {entry.key: entry.value for entry in model.metadata_props}.get(f"{PREFIX}export")
    if stored is None:
        return None
    try:
        return msgspec.json.decode(stored, type=ExportInfo)
    except msgspec.DecodeError as error:
        raise ExportError(f"{path}: nstopt's metadata in it is damaged ({error}); export the net again") from error
