"""Time stamps in pixels survive what happens to a frame on its way."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import noise
from PIL import Image

from nstopt.live.barcode import PERIOD_MS, age_ms, bar_height, draw, read, stamp, with_bar
from nstopt.pictures.files import Picture


@pytest.mark.parametrize(("height", "width"), [(96, 128), (97, 129), (480, 640), (240, 48)])
def test_a_bar_lies_below_the_picture(height: int, width: int) -> None:
    picture = noise(height, width)
    framed = with_bar(picture, 1234.567)
    rows, columns = height // 2 * 2, width // 2 * 2
    assert framed.shape == (rows + bar_height(rows), columns, 3)
    assert (framed[:rows] == picture[:rows, :columns]).all()
    assert read(framed[rows:]) == 1_234_567
    assert framed.shape[0] % 2 == 0


@pytest.mark.parametrize("value", [0, 1, 0xAAAAAA, 0x555555, PERIOD_MS - 1])
def test_it_survives_lossy_codecs(value: int) -> None:
    picture = noise(100, 192)
    draw(picture[-8:], value)
    for decoded in (_through_jpeg(picture), _through_vp8(picture)):
        assert read(decoded[-8:]) == value


def test_ages_wrap_around() -> None:
    end = PERIOD_MS / 1000
    assert [age_ms(stamp(then), now) for then, now in ((1.0, 1.25), (end - 0.1, end + 0.1))] == [250, 200]


def test_no_two_times_of_a_second_have_one_bar() -> None:
    bars = set()
    for millisecond in range(1000):
        bar = np.zeros((2, 48, 3), np.uint8)
        draw(bar, stamp(millisecond / 1000))
        bars.add(bar.tobytes())
    assert len(bars) == 1000


def _through_jpeg(picture: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=40)
    return np.array(Image.open(file))


def _through_vp8(picture: Picture) -> Picture:
    encoder, decoder = av.CodecContext.create("libvpx", "w"), av.CodecContext.create("vp8", "r")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.bit_rate, encoder.framerate = "yuv420p", 400_000, Fraction(30)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    (decoded, *_) = [shown for packet in packets for shown in decoder.decode(packet)]
    return np.asarray(decoded.to_ndarray(format="rgb24"), np.uint8)
