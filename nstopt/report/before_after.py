"""Stylize one photograph with the FP32 and the INT8 engine of a net, for the reader to judge by eye."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from nstopt.bundle import MANIFEST
from nstopt.errors import NstoptError
from nstopt.files import sha256_file
from nstopt.pictures.files import Picture, cover, demo_photograph, read_picture
from nstopt.pictures.size import Size
from nstopt.report.series import NetResults
from nstopt.runs.record import Record

DEMO = "astronaut"
LARGEST_SIDE = 640
JPEG_QUALITY = 88


class Pair(NamedTuple):
    """Two pictures as JPEG data URIs, their size, the PSNR between them in dB, and the name of the photograph."""

    before: str
    after: str
    size: Size
    psnr_db: float
    photograph: str


class Missing(NamedTuple):
    """The reason why there are no pictures."""

    reason: str


def before_after(net: NetResults, image: Path | None) -> Pair | Missing:
    """Run both engines of the net at the largest size, up to 640 pixels a side, that has both.

    Without `image`, on a photograph of scikit-image. Raises MediaError if `image` cannot be read.
    """
    pairs = _pairs(net.records)
    if not pairs:
        return Missing("the run has no FP32 and INT8 engine of one size")
    found = next((pair for pair in pairs if all(map(_is_there, pair))), None)
    if found is None:
        gone = next(record for record in pairs[0] if not _is_there(record))
        return Missing(f"{gone.bundle} no longer exists, or was built again since the run")
    before, after = found
    source = image or demo_photograph(DEMO)
    picture = cover(read_picture(source).rgb, before.size)
    try:
        left, right = (_stylize(Path(str(record.bundle)), picture) for record in (before, after))
    except NstoptError as error:
        return Missing(str(error))
    from nstopt.calib.quality import psnr_db

    return Pair(_data_uri(left), _data_uri(right), before.size, psnr_db(left, right), source.name)


def _pairs(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Pair FP32 and INT8 engines of one backend and size, batch 1, that fit on the page; the largest first."""
    ours = [r for r in records if not r.is_peer and r.batch == 1 and max(r.size) <= LARGEST_SIDE]
    pairs = [
        (one, other)
        for one, other in product(ours, ours)
        if (one.precision, other.precision) == ("fp32", "int8")
        and (one.size, one.backend) == (other.size, other.backend)
    ]
    return sorted(pairs, key=lambda pair: -pair[0].height * pair[0].width)


def _is_there(record: Record) -> bool:
    manifest = Path(record.bundle or "") / MANIFEST
    return record.bundle is not None and manifest.is_file() and sha256_file(manifest) == record.sha256


def _stylize(bundle: Path, picture: Picture) -> Picture:
    from nstopt import engines

    with engines.load(bundle) as engine:
        return engine(picture)


def _data_uri(picture: Picture) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
