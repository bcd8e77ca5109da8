"""Which switches of TensorRT's builder are set, on each of its versions. Reads names only: their numbers shift.

| | 8.5, 8.6 | 10 | 11 |
|---|---|---|---|
| network | EXPLICIT_BATCH | STRONGLY_TYPED | STRONGLY_TYPED |
| FP16, INT8 graphs | flags FP16, INT8 | types of the graph | types of the graph |
| FP32 parts of an FP16 graph | pinned layer by layer, OBEY_PRECISION_CONSTRAINTS | types of the graph | |
| INT8 with FP16 between | refused (gate.py) | types of the graph | types of the graph |
| several contexts of a size | PROFILE_SHARING_0806 from 8.6 on | always | always |
| cuDNN and cuBLAS kernels | switched off | switched off | gone |
"""

from __future__ import annotations

from typing import Any, NamedTuple

FLAGS_OF = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8",)}
# Kernels of other libraries, which would have to be installed too.
FOREIGN = frozenset({"CUBLAS", "CUBLAS_LT", "CUDNN"})
PREVIEW = ("DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", "PROFILE_SHARING_0806")
PINNED = "OBEY_PRECISION_CONSTRAINTS"


class Flags(NamedTuple):
    """Names of enum members. `network` goes to create_network, `enable` and `disable` to the builder's configuration.
    `pin_fp32`: layers that compute in FP32 must be told so one by one, or FP16 may be taken for them too."""

    network: tuple[str, ...]
    enable: tuple[str, ...]
    disable: tuple[str, ...]
    tactic_sources: tuple[str, ...]
    preview: tuple[str, ...]
    pin_fp32: bool


def flags_for(trt: Any, precision: str) -> Flags:
    """For the version of TensorRT that the module `trt` is, and a graph of `precision`. TF32 is switched off: it is not
    the FP32 that was asked for."""
    builder, network = _names(trt.BuilderFlag), _names(trt.NetworkDefinitionCreationFlag)
    typed = "STRONGLY_TYPED" in network
    enable = () if typed else FLAGS_OF[precision]
    pin_fp32 = not typed and precision == "fp16"
    return Flags(
        network=("STRONGLY_TYPED",) if typed else ("EXPLICIT_BATCH",),
        enable=(*enable, PINNED) if pin_fp32 else enable,
        disable=tuple(name for name in ("TF32",) if name in builder),
        tactic_sources=tuple(name for name in _names(trt.TacticSource) if name not in FOREIGN),
        preview=tuple(name for name in PREVIEW if name in _names(trt.PreviewFeature)),
        pin_fp32=pin_fp32,
    )


def mask(enum: Any, names: tuple[str, ...]) -> int:
    """The bits of these members, as TensorRT takes sets of flags."""
    return sum(1 << int(getattr(enum, name)) for name in names)


def shares_profiles(version: str) -> bool:
    """Whether several contexts may use one optimization profile at a time: from 8.6 on."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return (major, minor) >= (8, 6)


def _names(enum: Any) -> tuple[str, ...]:
    return tuple(enum.__members__)
