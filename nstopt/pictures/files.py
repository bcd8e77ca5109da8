"""Picture files: read any common format as 8-bit RGB, and write it back."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nstopt.errors import MediaError, first_line, translated
from nstopt.files import atomic_path, check_regular
from nstopt.pictures.size import MIN_SIDE, Size

# Twice the number of pixels from which Pillow warns.
MAX_PIXELS = 178_956_970
ROWS_AT_A_TIME = 256
_opening = threading.Lock()
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
Picture = NDArray[np.uint8]
DEMO_PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
    "hubble": "hubble_deep_field.jpg",
}


class DecodedPicture(NamedTuple):
    """`rgb` uint8 [H, W, 3], composed over white; `alpha` uint8 [H, W], or None where the file has no transparency."""

    rgb: Picture
    alpha: NDArray[np.uint8] | None


def read_picture(path: Path, max_pixels: int | None = None) -> DecodedPicture:
    """Read a JPEG, PNG, WebP, BMP or TIFF file as 8-bit RGB, with its EXIF rotation applied.

    Gray, palette, 16-bit and CMYK files are converted, transparency is composed over white. Raises MediaError for a
    file that is missing, unreadable, smaller than 16 pixels a side, or of more than `max_pixels`, by default Pillow's
    limit, above which it suspects a file that was made to fill the memory.
    """
    try:
        check_regular(path)
        with _open(path) as file:
            _check_pixels(path, file, max_pixels or MAX_PIXELS)
            image = ImageOps.exif_transpose(file)
            image.load()
    except MediaError:
        raise
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such picture") from error
    except IsADirectoryError as error:
        raise MediaError(f"{path}: this is a folder, not a picture") from error
    except UnidentifiedImageError as error:
        raise MediaError(f"{path}: not a picture, or not of a format that is known") from error
    except Exception as error:  # on a damaged file, its decoders raise struct.error, SyntaxError, IndexError and more
        raise MediaError(f"{path}: not a readable picture ({first_line(error)})") from error
    if min(image.size) < MIN_SIDE:
        raise MediaError(f"{path}: {image.height}x{image.width} is too small; each side needs {MIN_SIDE} pixels")
    with translated(MediaError, f"{path}: not a readable picture"):
        return _to_rgb(image)


def _open(path: Path) -> Image.Image:
    """Open a file whatever its size, which Pillow checks against a variable of its own."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_pixels(path: Path, file: Image.Image, limit: int) -> None:
    if file.width * file.height > limit:
        raise MediaError(
            f"{path}: {file.height}x{file.width} is more than {limit / 1e6:.0f} megapixels; if the file can be "
            f"trusted, allow more: --max-pixels {file.width * file.height}"
        )


def _to_array(image: Image.Image) -> Picture:
    """Return a picture as an array, copied in parts: Pillow makes two copies of what it hands over."""
    array = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, ROWS_AT_A_TIME):
        bottom = min(top + ROWS_AT_A_TIME, image.height)
        array[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return array


def _to_rgb(image: Image.Image) -> DecodedPicture:
    if image.mode.startswith("I") or image.mode == "F":  # Pillow's own conversion clips at 255
        gray = np.nan_to_num(np.asarray(image, np.float64))
        white = 65535 if image.mode.startswith("I;16") else max(gray.max(), 255)
        image = Image.fromarray((gray / white * 255).round().clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return DecodedPicture(_to_array(image if image.mode == "RGB" else image.convert("RGB")), None)
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return DecodedPicture(np.array(Image.alpha_composite(white, rgba).convert("RGB")), np.array(rgba.getchannel("A")))


def write_picture(path: Path, rgb: Picture, alpha: NDArray[np.uint8] | None = None) -> None:
    """Write uint8 RGB [H, W, 3] (with `alpha` [H, W] as RGBA) in the format of the suffix, atomically.

    Raises MediaError for an unknown suffix, a format without transparency, or a folder that cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(f"{path}: unknown picture format; write .png, .jpg or .webp")
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    try:
        with atomic_path(path) as temporary:
            image.save(temporary, quality=95)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror or error})") from error
    except ValueError as error:  # the format has no pictures of this size
        raise MediaError(f"{path}: cannot be written ({error}): choose another format") from error


def list_pictures(folder: Path) -> list[Path]:
    """List the picture files of a folder by name, without hidden ones. Raises MediaError if there is no such folder."""
    if not folder.is_dir():
        raise MediaError(f"{folder}: no such folder of pictures")
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES)


def resize(rgb: Picture, size: Size) -> Picture:
    """Resample uint8 RGB [H, W, 3] to `size` (Lanczos)."""
    if rgb.shape[:2] == size:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((size.width, size.height), Image.Resampling.LANCZOS))


def cover(rgb: Picture, size: Size) -> Picture:
    """Crop the largest centered part of `rgb` with the aspect ratio of `size`, and resample it to `size` (Lanczos)."""
    return np.asarray(ImageOps.fit(Image.fromarray(rgb), (size.width, size.height), Image.Resampling.LANCZOS))


def demo_photographs() -> list[tuple[str, Picture]]:
    """Read the color photographs that scikit-image ships (public domain or CC0), as (name, RGB)."""
    return [(name, read_picture(demo_photograph(name)).rgb) for name in DEMO_PHOTOGRAPHS]


def demo_photograph(name: str) -> Path:
    """Return the file of one of DEMO_PHOTOGRAPHS. Does not import scikit-image, which takes half a second."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise MediaError("scikit-image is not installed, which ships the demo photographs: pip install scikit-image")
    return Path(package.origin).parent / "data" / DEMO_PHOTOGRAPHS[name]
