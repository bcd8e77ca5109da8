"""Models and reference pictures of the GPU tests: the bundled net at three sizes and in four precisions, in TensorRT's
form, and its FP32 results. Made on a CPU, so that a GPU machine needs neither torch nor onnx:

    python tests/on_gpu/models.py FOLDER     # then copy FOLDER to the GPU machine and set NSTOPT_GPU_MODELS to it
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = ((64, 96), (128, 128), (120, 200))
PRECISIONS = ("fp32", "fp16", "int8", "int8-fp16")
# Compute capability for which the graphs are checked: the oldest.
PASCAL = (6, 1)
SEVERAL = "several.onnx"


def name(precision: str, size: Sequence[int]) -> str:
    """Return the file name of a model."""
    return f"{precision}-{size[0]}x{size[1]}.onnx"


def reference_name(size: Sequence[int]) -> str:
    """Return the name of the file with `image`, uint8 [1, H, W, 3], and the FP32 net's result for it, `expected`."""
    return f"reference-{size[0]}x{size[1]}.npz"


def types_file(model: Path) -> Path:
    """Return the path of the types in a model, a GraphInfo as JSON."""
    return model.with_suffix(".types.json")


def make(folder: Path) -> None:
    """Write all models, their types and reference pictures into `folder`."""
    import onnx

    from nstopt.export.exporter import ExportSpec, export_net
    from nstopt.graph.nodes import name_convolutions
    from nstopt.graph.specialize import specialize
    from nstopt.manifest import InputShape
    from nstopt.ort import session
    from nstopt.pictures.files import cover, demo_photographs
    from nstopt.pictures.size import Size
    from nstopt.samples import SAMPLE

    raw = onnx.load(export_net(ExportSpec(SAMPLE, folder / "sample.onnx")).onnx)
    photograph = demo_photographs()[0][1]
    for size in SIZES:
        model = specialize(raw, InputShape.of(1, Size(*size)))
        name_convolutions(model)
        image = cover(photograph, Size(*size))[None]
        expected = session(model.SerializeToString()).run(None, {"image": image})[0]
        np.savez(folder / reference_name(size), image=image, expected=expected)
        for precision in PRECISIONS:
            _write(folder / name(precision, size), _precise(model, precision, size))
    free = specialize(raw, InputShape.of(1, None))
    name_convolutions(free)
    _write(folder / SEVERAL, _rewritten(free).SerializeToString())


def _write(file: Path, model: bytes) -> None:
    import msgspec
    import onnx

    from nstopt.engines.tensorrt.graph_info import info_of
    from nstopt.engines.tensorrt.lowering import ready

    prepared = ready(model, PASCAL)
    file.write_bytes(prepared)
    types_file(file).write_bytes(msgspec.json.encode(info_of(onnx.load_from_string(prepared))))


def _rewritten(model: Any) -> Any:
    from nstopt import engines
    from nstopt.gpu.facts import architectures
    from nstopt.graph.forms import choose_by_kind
    from nstopt.graph.passes import rewrite

    return rewrite(model, choose_by_kind(engines.backend("tensorrt").forms("int8", architectures()["pascal"]))).model


def _precise(model: Any, precision: str, size: Sequence[int]) -> bytes:
    """Return the rewritten graph in `precision`; INT8 with zero points of 0, as TensorRT needs, found with ONNX
    Runtime."""
    from nstopt import engines
    from nstopt.calib import picture_sets
    from nstopt.calib.calibrate import Calibration, calibrate
    from nstopt.calib.ranges import SYMMETRIC
    from nstopt.calib.search import QualityTarget
    from nstopt.pictures.size import Size
    from nstopt.pipeline.lower import finish, to_precision
    from nstopt.precisions import is_quantized
    from nstopt.progress import Silent

    judge = engines.backend("onnxruntime")

    def render(candidate: Any, images: Sequence[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], float]:
        run = judge.compile(candidate.SerializeToString(), precision)
        return [run({"image": image[None]})[0][0] for image in images], 1.0

    calibration = Calibration(
        picture_sets.demo(), Size(*size), 1, SYMMETRIC, render, judge.identity(), QualityTarget(mean_db=38, worst_db=34)
    )
    rewritten = _rewritten(model)
    if is_quantized(precision):
        lowered = finish(calibrate(rewritten, calibration, Silent()).model, precision)
    else:
        lowered = to_precision(rewritten, precision, SYMMETRIC)
    serialized: bytes = lowered.SerializeToString()
    return serialized


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    make(target)
