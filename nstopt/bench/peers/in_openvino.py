"""Peers in OpenVINO as its users run them: the raw export, or what NNCF makes of it, compiled with default options.

By default OpenVINO computes an FP32 graph in BF16 where the CPU has it, and so what NNCF has left in FP32.

Functions import our OpenVINO backend before OpenVINO and NNCF, since it turns off the usage reports of both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nstopt.bench.peers.from_export import in_other_process, save_raw_onnx
from nstopt.bench.peers.peer import PeerSubject
from nstopt.bench.subject import Stylize
from nstopt.extras import require

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture

# OpenVINO's names of the types that it may choose.
PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


def from_model(write: Callable[[PeerSubject, Path], None], subject: PeerSubject) -> Stylize:
    """Compile the model file that `write` makes in another process. It reads and writes the caller's arrays in place,
    as our engines do. Raises what `write` raises."""
    from nstopt.engines.openvino import core

    # isort: split
    import openvino as ov

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        path = Path(folder) / "model.xml"
        in_other_process(write, subject, path)
        request: Any = core().compile_model(path, "CPU").create_infer_request()

    def stylize(pictures: Picture, out: Picture) -> None:
        request.set_input_tensor(ov.Tensor(pictures, shared_memory=True))
        request.set_output_tensor(ov.Tensor(out, shared_memory=True))
        request.infer()

    return stylize


def computes() -> str:
    """Return the precision in which OpenVINO computes an FP32 graph on this CPU by default."""
    from nstopt.engines.openvino import core

    return PRECISIONS[core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()]


def computes_int8() -> str:
    """Return the precision in which OpenVINO computes NNCF's graph on this CPU by default: INT8 convolutions, and
    between them what `computes` returns."""
    between = computes()
    return "int8" if between == "fp32" else f"int8-{between}"


def write_raw_model(subject: PeerSubject, path: Path) -> None:
    """Export the peer's net for its size and batch as OpenVINO's model file."""
    from nstopt.engines.openvino import core

    # isort: split
    import openvino as ov

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        save_raw_onnx(subject, Path(folder) / "raw.onnx")
        ov.save_model(core().read_model(Path(folder) / "raw.onnx"), path, compress_to_fp16=False)


def write_nncf_model(subject: PeerSubject, path: Path) -> None:
    """Quantize the raw export with NNCF's performance preset on scikit-image's photographs.

    Raises DeviceError if NNCF is not installed.
    """
    require("nncf", "a comparison with NNCF")
    from nstopt.calib.picture_sets import demo
    from nstopt.engines.openvino import core

    # isort: split
    import nncf
    import openvino as ov

    pictures = (np.repeat(picture[None], subject.batch, axis=0) for picture in demo().load(subject.size))
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        save_raw_onnx(subject, Path(folder) / "raw.onnx")
        model = core().read_model(Path(folder) / "raw.onnx")
        data = nncf.Dataset(list(pictures))
        quantized = nncf.quantize(model, data, preset=nncf.QuantizationPreset.PERFORMANCE)
        ov.save_model(quantized, path, compress_to_fp16=False)


def write_nncf_bundle(subject: PeerSubject, path: Path) -> None:
    """Quantize with NNCF into a bundle, whose engine computes in FP32 between the INT8 convolutions.

    Raises DeviceError if NNCF is not installed.
    """
    from nstopt import engines
    from nstopt.engines.backend import Source
    from nstopt.pipeline.raw import build_raw

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        model = Path(folder) / "quantized.xml"
        write_nncf_model(subject, model)
        build_raw(Source(model), engines.backend("openvino"), subject.shape, "int8", path)
