"""Run by engines/__init__.py in a process of its own: opens an engine bundle and runs it on a black picture."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from nstopt.bundle import open_bundle
from nstopt.engines import open_engine
from nstopt.errors import BundleError
from nstopt.pictures.size import Size
from nstopt.trial import on_trial

# Of the picture, where the engine takes any.
FREE = Size(64, 64)


def main(path: str, sha256: str) -> None:
    """Run the engine of the bundle at `path`, which the parent found to have this SHA-256."""
    with on_trial():
        bundle = open_bundle(Path(path))
        if bundle.sha256 != sha256:
            raise BundleError(f"{path}: was changed while it was read")
        shape = bundle.manifest.shape
        with open_engine(bundle) as engine:
            engine(np.zeros((shape.batch or 1, *(shape.sizes.only or FREE), 3), np.uint8))


if __name__ == "__main__":
    main(*sys.argv[1:])
