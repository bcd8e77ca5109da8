"""Options that say which engines to build, and from which pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.options.group import OptionGroup
from nstopt.cli.options.values import CountList, NameList, SizeList, flat, parse_counts, parse_names, parse_sizes
from nstopt.pictures.size import DEFAULT_SIZE, Size, Sizes
from nstopt.precisions import PRECISIONS

OneSize = Annotated[
    Size | None,
    typer.Option(
        parser=Size.parse,
        metavar="SIZE",
        help="Picture size in pixels: 512, or HEIGHTxWIDTH such as 480x640; default: 512.",
    ),
]


@dataclass(frozen=True)
class PictureOptions(OptionGroup):
    """The pictures that engines are calibrated and judged on."""

    panel = "Pictures"

    calib: Annotated[
        Path | None, typer.Option(help="Folder of photographs, or video, to calibrate INT8 on; needed for INT8.")
    ] = None
    val: Annotated[
        Path | None, typer.Option(help="Folder of photographs, or video, to judge on; default: part of --calib.")
    ] = None


@dataclass(frozen=True)
class ShapeOptions(OptionGroup):
    """The pictures that one engine takes."""

    panel = "Input"

    res: Annotated[
        list[SizeList] | None,
        typer.Option(
            parser=parse_sizes,
            metavar="SIZES",
            help="Picture size in pixels: 512, or HEIGHTxWIDTH such as 480x640; default: 512. TensorRT takes several, "
            "such as 360,512.",
        ),
    ] = None
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Take pictures of any size.")] = False
    batch: Annotated[int, typer.Option(min=1, max=64, help="Pictures a call.")] = 1
    any_batch: Annotated[bool, typer.Option("--any-batch", help="Take any number of pictures a call.")] = False

    def __post_init__(self) -> None:
        check_size(bool(self.res), self.dynamic)
        if self.any_batch and self.batch != 1:
            raise typer.BadParameter(
                "--batch fixes the number of pictures and --any-batch keeps it free: give one of them"
            )

    @property
    def sizes(self) -> Sizes:
        """The sizes that were asked for, in the order given."""
        return Sizes() if self.dynamic else Sizes(*flat(self.res) or (DEFAULT_SIZE,))


@dataclass(frozen=True)
class PrecisionOptions(OptionGroup):
    """The precision of one engine."""

    panel = "Precision"

    int8: Annotated[bool, typer.Option("--int8", help="Multiply in INT8; needs --calib.")] = False
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Multiply in FP16; with --int8: FP16 between the INT8 convolutions.")
    ] = False
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16", help="Multiply in BF16, on CPUs that have it; with --int8: BF16 between the INT8 convolutions."
        ),
    ] = False
    min_psnr: Annotated[
        float, typer.Option(metavar="DB", help="Mean PSNR in dB that the engine must reach against FP32.")
    ] = 40.0
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="INT8 as in TensorRT, int8 with a zero point of 0, on any backend.")
    ] = False
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the INT8 recipes tried: .png, .svg or .pdf.")
    ] = None

    def __post_init__(self) -> None:
        if self.fp16 and self.bf16:
            raise typer.BadParameter("--fp16 and --bf16 are two types for the same layers: give one of them")
        if self.symmetric and not self.int8:
            raise typer.BadParameter("--symmetric is a kind of INT8: give --int8 with it")
        if self.plot and not self.int8:
            raise typer.BadParameter("--plot draws the search for INT8: give --int8 with it")

    @property
    def name(self) -> str:
        """The precision, one of `nstopt.precisions.PRECISIONS`."""
        return "-".join(part for part in ("int8", "bf16", "fp16") if getattr(self, part)) or "fp32"


@dataclass(frozen=True)
class DeviceOptions(OptionGroup):
    """What a build may do on its device."""

    panel = "Device"

    workspace: Annotated[
        int | None,
        typer.Option(
            metavar="MIB", min=16, max=1_048_576, help="TensorRT: limit of the kernels' working memory, in MiB."
        ),
    ] = None
    tf32: Annotated[
        bool, typer.Option("--tf32", help="TensorRT: let FP32 convolutions multiply in TF32, from Ampere on.")
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="Build even a precision that this GPU runs slower than FP32.")
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if a convolution is not computed in the types of the graph.")
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", help="TensorRT: put every message into the bundle's build.log.")
    ] = False


@dataclass(frozen=True)
class EngineOptions(OptionGroup):
    """The engines to build of nets and to time."""

    panel = "Engines"

    res: Annotated[
        list[SizeList] | None,
        typer.Option(
            parser=parse_sizes, metavar="SIZES", help="Picture sizes, such as 256,512,1080x1920; default: 512."
        ),
    ] = None
    precision: Annotated[
        NameList | None,
        typer.Option(parser=parse_names, metavar="LIST", help=f"Nets only: some of {','.join(PRECISIONS)}."),
    ] = None
    backend: Annotated[
        NameList | None,
        typer.Option(
            parser=parse_names,
            metavar="LIST",
            help="Nets only: all, or some of openvino,onnxruntime,torchscript,tensorrt.",
        ),
    ] = None
    batch: Annotated[
        CountList | None, typer.Option(parser=parse_counts, metavar="LIST", help="Pictures a call, such as 1,4.")
    ] = None
    min_psnr: Annotated[
        float | None,
        typer.Option(
            metavar="DB", help="Nets only: mean PSNR in dB that engines must reach against FP32; default: 40."
        ),
    ] = None


@dataclass(frozen=True)
class PeerOptions(OptionGroup):
    """Peers that engines are compared with."""

    panel = "Comparisons"

    compare: Annotated[
        NameList | None,
        typer.Option(
            parser=parse_names,
            metavar="PEERS",
            help="Peers to time in turns with the engines: all, or some of "
            "torch,torch-channels-last,torch-compile,torchscript,onnxruntime,openvino,openvino-fp32; "
            "on a CPU with BF16, which openvino uses by itself: torch-bf16,torch-compile-bf16; "
            "with NNCF installed: nncf,nncf-fp32 (INT8); on an NVIDIA GPU: "
            "torch-cuda,torch-cuda-fp16,torch-compile-cuda,onnxruntime-cuda,tensorrt-raw (FP16).",
        ),
    ] = None
    checkpoint: Annotated[Path | None, typer.Option(help="Bundles only: the net's file, which peers run.")] = None
    target: Annotated[
        NameList | None,
        typer.Option(parser=parse_names, metavar="GPUS", help="Add projected rows for GPUs, such as gtx-1060."),
    ] = None
    baseline: Annotated[
        Path | None, typer.Option(metavar="OLD.json", help="Exit with 1 if this run is slower than that one.")
    ] = None
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, max=1e06, metavar="PERCENT", help="Slowdown against --baseline that counts as noise."),
    ] = 5.0


def check_size(fixed: bool, dynamic: bool) -> None:
    """Raise typer.BadParameter if a size is both fixed and free."""
    if fixed and dynamic:
        raise typer.BadParameter("--res fixes the size and --dynamic keeps it free: give one of them")
