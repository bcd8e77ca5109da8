"""What all tests share: the developers' material, where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real nets, photographs and clips. Skips where the folder is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("NSTOPT_SHARED", default))
    if not (folder / "nets").is_dir():
        pytest.skip(f"needs the shared material: no nets/ in {folder} (set NSTOPT_SHARED)")
    return folder
