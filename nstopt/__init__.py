"""nstopt makes a trained style-transfer net run in real time on the machine that you have.

    import nstopt
    engine = nstopt.load("wave-512x512-int8.nst")
    out = engine(image)            # uint8 RGB [H, W, 3] in, the same out

Public names are imported when first used: loading and running an engine needs neither torch nor onnx, and importing
nstopt changes nothing in the host program.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nstopt.engines import load
    from nstopt.engines.engine import Engine
    from nstopt.errors import NstoptError
    from nstopt.export.exporter import ExportSpec, export_net
    from nstopt.pictures.size import Size
    from nstopt.pipeline.build import build_engine
    from nstopt.pipeline.spec import BuildSpec

__version__ = "0.1.0"
__all__ = ["BuildSpec", "Engine", "ExportSpec", "NstoptError", "Size", "build_engine", "export_net", "load"]

_HOMES = {
    "BuildSpec": "nstopt.pipeline.spec",
    "Engine": "nstopt.engines.engine",
    "ExportSpec": "nstopt.export.exporter",
    "NstoptError": "nstopt.errors",
    "Size": "nstopt.pictures.size",
    "build_engine": "nstopt.pipeline.build",
    "export_net": "nstopt.export.exporter",
    "load": "nstopt.engines",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nstopt' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
