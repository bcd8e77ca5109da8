"""Fit efficiencies of a device to measurements of several nets on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nstopt.errors import BuildError
from nstopt.projection.kernels import KINDS

# Weight that holds each kind at the common efficiency, beside a weight of 1 for each measurement.
PULL = 0.05
# How many times better than the common efficiency a kind may come out.
MOST = 20.0


class Observation(NamedTuple):
    """Measured milliseconds of a net, without launches, and its floors in milliseconds by kind."""

    net: str
    floors_ms: Mapping[str, float]
    measured_ms: float


class Fitted(NamedTuple):
    """One efficiency for each kind, and the largest relative error when each net is predicted from the others."""

    efficiency: Mapping[str, float]
    error: float


def fit(observations: Sequence[Observation]) -> Fitted:
    """Fit efficiencies by least squares of the relative error, with none negative.

    The error is that of nets that had no part in the fit (leave-one-net-out cross-validation). Raises BuildError for
    fewer than two nets, since one says nothing about another.
    """
    nets = {one.net for one in observations}
    if len(nets) < 2:
        raise BuildError("a projection for this machine is fitted to other nets: bench two or more in one run")
    errors = []
    for net in nets:
        others = _fit([one for one in observations if one.net != net])
        errors += [abs(predict(one, others) / one.measured_ms - 1) for one in observations if one.net == net]
    return Fitted(_fit(observations), max(errors))


def predict(observation: Observation, efficiency: Mapping[str, float]) -> float:
    """Predict milliseconds from floors, without launches."""
    return sum(floor / efficiency[kind] for kind, floor in observation.floors_ms.items())


def _fit(observations: Sequence[Observation]) -> dict[str, float]:
    """Non-negative least squares for 1 / efficiency of each kind.

    A weak pull holds a kind that hardly matters in these nets near the common efficiency.
    """
    from scipy.optimize import nnls  # most runs need no fit, and its import takes long

    together = float(np.median([one.measured_ms / sum(one.floors_ms.values()) for one in observations]))
    rows = [[one.floors_ms.get(kind, 0.0) / one.measured_ms for kind in KINDS] for one in observations]
    pull = PULL * np.eye(len(KINDS))
    wanted = np.concatenate([np.ones(len(rows)), np.full(len(KINDS), PULL)])
    slowness, _ = nnls(np.vstack([rows, pull / together]), wanted)
    return {kind: 1 / max(float(one), together / MOST) for kind, one in zip(KINDS, slowness, strict=True)}
