"""Weights → int8 with a small error of the layer's output, rather than of each weight.

Rounding one weight to the nearest integer leaves an error that other weights of the same output can compensate, as far
as their inputs are correlated. GPTQ (Frantar et al. 2022, arXiv:2210.17323) does so in one pass over the inputs: it
rounds the weights of one input and spreads their error over the inputs still to come, by the second moments of the
inputs over calibration pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from nstopt.calib.ranges import SIGNED_LEVELS
from nstopt.graph.nodes import attribute

Array = NDArray[Any]
# Patches per picture: 6,000 over 24 pictures, five times as many as a 3x3x128 layer has inputs.
PATCHES = 256
# Inputs whose errors are spread over all later ones at once. It affects speed only.
BLOCK = 64
# Share of the mean second moment that is added to each input: keeps inputs that never vary from taking all error.
DAMPING = 1e-3


class PatchMoments:
    """Second moments of the input patches that a convolution's kernel multiplies: [K, K] with K = channels * height *
    width of the kernel.

    Patches are sampled at random places of each picture, before any padding. With `centered`, the mean patch of each
    picture is subtracted first: an instance norm behind the convolution removes constants.
    """

    def __init__(self, kernel: tuple[int, int], centered: bool, seed: int = 0) -> None:
        self._kernel, self._centered = kernel, centered
        self._random = np.random.default_rng(seed)
        self._sum: Array | None = None
        self._count = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Sample patches of values [N, C, H, W]. An input smaller than the kernel has none."""
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
        """The moments [K, K], or None if there was no patch."""
        return None if self._sum is None else self._sum / self._count


def kernel_phases(node: onnx.NodeProto, weight: Array) -> list[tuple[slice, slice]]:
    """Return the parts of a kernel [.., .., height, width] whose taps contribute to the same output.

    A convolution has one. A transposed convolution of stride s has s * s: outputs s apart use the same taps.
    """
    if node.op_type == "Conv":
        return [(slice(None), slice(None))]
    strides = attribute(node, "strides", [1, 1])
    height, width = weight.shape[2:]
    return [
        (slice(a, None, strides[0]), slice(b, None, strides[1]))
        for a in range(min(strides[0], height))
        for b in range(min(strides[1], width))
    ]


def patch_size(node: onnx.NodeProto, weight: Array) -> tuple[int, int]:
    """Return the height and width of the largest input patch that contributes to one output."""
    height, width = weight[(..., *kernel_phases(node, weight)[0])].shape[2:]
    return height, width


def nearest(weight: Array, scale: Array) -> NDArray[np.int8]:
    """Round each weight / scale to the nearest integer in -127..127. `scale` broadcasts to `weight`."""
    return np.clip(np.rint(weight / scale), -SIGNED_LEVELS, SIGNED_LEVELS).astype(np.int8)


def gptq(weight: Array, scale: Array, moments: Array) -> NDArray[np.int8]:
    """Round a matrix `weight` [outputs, K] by GPTQ, with `scale` [outputs] and second `moments` [K, K] of the inputs.

    Returns integers [outputs, K] in -127..127.
    """
    order = np.argsort(-moments.diagonal(), kind="stable")  # the strongest first: all others can still compensate
    upper = _inverse_cholesky(moments[np.ix_(order, order)])
    left = weight.T[order].astype(np.float64)  # [K, outputs]: one row per input
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


def _inverse_cholesky(moments: Array) -> Array:
    """Return the upper triangular U with U' U = inverse of the damped moments.

    Rounding errors can make the moments of strongly correlated inputs not positive definite; the damping is then
    raised until they are. With rows and columns reversed, the moments factor into L L'. Reversed back, that is R R'
    with R upper triangular, and U is the inverse of R.
    """
    damping = max(float(moments.diagonal().mean()) * DAMPING, 1e-12)
    while True:
        try:
            lower = np.linalg.cholesky(_add_to_diagonal(moments[::-1, ::-1], damping))
        except np.linalg.LinAlgError:
            damping *= 10
            continue
        root: Array = dtrtri(lower[::-1, ::-1])[0]
        return root


def _add_to_diagonal(moments: Array, value: float) -> Array:
    """Return a copy of `moments` with `value` added to its diagonal. An identity matrix would take ten more
    megabytes."""
    result = moments.copy()
    result.flat[:: len(moments) + 1] += value
    return result


def gptq_convolution(
    node: onnx.NodeProto, weight: Array, scale: Array, moments: Array | None, noise: float
) -> NDArray[np.int8]:
    """Round a convolution's `weight`, [out, in, H, W] or, if transposed, [in, out, H, W], by GPTQ.

    `scale` has one number per output channel and broadcasts to `weight`. `moments` are those of the input patches,
    [K, K] with K over input channel, height and width; if None, each weight is rounded to the nearest integer. `noise`
    is the variance that quantization adds to each input. Returns integers of the shape of `weight`, in -127..127.
    """
    if moments is None:
        return nearest(weight, scale)
    is_transposed = node.op_type == "ConvTranspose"
    rows = np.moveaxis(weight, 1, 0)[..., ::-1, ::-1] if is_transposed else weight
    integers = np.empty(rows.shape, np.int8)
    places = np.arange(len(moments)).reshape(-1, *patch_size(node, weight))
    noisy = _add_to_diagonal(moments, noise)
    for phase in kernel_phases(node, weight):
        part = rows[(..., *phase)]
        index = places[:, : part.shape[2], : part.shape[3]].ravel()
        rounded = gptq(part.reshape(len(part), -1), scale.ravel(), noisy[np.ix_(index, index)])
        integers[(..., *phase)] = rounded.reshape(part.shape)
    return np.ascontiguousarray(np.moveaxis(integers[..., ::-1, ::-1], 0, 1) if is_transposed else integers)
