"""Export a net to ONNX (and TorchScript) with the I/O contract, after checking the result against the net."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from nstopt import trial
from nstopt.errors import ExportError, printable, translated
from nstopt.export.contract import PictureModule, check_keeps_size
from nstopt.export.metadata import ExportInfo, write_info
from nstopt.export.onnx_file import fixed_shape, fulfills_contract, read_onnx
from nstopt.export.onnx_source import OnnxReference, wrap_onnx
from nstopt.export.parity import check_parity
from nstopt.export.run_onnx import OnnxRun
from nstopt.export.to_onnx import EXAMPLE_SIZE, to_onnx, to_torchscript
from nstopt.export.trial import require_runs
from nstopt.files import atomic_path, sha256_file
from nstopt.manifest import InputShape, NetInfo
from nstopt.nets import Convention, Style, load_net
from nstopt.nets.custom import load_torchscript
from nstopt.pictures.size import Size
from nstopt.progress import Progress, Silent


@dataclass(frozen=True)
class ExportSpec:
    """Input, output and options of an export.

    `onnx` and `torchscript` are the files to write. `size` None keeps height and width dynamic. `convention` and
    `multiple` are for nets of no known family; `vgg`, `styles` and `alpha` for AdaIN (see nets.load_net).
    """

    checkpoint: Path
    onnx: Path
    torchscript: Path | None = None
    size: Size | None = None
    arch: str | None = None
    convention: Convention | None = None
    multiple: int | None = None
    vgg: Path | None = None
    styles: Sequence[Style] = ()
    alpha: float = 1.0


class Exported(NamedTuple):
    """Result of an export. `max_gray_levels` is the largest difference from the net in the parity check, 0 or 1."""

    onnx: Path
    torchscript: Path | None
    net: NetInfo
    size: Size | None
    max_gray_levels: int
    notes: tuple[str, ...]


def export_net(spec: ExportSpec, progress: Progress | None = None) -> Exported:
    """Export a net, check parity, and write the files, all of them or none.

    Raises CheckpointError if the net cannot be loaded, MediaError if a style picture cannot be read, ExportError if the
    net cannot be exported, the graph differs from it, or a file cannot be written.
    """
    progress = progress or Silent()
    with contextlib.ExitStack() as files:
        script = files.enter_context(_written(spec.torchscript)) if spec.torchscript else None
        onnx_file = files.enter_context(_written(spec.onnx))
        if spec.checkpoint.suffix == ".onnx":
            exported = _export_onnx(spec, onnx_file, progress)
        else:
            exported = _export_module(spec, onnx_file, script, progress)
        for file in filter(None, (onnx_file, script)):
            trial.remember(sha256_file(file))  # it ran: it was compared with the net
    return exported


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Open `atomic_path`, and raise ExportError for its OSError."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror or error})") from error


def _export_module(spec: ExportSpec, onnx_file: Path, script: Path | None, progress: Progress) -> Exported:
    progress.step(f"reading {spec.checkpoint.name}")
    net = load_net(
        spec.checkpoint,
        arch=spec.arch,
        convention=spec.convention,
        multiple=spec.multiple,
        vgg=spec.vgg,
        styles=spec.styles,
        alpha=spec.alpha,
    )
    module = PictureModule(net).eval()
    progress.step("tracing the net")
    check_keeps_size(*module.net_shapes(spec.size or EXAMPLE_SIZE))
    model = to_onnx(module, spec.size)
    progress.step("comparing the graph with the net")
    worst = check_parity("the exported graph", OnnxRun("the exported graph", model), _TorchRun(module), spec.size)
    if script:
        to_torchscript(module, script, spec.size)
        traced = _TorchRun(load_torchscript(script))
        worst = max(worst, check_parity("the TorchScript file", traced, _TorchRun(module), spec.size))
    info = NetInfo(printable(spec.onnx.stem), net.family, net.widths, net.blocks, net.source_sha256)
    write_info(model, ExportInfo(info, sha256_file(script) if script else None))
    onnx.save(model, onnx_file)
    return Exported(spec.onnx, spec.torchscript, info, spec.size, worst, net.notes)


def _export_onnx(spec: ExportSpec, onnx_file: Path, progress: Progress) -> Exported:
    if spec.torchscript or spec.arch or spec.vgg or spec.styles:
        raise ExportError(f"{spec.checkpoint}: TorchScript, --arch, --vgg and --style do not apply to an ONNX file")
    progress.step(f"reading {spec.checkpoint.name}")
    source = read_onnx(spec.checkpoint)
    info = NetInfo(printable(spec.onnx.stem), "custom", (), 0, sha256_file(spec.checkpoint))
    if fulfills_contract(source):
        raise ExportError(f"{spec.checkpoint}: already maps uint8 pictures to uint8 pictures: run nstopt build-engine")
    shape = fixed_shape(source, spec.checkpoint)
    size = shape.sizes.only
    if size and spec.size and size != spec.size:
        raise ExportError(
            f"{spec.checkpoint}: this graph takes {size} only, not {spec.size}; export it again for that size"
        )
    size = size or spec.size
    if spec.convention is None:
        raise ExportError(f"{spec.checkpoint}: state the range of its input with --input-range, such as 0,255 or 0,1")
    multiple = spec.multiple or (1 if size else 4)
    require_runs(spec.checkpoint, InputShape.of(shape.batch, size))
    with translated(ExportError, f"{spec.checkpoint}: cannot be put between pictures"):
        model = wrap_onnx(source, spec.convention, multiple, size, shape.batch)
        progress.step("comparing the graph with the net")
        reference = OnnxReference(source, spec.convention, multiple)
        worst = check_parity("the wrapped graph", OnnxRun("the wrapped graph", model), reference, size, shape.batch)
    write_info(model, ExportInfo(info, None))
    onnx.save(model, onnx_file)
    return Exported(spec.onnx, None, info, size, worst, ())


class _TorchRun:
    """A picture module as a function of uint8 arrays [N, H, W, 3]."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.inference_mode():
            result: NDArray[np.uint8] = self._module(torch.from_numpy(pictures)).numpy()
        return result
