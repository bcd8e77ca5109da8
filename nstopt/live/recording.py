"""Record what is shown to an MP4 file."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av

from nstopt.errors import MediaError
from nstopt.files import check_writable
from nstopt.live.shots import Stylized
from nstopt.live.slot import Broadcast, ClosedError

CLOCK_HZ = 90_000
# Constant quality near the point where a difference is hard to see, at a speed that leaves the processor to the net.
ENCODER = {"crf": "20", "preset": "superfast", "tune": "zerolatency"}
# The file is a row of fragments, so that what is written before a kill can be played.
CONTAINER = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
KEYFRAMES = 30


class Recording:
    """Writes every picture of `results` to `path` on a thread of its own, until `stop`. Times are those of the capture.

    All frames have the size of the first one, whatever size the net goes to."""

    def __init__(self, results: Broadcast[Stylized], path: Path) -> None:
        """Raises MediaError if the file cannot be written."""
        try:
            check_writable(path)
        except OSError as error:
            raise MediaError(f"{path}: cannot be written: {error.strerror or error}") from error
        self.path = path
        self.frames = 0
        self.error: MediaError | None = None
        self._stack = ExitStack()
        self._slot = self._stack.enter_context(results.subscribe())
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def stop(self) -> Path:
        """Finish the file and return its path. Raises MediaError if it could not be written or there was no frame."""
        self._slot.close()
        self._thread.join()
        self._stack.close()
        if self.error:
            raise self.error
        if not self.frames:
            self.path.unlink(missing_ok=True)
            raise MediaError(f"{self.path}: not written, since no frame came while it was recorded")
        return self.path

    def _run(self) -> None:
        try:
            with av.open(str(self.path), "w", format="mp4", options=CONTAINER) as container:
                stream = container.add_stream("libx264", rate=KEYFRAMES, options=ENCODER)
                stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, CLOCK_HZ)
                stream.codec_context.time_base, stream.codec_context.gop_size = Fraction(1, CLOCK_HZ), KEYFRAMES
                self._write(container, stream)
                container.mux(stream.encode(None))
        except (av.FFmpegError, OSError) as error:
            self.error = MediaError(f"{self.path}: recording failed: {getattr(error, 'strerror', None) or error}")

    def _write(self, container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        begin = None
        try:
            while shown := self._slot.take():
                if begin is None:
                    begin = shown.captured
                    stream.height, stream.width = (side // 2 * 2 for side in shown.picture.shape[:2])
                frame = av.VideoFrame.from_ndarray(shown.picture, format="rgb24")
                frame = frame.reformat(width=stream.width, height=stream.height, format="yuv420p")
                frame.pts, frame.time_base = round((shown.captured - begin) * CLOCK_HZ), Fraction(1, CLOCK_HZ)
                container.mux(stream.encode(frame))
                self.frames += 1
        except ClosedError:
            return
