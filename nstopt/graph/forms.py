"""Layers that can be written in several equal forms.

`plain` leaves a layer as it is; the rule of each kind describes the other forms. The form that a layer takes where
nothing was measured is the backend's (engines/backend.py, `Backend.forms`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import onnx

from nstopt.graph import examples
from nstopt.graph.rule import PLAIN, Layer
from nstopt.graph.rules import (
    few_channel_norm,
    few_inputs,
    few_outputs,
    merge_separable,
    strided_reflection,
    subpixel_conv,
    transposed_conv,
    upsample_conv,
    winograd,
)


class Choice(NamedTuple):
    """The forms of one kind of layer, and a function that makes a small graph of one layer's shape to time them on.
    Forms for FP32 only add between their parts what INT8 would round, and FP16 too coarsely."""

    forms: tuple[str, ...]
    example: Callable[[tuple[int, ...]], onnx.ModelProto]
    is_fp32_only: bool = False


CHOICES: dict[str, Choice] = {
    upsample_conv.KIND: Choice((PLAIN, *upsample_conv.FORMS), examples.upsample_conv),
    merge_separable.KIND: Choice((PLAIN, "dense"), examples.separable_doubling),
    upsample_conv.GROUPED: Choice((PLAIN, *upsample_conv.FORMS), examples.upsample_grouped),
    transposed_conv.KIND: Choice((PLAIN, "phase"), examples.transposed_conv),
    subpixel_conv.KIND: Choice((PLAIN, "transposed"), examples.subpixel_conv),
    few_outputs.KIND: Choice((PLAIN, "phase", "split"), examples.few_outputs),
    few_inputs.KIND: Choice((PLAIN, "phase"), examples.few_inputs),
    strided_reflection.KIND: Choice((PLAIN, "corrected"), examples.strided_reflection, is_fp32_only=True),
    winograd.KIND: Choice((PLAIN, "winograd"), examples.wide_conv, is_fp32_only=True),
    few_channel_norm.KIND: Choice((PLAIN, "means"), examples.few_channel_norm),
}


def choose_by_kind(forms: Mapping[str, str]) -> Callable[[Layer], str]:
    """Return the chooser that gives every layer of a kind the same form: that of `forms`, or else plain."""
    return lambda layer: forms.get(layer.kind, PLAIN)
