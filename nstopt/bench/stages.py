"""Time what a picture costs before and after the net: reading and writing a JPEG file.

Timed on a photograph, since noise compresses to many times the bytes of one: the picture of --image, or scikit-image's
astronaut.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nstopt.pictures.files import cover, demo_photograph, read_picture, write_picture
from nstopt.pictures.size import Size
from nstopt.runs.record import Stages

RUNS = 7
DEMO = "astronaut"


def measure_stages(image: Path | None, size: Size) -> Stages:
    """Time reading and writing a JPEG file of `size` with the functions that `nstopt stylize` uses; return medians.

    Raises MediaError if `image` cannot be read.
    """
    source = image or demo_photograph(DEMO)
    picture = cover(read_picture(source).rgb, size)
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        file = Path(folder) / "picture.jpg"
        encode_ms = _median_ms(lambda: write_picture(file, picture))
        decode_ms = _median_ms(lambda: read_picture(file))
    return Stages(source.name, decode_ms, None, None, encode_ms)


def _median_ms(call: Callable[[], object]) -> float:
    samples_ms = []
    call()
    for _ in range(RUNS):
        begin = time.perf_counter()
        call()
        samples_ms.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(samples_ms)
