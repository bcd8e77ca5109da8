"""Tiny loss networks, styles and photographs of seeded noise, and tiny systems to train."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nstopt.train.johnson import Johnson, JohnsonSpec
from nstopt.train.objective import StyleSpec
from nstopt.train.process import ProcessContext

WIDTHS = (3, 4, 5, 6, 7, 8)
CPU = ProcessContext(torch.device("cpu"))


def lossnet_arrays() -> dict[str, NDArray[np.float32]]:
    """Return the five stages under the names of the Darknet file."""
    random = np.random.default_rng(1)
    arrays: dict[str, NDArray[np.float32]] = {}
    for stage, (inputs, outputs) in enumerate(pairwise(WIDTHS), start=1):
        norm = f"batch_normalization_{stage}"
        arrays[f"conv2d_{stage}.kernel"] = random.normal(0, 0.3, (3, 3, inputs, outputs)).astype(np.float32)
        arrays[f"{norm}.gamma"] = random.uniform(0.5, 1.5, outputs).astype(np.float32)
        arrays[f"{norm}.beta"] = random.normal(0, 0.1, outputs).astype(np.float32)
        arrays[f"{norm}.moving_mean"] = random.normal(0, 0.1, outputs).astype(np.float32)
        arrays[f"{norm}.moving_variance"] = random.uniform(0.5, 1.5, outputs).astype(np.float32)
    return arrays


def write_lossnet(path: Path, arrays: dict[str, NDArray[np.float32]] | None = None) -> Path:
    """Write an .npz file of the arrays, by default those of `lossnet_arrays`; an existing such file is kept."""
    if arrays is not None or not path.exists():
        with path.open("wb") as file:
            np.savez(file, **(lossnet_arrays() if arrays is None else arrays))  # type: ignore[arg-type]
    return path


def write_pictures(folder: Path, count: int = 3) -> Path:
    """Fill a folder with smooth random pictures, 40x56. Existing ones are kept: another process may read them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2)
    for index in range(count):
        small = Image.fromarray(random.integers(0, 256, (5, 7, 3), np.uint8))
        if not (folder / f"{index}.png").exists():
            small.resize((56, 40), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def style(folder: Path) -> StyleSpec:
    """Return a style whose picture is in `folder`."""
    return StyleSpec(write_pictures(folder / "style", count=1) / "0.png", style_side=40)


def johnson_spec(folder: Path, **changes: object) -> JohnsonSpec:
    """Return a spec whose files are in `folder`."""
    fields: dict[str, object] = {"steps": 12, "widths": (4, 6, 8), "blocks": 1, "crop": 32}
    fields |= {"data": write_pictures(folder / "photos"), "lossnet": write_lossnet(folder / "lossnet.npz")}
    return JohnsonSpec(style(folder), **(fields | changes))  # type: ignore[arg-type]


def johnson(folder: Path, **changes: object) -> Johnson:
    return Johnson(johnson_spec(folder, **changes), CPU)


def totals_in(run: Path) -> list[float]:
    """Return the total loss of each step from the run's losses.csv."""
    return [float(row.split(",")[1]) for row in (run / "losses.csv").read_text().splitlines()[1:]]
