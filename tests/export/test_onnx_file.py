"""Reading ONNX files, valid and invalid."""

from __future__ import annotations

from pathlib import Path

import pytest

from nstopt.errors import ExportError
from nstopt.export.onnx_file import fixed_shape, read_onnx
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size

from .graphs import mixer


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x08", "truncated"])
def test_invalid_files(tiny_onnx: Path, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content if isinstance(content, bytes) else tiny_onnx.read_bytes()[:-5000])
    with pytest.raises(ExportError, match=r"bad\.onnx: not a valid ONNX file: .+$") as raised:
        read_onnx(path)
    assert "\n" not in str(raised.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no\.onnx: no such file"):
        read_onnx(tmp_path / "no.onnx")
    with pytest.raises(ExportError, match="not a valid ONNX file: Is a directory"):
        read_onnx(tmp_path)


def test_fixed_shape_of_dynamic_and_fixed_nets(tmp_path: Path) -> None:
    assert fixed_shape(mixer(), tmp_path) == InputShape.of(None, None)
    assert fixed_shape(mixer(dims=[1, 3, 21, 33]), tmp_path) == InputShape.of(1, Size(21, 33))
    assert fixed_shape(mixer(dims=[1, 3, 21, "W"]), tmp_path).sizes.is_any
