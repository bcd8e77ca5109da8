"""An engine that runs pictures in strips which would take more memory than there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nstopt import engines
from nstopt.bundle import Bundle, open_bundle
from nstopt.engines.backend import CompiledModel
from nstopt.engines.engine import Engine
from nstopt.errors import BundleError
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size
from nstopt.progress import Progress, Silent
from nstopt.strips.memory import available_bytes, resident_bytes
from nstopt.strips.spill import spill_folder

if TYPE_CHECKING:
    import onnx

# No net of the families that are known takes as many bytes for a pixel; below that, nothing needs to be estimated.
MOST_BYTES_PER_PIXEL = 4096
# What a process needs besides tensors: the graphs, and the runtime's code for them.
RESERVE = 160 << 20
# Pillow's own picture, for each pixel.
PILLOW_BYTES = 4


def load(
    path: Path,
    max_memory: int | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Open an engine bundle as `engines.load` does. Where the engine takes pictures of any size, one for which this
    process would need more than `max_memory` bytes is run in strips; by default, that is what the machine has left.
    `announce` gets a line that says so.

    Raises BundleError or DeviceError as `engines.load` does, and BundleError if `max_memory` cannot be held."""
    bundle = open_bundle(path)
    shape, backend = bundle.manifest.shape, engines.backend(bundle.manifest.backend.name)
    backend.require_built_for_here(bundle.manifest)
    graph = backend.capabilities.graph
    is_needed = max_memory is not None or graph in bundle.manifest.files  # older bundles lack it
    if shape.sizes.is_any and shape.batch in (None, 1) and graph and is_needed:
        return StripEngine(bundle, max_memory, progress or Silent(), announce)
    if max_memory is not None:
        raise BundleError(
            f"{path}: --max-memory needs an engine for pictures of any size, one at a time, of the openvino or "
            f"onnxruntime backend; this one is of {backend.name} for {shape}: "
            "build one with --dynamic"
        )
    return engines.load(path)


class StripEngine(Engine):
    """An engine for pictures of any size. The ordinary engine is opened when the first picture fits into memory."""

    def __init__(
        self, bundle: Bundle, max_memory: int | None, progress: Progress, announce: Callable[[str], None]
    ) -> None:
        super().__init__(bundle.manifest.shape)
        self.name, self.manifest = bundle.path.name, bundle.manifest
        self._bundle = bundle
        self._max_memory = max_memory
        self._progress = progress
        self._announce = announce
        self._whole: Engine | None = None

    def _infer(self, images: Picture, out: Picture) -> None:
        _, height, width, _ = images.shape
        if self._fits(len(images), Size(height, width)):
            self._whole = self._whole or engines.load(self._bundle.path)
            self._whole(images, out)
            return
        self.close()
        from nstopt.strips.stylize import WORK, Strips

        size = Size(height, width)
        self._progress.step(f"planning strips of {size}")
        strips, limit = Strips(engines.lowered_graph(self._bundle), size, self._compile, self._by_rows), self._limit()
        # Pages of `out` count when they are written first. Its file is written when the strips are done.
        free = limit - resident_bytes() - out.nbytes - RESERVE
        if free < max(strips.least, height * width * PILLOW_BYTES):
            missing = max(strips.least, height * width * PILLOW_BYTES) - free
            raise BundleError(
                f"a picture of {size} needs {missing / 2**20:.0f} MiB of memory more than it may take, even in the "
                "narrowest strips: raise --max-memory, or take a machine with more"
            )
        self._announce(
            f"a picture of {size} is run in strips: it may take {limit / 2**30:.1f} GiB of memory, and takes "
            f"{strips.disk / 2**30:.1f} GiB in {spill_folder()}"
        )
        for picture, result in zip(images, out, strict=True):
            for _ in self._progress.track(strips.run(picture, result, free), WORK, "stylizing in strips"):
                continue

    @property
    def _by_rows(self) -> bool:
        return engines.backend(self.manifest.backend.name).capabilities.exact_transposes

    def _compile(self, part: onnx.ModelProto) -> CompiledModel:
        backend = engines.backend(self.manifest.backend.name)
        return backend.compile(part.SerializeToString(), self.manifest.precision.asked, reuse=True)

    def _fits(self, count: int, size: Size) -> bool:
        """Return True if pictures can be run as a whole."""
        free = self._limit() - resident_bytes()
        if count * size.height * size.width * MOST_BYTES_PER_PIXEL < free:
            return True
        from nstopt.graph.specialize import specialize
        from nstopt.strips.peak import peak_bytes

        whole = specialize(engines.lowered_graph(self._bundle), InputShape.of(count, size))
        return peak_bytes(whole) < free

    def _limit(self) -> int:
        return resident_bytes() + available_bytes() if self._max_memory is None else self._max_memory

    def close(self) -> None:
        if self._whole is not None:
            self._whole.close()
        self._whole = None
