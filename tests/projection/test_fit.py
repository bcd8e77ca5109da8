"""Fits of efficiencies to made-up measurements with known efficiencies."""

from __future__ import annotations

import numpy as np
import pytest

from nstopt.errors import BuildError
from nstopt.projection.fit import Observation, fit, predict
from nstopt.projection.kernels import KINDS, MOVING, MULTIPLYING, NARROWLY, NORMS, TRANSPOSED

TRUE = {MULTIPLYING: 0.9, NARROWLY: 0.3, TRANSPOSED: 0.6, NORMS: 0.4, MOVING: 0.7}


def observations(noise: float = 0.0) -> list[Observation]:
    """Make up five nets at three sizes, measured on a device with the efficiencies TRUE."""
    random = np.random.default_rng(3)
    found = []
    for net in "abcde":
        mix = random.uniform(0.1, 1, len(KINDS))
        for scale in (1, 4, 10):
            floors = dict(zip(KINDS, scale * mix, strict=True))
            ms = sum(floors[kind] / TRUE[kind] for kind in KINDS) * random.lognormal(0, noise)
            found.append(Observation(net, floors, ms))
    return found


def test_a_fit_predicts_unseen_nets() -> None:
    fitted = fit(observations())
    assert fitted.error < 0.05
    unseen = Observation("z", dict.fromkeys(KINDS, 2.0), 0.0)
    assert predict(unseen, fitted.efficiency) == pytest.approx(sum(2 / one for one in TRUE.values()), rel=0.06)


def test_the_error_of_a_fit_is_that_of_nets_left_out() -> None:
    assert fit(observations(noise=0.1)).error > fit(observations()).error


def test_one_net_is_not_enough_for_a_fit() -> None:
    with pytest.raises(BuildError, match="bench two or more in one run"):
        fit([one for one in observations() if one.net == "a"])
