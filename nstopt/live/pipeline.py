"""The net thread: takes the newest shot, stylizes it with the chosen engine, and publishes the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from nstopt.engines.engine import Engine
from nstopt.errors import NstoptError
from nstopt.live.controls import Change, Controls, changed
from nstopt.live.governor import Governor
from nstopt.live.meter import Meter
from nstopt.live.shots import Shot, Stylized
from nstopt.live.slot import Broadcast, ClosedError, Slot
from nstopt.media.stylize import fit
from nstopt.pictures.files import Picture
from nstopt.pictures.size import MIN_SIDE, Size, Sizes

# Sides of the net's pictures are multiples of this where the engine takes any size, so that the nets need no padding
# and the codecs get even sides.
MULTIPLE = 8
# The first runs at a size prepare kernels and memory.
WARM_RUNS = 2


class Style(NamedTuple):
    """A loaded engine and the name under which it is chosen."""

    name: str
    engine: Engine


class _Ready(NamedTuple):
    """A shot for the net thread: its picture at a size that the engine takes, the part of it that is content, and the
    scale that was chosen for it."""

    style: Style
    picture: Picture
    inner: Size
    scale: float
    captured: float


class Pipeline:
    """Shots go in by `feed`, on any one thread; `results` publishes what comes out of the net thread.

    `error` says why the net thread has ended, None while it runs."""

    def __init__(self, styles: Sequence[Style], controls: Controls) -> None:
        self.styles = {style.name: style for style in styles}
        self.controls = controls
        self.results: Broadcast[Stylized] = Broadcast()
        self.meter = Meter()
        self.error: NstoptError | None = None
        self._governor = Governor(controls.fps, controls.scale) if controls.fps else None
        self._slot: Slot[_Ready] = Slot()
        self._thread = threading.Thread(target=self._run, name="net", daemon=True)

    @property
    def any_size(self) -> dict[str, bool]:
        """Says of each style whether its engine takes pictures of any size."""
        return {name: style.engine.shape.sizes.is_any for name, style in self.styles.items()}

    @property
    def dropped(self) -> int:
        """Shots that came while the net was busy, and were replaced by newer ones."""
        return self._slot.dropped

    def change(self, change: Change) -> None:
        """Change the controls. Raises NstoptError if that cannot be."""
        controls = changed(self.controls, change, self.any_size)
        if controls.fps != self.controls.fps:
            self._governor = Governor(controls.fps, controls.scale) if controls.fps else None
        self.controls = controls

    def warm_up(self, shot: Shot) -> None:
        """Run every engine on a shot, so that neither the first frame nor a switch has to wait. Raises DeviceError or
        BundleError if an engine fails."""
        for style in self.styles.values():
            ready = self._prepared(style, shot)
            for _ in range(WARM_RUNS):
                _run(ready)

    def start(self) -> None:
        self._thread.start()

    def feed(self, shot: Shot) -> None:
        """Bring a shot to the net's size and leave it for the net thread, in place of an older one."""
        self._slot.put(self._prepared(self.styles[self.controls.style], shot))

    def close(self) -> None:
        """End the net thread, and close the slots of all who read the results."""
        self._slot.close()
        if self._thread.is_alive():
            self._thread.join()
        self.results.close()

    def _prepared(self, style: Style, shot: Shot) -> _Ready:
        governor = self._governor
        scale = governor.scale if governor else self.controls.scale
        size = net_size(style.engine.shape.sizes, shot.size, scale)
        # FFmpeg converts the colors and scales in one step, outside the interpreter's lock.
        scaled = shot.frame.to_ndarray(format="rgb24", width=size.width, height=size.height)
        fitted = fit(style.engine, scaled.astype(np.uint8, copy=False))
        return _Ready(style, fitted.picture, fitted.inner, scale, shot.captured)

    def _run(self) -> None:
        try:
            while ready := self._slot.take():
                begin = time.monotonic()
                stylized = _run(ready)
                net_ms = (time.monotonic() - begin) * 1e3
                if governor := self._governor:
                    governor.observe(net_ms, ready.scale)
                self._publish(ready, stylized, net_ms)
        except ClosedError:
            pass
        except NstoptError as error:
            self.error = error
            self.results.close()

    def _publish(self, ready: _Ready, stylized: Picture, net_ms: float) -> None:
        before = ready.picture[: ready.inner.height, : ready.inner.width]
        picture = compose(before, stylized, self.controls)
        self.results.publish(Stylized(picture, before, ready.style.name, ready.captured))
        finished = time.monotonic()
        self.meter.add(finished, net_ms, (finished - ready.captured) * 1e3)


def _run(ready: _Ready) -> Picture:
    batch = ready.style.engine.shape.batch or 1
    pictures = ready.picture[None].repeat(batch, axis=0) if batch > 1 else ready.picture
    result = ready.style.engine(pictures)
    picture = result[0] if batch > 1 else result
    return picture[: ready.inner.height, : ready.inner.width]


def net_size(sizes: Sizes, camera: Size, scale: float) -> Size:
    """Return the size at which a camera's picture goes through an engine of `sizes`.

    It is `scale` times the camera's, in multiples of MULTIPLE, where the engine takes any size; otherwise the largest
    one of the camera's aspect that fits into the nearest of `sizes`."""
    if sizes.is_any:
        height, width = (max(round(side * scale / MULTIPLE), MIN_SIDE // MULTIPLE) * MULTIPLE for side in camera)
        return Size(height, width)
    frame = sizes.nearest(*camera)
    fits = min(frame.height / camera.height, frame.width / camera.width)
    return Size(max(1, round(camera.height * fits)), max(1, round(camera.width * fits)))


def compose(before: Picture, after: Picture, controls: Controls) -> Picture:
    """Blend the two pictures by `strength`, and show the first one in the left part of the width that `split` gives."""
    picture = after
    if controls.strength < 1:
        picture = np.asarray(Image.blend(Image.fromarray(before), Image.fromarray(after), controls.strength))
    if controls.split > 0:
        column = round(controls.split * before.shape[1])
        picture = np.concatenate([before[:, :column], picture[:, column:]], axis=1)
    return picture
