"""A camera that other programs see, by pyvirtualcam and v4l2loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pyvirtualcam

from nstopt.errors import DeviceError
from nstopt.live.reader import Reader
from nstopt.live.session import Session
from nstopt.live.slot import ClosedError
from nstopt.pictures.files import resize
from nstopt.pictures.size import Size

# What the device announces. Frames come at the rate of the net.
ANNOUNCED_FPS = 30.0


async def feed_virtual_camera(session: Session, device: Path | None) -> None:
    """Write a session's results to a virtual camera, the first one by default, until the session ends. All frames have
    the size of the source's first one. Raises DeviceError if there is no such device."""
    size = session.camera_size
    assert size, "the session has started"
    with Reader(session.pipeline.results) as reader:
        try:
            camera = pyvirtualcam.Camera(size.width, size.height, ANNOUNCED_FPS, device=str(device) if device else None)
        except (RuntimeError, OSError) as error:
            advice = "load the kernel module first: sudo modprobe v4l2loopback exclusive_caps=1"
            raise DeviceError(f"no virtual camera: {error}; {advice}") from error
        with camera:
            try:
                while True:
                    shown = await reader.next()
                    frame = resize(shown.picture, Size(size.height, size.width))
                    await asyncio.to_thread(camera.send, np.ascontiguousarray(frame))
            except ClosedError:
                return
