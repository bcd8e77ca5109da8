"""The first run of an ONNX graph: the parent's part, and what its process of its own does."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from nstopt.errors import ExportError
from nstopt.files import sha256_file
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size
from nstopt.trial import is_known, on_trial, remember, run_first

# Of the picture, where the graph takes any.
FREE = Size(64, 64)


def require_runs(model: Path, shape: InputShape) -> str:
    """Run an ONNX file once in ONNX Runtime, on zeros of `shape`, unless it is known to run. Return the error that ONNX
    Runtime gave, or "": a graph for certain sizes may fail on others.

    Raises ExportError if it crashes, takes too long, or takes all memory.
    """
    sha256 = sha256_file(model)
    if is_known(sha256):
        return ""
    size, batch = shape.sizes.only or FREE, shape.batch or 1
    megapixels = batch * math.prod(size) / 1e6
    failed = run_first(__name__, model, batch, *size, what=str(model), kind=ExportError, megapixels=megapixels)
    if not failed:
        remember(sha256)
    return failed


def main(path: str, *sizes: str) -> None:
    """Run the graph on zeros: uint8 [N, H, W, 3], or float32 [N, 3, H, W]."""
    from nstopt.ort import session

    batch, height, width = map(int, sizes)
    with on_trial():
        opened = session(Path(path))
        takes = opened.get_inputs()[0]
        is_picture = takes.type == "tensor(uint8)"
        zeros = np.zeros((batch, height, width, 3), np.uint8)
        opened.run(None, {takes.name: zeros if is_picture else np.moveaxis(zeros, 3, 1).astype(np.float32)})


if __name__ == "__main__":
    main(*sys.argv[1:])
