"""nstopt: a trained style-transfer net, made to run in real time on the machine somebody has.

    import nstopt
    engine = nstopt.load("wave-512x512-int8.nst")
    out = engine(image)            # uint8 RGB [H, W, 3] in, the same out

Names are imported when first used: loading and running an engine needs neither torch nor onnx.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nstopt.engines import load
    from nstopt.engines.base import Engine
    from nstopt.errors import NstoptError
    from nstopt.export.exporter import ExportSpec, export_net
    from nstopt.pictures.size import Size
    from nstopt.pipeline.build import build_engine
    from nstopt.pipeline.spec import BuildSpec

__version__ = "0.1.0"
__all__ = ["BuildSpec", "Engine", "ExportSpec", "NstoptError", "Size", "build_engine", "export_net", "load"]

_HOMES = {
    "BuildSpec": "nstopt.pipeline.spec",
    "Engine": "nstopt.engines.base",
    "ExportSpec": "nstopt.export.exporter",
    "NstoptError": "nstopt.errors",
    "Size": "nstopt.pictures.size",
    "build_engine": "nstopt.pipeline.build",
    "export_net": "nstopt.export.exporter",
    "load": "nstopt.engines",
}

# ONNX Runtime (from 1.31 on) and OpenVINO report their use to Microsoft and to Google Analytics, on threads that run
# beside what is measured here. What nstopt is used for is nobody's business: neither does so where it comes first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO has a stub for its absence


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nstopt' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
