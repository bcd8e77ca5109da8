"""Engines that need no build."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nstopt.engines.engine import Engine
from nstopt.errors import BundleError
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size, Sizes


class Inverter(Engine):
    """Maps v to 255 - v - `darker`, clipped at 0. Records the shape of each call's pictures, and refuses pictures of
    the height `refused`."""

    def __init__(self, shape: InputShape, darker: int = 0, refused: int = 0) -> None:
        super().__init__(shape, "inverter")
        self.calls: list[tuple[int, ...]] = []
        self._darker, self._refused = darker, refused

    def _infer(self, images: Picture, out: Picture) -> None:
        if images.shape[1] == self._refused:
            raise BundleError(f"pictures of height {self._refused} do not fit")
        self.calls.append(images.shape)
        out[:] = np.maximum(255 - images.astype(np.int16) - self._darker, 0)


MakeEngine = Callable[..., Inverter]


@pytest.fixture
def make_engine() -> MakeEngine:
    """Makes an Inverter for a batch and sizes; None is any batch, no size is any size."""

    def make(*sizes: Size, batch: int | None = 1, darker: int = 0, refused: int = 0) -> Inverter:
        return Inverter(InputShape(batch, Sizes(*sizes)), darker, refused)

    return make
