"""Facts about the net that travel inside the ONNX file, so that a build needs no other file to know them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx

from nstopt.bundle import NetInfo
from nstopt.errors import ExportError

PREFIX = "nstopt."


class ExportInfo(msgspec.Struct, frozen=True):
    """`net` as the manifest will state it; `torchscript_sha256` of the file traced in the same export, if there is
    one."""

    net: NetInfo
    torchscript_sha256: str | None


def write_info(model: onnx.ModelProto, info: ExportInfo) -> None:
    """Store `info` in the model's metadata, in place."""
    onnx.helper.set_model_props(model, {f"{PREFIX}export": msgspec.json.encode(info).decode()})


def read_info(model: onnx.ModelProto, path: Path) -> ExportInfo | None:
    """What `write_info` stored, or None if the file was not exported by nstopt. Raises ExportError if it is damaged;
    `path` is what the message calls the model."""
    stored = {entry.key: entry.value for entry in model.metadata_props}.get(f"{PREFIX}export")
    if stored is None:
        return None
    try:
        return msgspec.json.decode(stored, type=ExportInfo)
    except msgspec.DecodeError as error:
        raise ExportError(f"{path}: what nstopt noted in it is damaged ({error}); export the net again") from error
