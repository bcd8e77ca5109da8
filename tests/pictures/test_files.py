"""Pictures as files: everything users have becomes upright 8-bit RGB, and what is no picture is said to be none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nstopt.errors import MediaError
from nstopt.pictures import files
from nstopt.pictures.files import (
    DEMO_PHOTOGRAPHS,
    cover,
    demo_photographs,
    list_pictures,
    read_picture,
    resize,
    write_picture,
)
from nstopt.pictures.size import Size

RAMP = np.arange(20 * 24 * 3).reshape(20, 24, 3).astype(np.uint8)
RGB = Image.fromarray(RAMP)


def saved(folder: Path, image: Image.Image, suffix: str = ".png", **options: Any) -> Path:
    path = folder / f"picture{suffix}"
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_formats_give_the_bytes_that_were_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write_picture(path, RAMP)
    read = read_picture(path)
    np.testing.assert_array_equal(read.rgb, RAMP)
    assert read.rgb.dtype == np.uint8
    assert read.alpha is None


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_formats_come_close(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    smooth = np.asarray(RGB.resize((64, 48)).crop((8, 8, 40, 40)))
    write_picture(path, smooth)
    assert np.abs(read_picture(path).rgb.astype(int) - smooth).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {
        1: RAMP,
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.transpose(1, 0, 2),
        6: np.rot90(RAMP),
        7: RAMP.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(RAMP, -1),
    }[orientation]
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(read_picture(path).rgb, RAMP)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_transparency_is_composed_over_white_and_kept_apart(tmp_path: Path, suffix: str) -> None:
    rgba = np.zeros((16, 18, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, :6, 3], rgba[:, 6:12, 3], rgba[:, 12:, 3] = 0, 51, 255  # clear, a fifth, solid
    read = read_picture(saved(tmp_path, Image.fromarray(rgba), suffix, lossless=True))
    assert read.alpha is not None
    np.testing.assert_array_equal(read.alpha, rgba[..., 3])
    for column, color in ((0, (255, 255, 255)), (6, (244, 204, 204)), (12, (200, 0, 0))):
        np.testing.assert_allclose(read.rgb[0, column], color, atol=1)
    write_picture(tmp_path / "again.png", read.rgb, read.alpha)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "again.png"))[..., 3], rgba[..., 3])


def test_gray_and_black_and_white(tmp_path: Path) -> None:
    gray = RGB.convert("L")
    read = read_picture(saved(tmp_path, gray))
    np.testing.assert_array_equal(read.rgb, np.repeat(np.asarray(gray)[..., None], 3, axis=2))
    bits = gray.convert("1")
    np.testing.assert_array_equal(read_picture(saved(tmp_path, bits)).rgb[..., 1], np.asarray(bits) * 255)


def test_gray_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((16, 16), 100, np.uint8))
    image.putalpha(Image.fromarray(np.full((16, 16), 51, np.uint8)))
    read = read_picture(saved(tmp_path, image))
    np.testing.assert_allclose(read.rgb, 224, atol=1)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    np.testing.assert_allclose(read_picture(saved(tmp_path, red, suffix)).rgb[0, 0], (255, 0, 0), atol=3)


def test_palettes(tmp_path: Path) -> None:
    palette = RGB.quantize(8)
    read = read_picture(saved(tmp_path, palette))
    np.testing.assert_array_equal(read.rgb, np.asarray(palette.convert("RGB")))
    assert read.alpha is None
    clear = np.asarray(palette) == 3
    read = read_picture(saved(tmp_path, palette, transparency=3))
    assert read.alpha is not None
    np.testing.assert_array_equal(read.alpha, np.where(clear, 0, 255))
    assert (read.rgb[clear] == 255).all()


def test_sixteen_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 20 * 24).reshape(20, 24)
    read = read_picture(saved(tmp_path, Image.fromarray(ramp.astype(np.uint16))))
    np.testing.assert_allclose(read.rgb[..., 2], ramp / 65535 * 255, atol=1)


def test_a_dark_picture_of_sixteen_bits_stays_dark(tmp_path: Path) -> None:
    read = read_picture(saved(tmp_path, Image.fromarray(np.full((20, 24), 65535 // 4, np.uint16))))
    np.testing.assert_allclose(read.rgb, 64, atol=1)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_other_wide_modes(tmp_path: Path, mode: str) -> None:
    gray = RGB.convert("L")
    read = read_picture(saved(tmp_path, gray.convert(mode), ".tif"))
    np.testing.assert_allclose(read.rgb[..., 0], np.asarray(gray), atol=1)


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    path = saved(tmp_path, frames[0], ".webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_allclose(read_picture(path).rgb[0, 0], (255, 0, 0), atol=2)


def test_tiny_pictures_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, RGB.resize((40, 15)))
    with pytest.raises(MediaError, match=r"picture\.png: 15x40 is too small; each side needs 16 pixels$"):
        read_picture(path)
    assert read_picture(saved(tmp_path, RGB.resize((16, 16)))).rgb.shape == (16, 16, 3)


def png() -> bytes:
    buffer = io.BytesIO()
    RGB.save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"no picture", png()[:60], png()[:-30], b"RIFF\0\0\0\0WEBPVP8 "])
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"picture\.png: not a (readable )?picture") as raised:
        read_picture(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).count("picture.png") == 1


def test_missing_pictures_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"no\.png: no such picture$"):
        read_picture(tmp_path / "no.png")
    with pytest.raises(MediaError, match="is a folder, not a picture"):
        read_picture(tmp_path)


def test_a_decompression_bomb_is_refused_and_a_large_picture_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit is not asked
    assert read_picture(path).rgb.shape == (20, 24, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(files, "MAX_PIXELS", 479)
    assert read_picture(path, 480).rgb.shape == (20, 24, 3)
    with pytest.raises(MediaError, match=r"20x24 is more than 0 megapixels; .* allow more: --max-pixels 480$"):
        read_picture(path)


def test_a_tall_picture_is_read_whole(tmp_path: Path) -> None:
    tall = np.random.default_rng(0).integers(0, 256, (2 * files.ROWS_AT_A_TIME + 7, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_picture(saved(tmp_path, Image.fromarray(tall))).rgb, tall)


def test_where_pictures_cannot_be_written(tmp_path: Path) -> None:
    for name in ("picture", "picture.gif", "picture.txt"):
        with pytest.raises(MediaError, match=r"unknown picture format; write \.png, \.jpg or \.webp"):
            write_picture(tmp_path / name, RAMP)
    with pytest.raises(MediaError, match=r"x\.jpg: cannot be written \(.*JPEG.*\)"):
        write_picture(tmp_path / "x.jpg", RAMP, alpha=RAMP[..., 0])
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"x\.png: cannot be written \(.*file is not a folder\)$"):
        write_picture(tmp_path / "file" / "x.png", RAMP)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_pictures_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "c.webp"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
    with pytest.raises(MediaError, match=r"a\.jpg: no such folder of pictures"):
        list_pictures(tmp_path / "a.jpg")


def test_cover_crops_and_never_distorts() -> None:
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, 40:] = 255
    square = cover(halves, Size(20, 20))
    assert square.shape == (20, 20, 3)
    assert (square[:, :9] < 30).all()
    assert (square[:, 11:] > 225).all()
    np.testing.assert_array_equal(cover(RAMP, Size(20, 24)), RAMP)


def test_resize() -> None:
    assert resize(RAMP, Size(20, 24)) is RAMP
    assert resize(RAMP, Size(7, 50)).shape == (7, 50, 3)
    np.testing.assert_array_equal(resize(np.full((9, 9, 3), 77, np.uint8), Size(30, 5)), 77)


def test_the_demo_photographs_are_there() -> None:
    photographs = demo_photographs()
    assert [name for name, _ in photographs] == list(DEMO_PHOTOGRAPHS)
    assert all(rgb.dtype == np.uint8 and min(rgb.shape[:2]) >= 300 for _, rgb in photographs)
