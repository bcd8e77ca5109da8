"""The export's metadata in an ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nstopt.errors import ExportError
from nstopt.export.metadata import ExportInfo, read_info, write_info
from nstopt.manifest import NetInfo

from .graphs import mixer, saved

INFO = ExportInfo(NetInfo("wave", "johnson", (8, 16, 32), 5, "0" * 64), None)


@pytest.mark.parametrize("script", [None, "1" * 64])
def test_metadata_survives_the_file(tmp_path: Path, script: str | None) -> None:
    model, info = mixer(), ExportInfo(INFO.net, script)
    model.metadata_props.add(key="author", value="somebody")
    assert read_info(model, tmp_path) is None
    write_info(model, info)
    read = onnx.load(saved(model, tmp_path / "net.onnx"))
    assert read_info(read, tmp_path) == info


@pytest.mark.parametrize("value", ["", "nonsense", "[]", '{"net": {"name": "wave"}}', '{"net": 3, "torchscript": 1}'])
def test_damaged_metadata(value: str) -> None:
    model = mixer()
    onnx.helper.set_model_props(model, {"nstopt.export": value})
    with pytest.raises(ExportError, match=r"wave\.onnx: nstopt's metadata in it is damaged \(.*\); export the net"):
        read_info(model, Path("wave.onnx"))
