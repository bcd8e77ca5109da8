"""The forms of a whole graph that TensorRT may take better than the default: which, and which are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nstopt.engines.tensorrt.requirements import has_own_norm, is_typed

# Trials of the smoke test for kinds of convolutions that can be left in floats.
CAN_BE_FLOAT = frozenset({"int8-depthwise", "int8-reflected"})
HALF_SCALES_FIRST_OPSET = 19


class Forms(NamedTuple):
    """`own_norms`: InstanceNormalization stays, from TensorRT 8.6.1 on. `half_scales`: INT8 with FP16 between has FP16
    scales, in opset 19, from 10 on. `reflects_int8`: reflections stand behind the quantizers, not before them.
    `in_floats`: kinds of INT8 convolutions (CAN_BE_FLOAT) that multiply floats."""

    own_norms: bool = False
    half_scales: bool = False
    reflects_int8: bool = False
    in_floats: frozenset[str] = frozenset()


DEFAULT = Forms()


def default_forms(version: str, avoided: frozenset[str], own_norms: bool) -> Forms:
    """Return the forms for TensorRT `version` where the trials `avoided` have failed. `own_norms` asks for these."""
    reflects_int8 = "int8-reflected" in avoided and "int8-reflected-after" not in avoided
    return Forms(
        own_norms=has_own_norm(version) and (own_norms or "norm" in avoided),
        half_scales="int8-fp16" in avoided,
        reflects_int8=reflects_int8,
        in_floats=avoided & CAN_BE_FLOAT - ({"int8-reflected"} if reflects_int8 else set()),
    )


def forms_to_time(
    version: str, avoided: frozenset[str], default: Forms, precision: str, has_norms: bool
) -> Mapping[str, Forms]:
    """Return the forms that are worth timing for a graph of `precision`, the default first; by name."""
    found = {"default": default}
    if has_norms and has_own_norm(version) and not avoided & {"norm", "own-norm"}:
        found["own norms"] = default._replace(own_norms=True)
    if precision == "int8-fp16" and is_typed(version) and not avoided & {"int8-fp16", "int8-fp16-scales"}:
        found |= {f"{name}, FP16 scales": forms._replace(half_scales=True) for name, forms in found.items()}
    return found
