"""Weights → int8, so that the error of the layer's output is least, not that of each weight.

Rounding one weight to the nearest integer leaves an error that other weights of the same output can take back, as far
as their inputs go together. GPTQ (Frantar et al. 2022, arXiv:2210.17323) does so in one pass over the inputs: round
the weights of one input, spread what that did to the output over the inputs still to come, by the covariance of
the inputs over calibration pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from nstopt.calib.ranges import SIGNED_LEVELS

Array = NDArray[Any]
# Patches taken of each picture: 6,000 in all, five times as many as a 3x3x128 layer has inputs.
PATCHES = 256
# Inputs whose errors are spread over all later ones at once; a matter of speed alone.
BLOCK = 64
# Of the mean variance, added to each input: keeps inputs that never vary from taking all error.
DAMPING = 1e-3


class Patches:
    """Second moments of what a convolution's kernel sees: [K, K] with K = channels * height * width of the kernel.

    Patches are taken at random places of each picture, of what is there before any padding. With `centered`, each
    picture's mean is taken off first: where an instance norm follows, it removes a constant.
    """

    def __init__(self, kernel: tuple[int, int], centered: bool, seed: int = 0) -> None:
        self._kernel, self._centered = kernel, centered
        self._random = np.random.default_rng(seed)
        self._sum: Array | None = None
        self._count = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """See values [N, C, H, W]; what is smaller than the kernel has no patch."""
        if values.shape[2] < self._kernel[0] or values.shape[3] < self._kernel[1]:
            return
        windows = sliding_window_view(values, self._kernel, axis=(2, 3))
        n, _, rows, columns = windows.shape[:4]
        picture, y, x = (self._random.integers(0, stop, PATCHES) for stop in (n, rows, columns))
        patches = np.ascontiguousarray(windows[picture, :, y, x]).reshape(PATCHES, -1)
        if self._centered:
            patches = patches - patches.mean(axis=0)
        patches = patches.astype(np.float64)
        moments = patches.T @ patches
        self._sum = moments if self._sum is None else self._sum + moments
        self._count += PATCHES

    @property
    def moments(self) -> NDArray[np.float64] | None:
        """[K, K], or None if no patch was seen."""
        return None if self._sum is None else self._sum / self._count


def taps(node: onnx.NodeProto, weight: Array) -> list[tuple[slice, slice]]:
    """The parts of a kernel [.., .., height, width] that are multiplied together for one output.

    A convolution has one. A transposed one of stride s has s * s: outputs s apart see the same taps.
    """
    if node.op_type == "Conv":
        return [(slice(None), slice(None))]
    strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1, 1])
    height, width = weight.shape[2:]
    return [
        (slice(a, None, strides[0]), slice(b, None, strides[1]))
        for a in range(min(strides[0], height))
        for b in range(min(strides[1], width))
    ]


def kernel_seen(node: onnx.NodeProto, weight: Array) -> tuple[int, int]:
    """Height and width of the largest patch of the input that one output is made of."""
    height, width = weight[(..., *taps(node, weight)[0])].shape[2:]
    return height, width


def nearest(weight: Array, scale: Array) -> NDArray[np.int8]:
    """Each weight / scale, rounded. `scale` broadcasts to `weight`."""
    return np.clip(np.rint(weight / scale), -SIGNED_LEVELS, SIGNED_LEVELS).astype(np.int8)


def gptq(weight: Array, scale: Array, moments: Array) -> NDArray[np.int8]:
    """Integers of a matrix `weight` [outputs, K], a `scale` [outputs] each, for inputs of second `moments` [K, K]."""
    order = np.argsort(-moments.diagonal(), kind="stable")  # the strongest first, while all others can still answer
    upper = _root_of_inverse(moments[np.ix_(order, order)])
    left = weight.T[order].astype(np.float64)  # [K, outputs]: a row an input
    integers = np.empty(left.shape, np.int8)
    for start in range(0, len(left), BLOCK):
        stop = min(start + BLOCK, len(left))
        errors = np.empty((stop - start, left.shape[1]))
        for i in range(start, stop):
            integers[i] = nearest(left[i], scale)
            errors[i - start] = (left[i] - integers[i] * scale) / upper[i, i]
            left[i + 1 : stop] -= np.outer(upper[i, i + 1 : stop], errors[i - start])
        left[stop:] -= upper[start:stop, stop:].T @ errors
    result = np.empty_like(integers)
    result[order] = integers
    return result.T


def _root_of_inverse(moments: Array) -> Array:
    """Upper triangular U with U' U the inverse of the damped moments. Inputs that go together almost exactly leave them
    short of positive definite by what float has rounded; then they are damped more.

    Turned about, the moments have the root L L'; turned back, R R' with R upper triangular. Then U is R's inverse.
    """
    damping = max(float(moments.diagonal().mean()) * DAMPING, 1e-12)
    while True:
        try:
            turned = np.linalg.cholesky(_with_diagonal(moments[::-1, ::-1], damping))
        except np.linalg.LinAlgError:
            damping *= 10
            continue
        root: Array = dtrtri(turned[::-1, ::-1])[0]
        return root


def _with_diagonal(moments: Array, more: float) -> Array:
    """A copy of `moments` with a number added to its diagonal; identity matrices would be ten more megabytes each."""
    result = moments.copy()
    result.flat[:: len(moments) + 1] += more
    return result


def gptq_convolution(
    node: onnx.NodeProto, weight: Array, scale: Array, moments: Array | None, noise: float
) -> NDArray[np.int8]:
    """Integers of a convolution's `weight`, [out, in, H, W] or, if transposed, [in, out, H, W], with feedback.

    `scale` broadcasts to it, one number an output channel. `moments` are those of its patches, [K, K] with K over input
    channel, height, width; without them, each weight goes to the nearest integer. `noise`
    is the variance that quantizing adds to each input.
    """
    if moments is None:
        return nearest(weight, scale)
    is_transposed = node.op_type == "ConvTranspose"
    rows = np.moveaxis(weight, 1, 0)[..., ::-1, ::-1] if is_transposed else weight
    integers = np.empty(rows.shape, np.int8)
    places = np.arange(len(moments)).reshape(-1, *kernel_seen(node, weight))
    noisy = _with_diagonal(moments, noise)
    for part in taps(node, weight):
        taken = rows[(..., *part)]
        index = places[:, : taken.shape[2], : taken.shape[3]].ravel()
        found = gptq(taken.reshape(len(taken), -1), scale.ravel(), noisy[np.ix_(index, index)])
        integers[(..., *part)] = found.reshape(taken.shape)
    return np.ascontiguousarray(np.moveaxis(integers[..., ::-1, ::-1], 0, 1) if is_transposed else integers)
