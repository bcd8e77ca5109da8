"""The builder flags set on each version of TensorRT. Members are looked up by name: their numbers change.

| | 8.5, 8.6 | 10 | 11 |
|---|---|---|---|
| network | EXPLICIT_BATCH | STRONGLY_TYPED | STRONGLY_TYPED |
| FP16, INT8 graphs | flags FP16, INT8 | types of the graph | types of the graph |
| types of an FP16 graph | pinned layer by layer, OBEY_PRECISION_CONSTRAINTS | types of the graph | |
| INT8 with FP16 between | refused (requirements.py) | types of the graph | types of the graph |
| contexts sharing an optimization profile | 8.6: PROFILE_SHARING_0806; 8.5: none | always | always |
| cuDNN and cuBLAS tactics | disabled | disabled | gone |
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nstopt.gpu.facts import release_line

FLAGS_OF = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8",)}
# Tactics of other libraries, which would have to be installed too.
EXTERNAL_TACTICS = frozenset({"CUBLAS", "CUBLAS_LT", "CUDNN"})
PREVIEW = ("DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", "PROFILE_SHARING_0806")
PINNED = "OBEY_PRECISION_CONSTRAINTS"
# Profiles of each size where contexts cannot share one: two submitted requests and a call.
UNSHARED_PROFILES = 3


class Flags(NamedTuple):
    """Names of enum members. `network` goes to create_network; `enable` and `disable` go to the builder configuration.
    If `pins_types`, each layer must be pinned to the type of the graph, or the builder may choose among both."""

    network: tuple[str, ...]
    enable: tuple[str, ...]
    disable: tuple[str, ...]
    tactic_sources: tuple[str, ...]
    preview: tuple[str, ...]
    pins_types: bool


def flags_for(trt: Any, precision: str, tf32: bool = False) -> Flags:
    """Return the flags for a graph of `precision` in the TensorRT version of the module `trt`. TF32 is disabled unless
    it was asked for: it is not FP32."""
    builder, network = _names(trt.BuilderFlag), _names(trt.NetworkDefinitionCreationFlag)
    typed = "STRONGLY_TYPED" in network
    enable = () if typed else FLAGS_OF[precision]
    pins_types = not typed and precision == "fp16"
    return Flags(
        network=("STRONGLY_TYPED",) if typed else ("EXPLICIT_BATCH",),
        enable=(*enable, PINNED) if pins_types else enable,
        disable=tuple(name for name in ("TF32",) if name in builder and not tf32),
        tactic_sources=tuple(name for name in _names(trt.TacticSource) if name not in EXTERNAL_TACTICS),
        preview=tuple(name for name in PREVIEW if name in _names(trt.PreviewFeature)),
        pins_types=pins_types,
    )


def mask(enum: Any, names: tuple[str, ...]) -> int:
    """Return the bit mask of enum members, the form in which TensorRT takes sets of flags."""
    return sum(1 << int(getattr(enum, name)) for name in names)


def shares_profiles(version: str) -> bool:
    """Return True if several execution contexts may use one optimization profile at a time: TensorRT 8.6 and later."""
    return release_line(version) >= (8, 6)


def profiles_per_size(version: str) -> int:
    """Return the number of optimization profiles that a plan built by TensorRT `version` has for each of its sizes."""
    return 1 if shares_profiles(version) else UNSHARED_PROFILES


def _names(enum: Any) -> tuple[str, ...]:
    return tuple(enum.__members__)
