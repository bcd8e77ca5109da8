"""Picture files: read any common format as 8-bit RGB, and write it back."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nstopt.errors import MediaError, first_line, translated
from nstopt.files import atomic_path, check_regular
from nstopt.pictures.size import MIN_SIDE, Size

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


def read_picture(path: Path) -> DecodedPicture:
    """Read a JPEG, PNG, WebP, BMP or TIFF file as 8-bit RGB, with its EXIF rotation applied.

    Gray, palette, 16-bit and CMYK files are converted, transparency is composed over white. Raises MediaError for a
    file that is missing, unreadable, or smaller than 16 pixels a side.
    """
    try:
        check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large is fine; a bomb is still an error
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
                image.load()
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


def _to_rgb(image: Image.Image) -> DecodedPicture:
    if image.mode.startswith("I") or image.mode == "F":  # Pillow's own conversion clips at 255
        gray = np.nan_to_num(np.asarray(image, np.float64))
        white = 65535 if image.mode.startswith("I;16") else max(gray.max(), 255)
        image = Image.fromarray((gray / white * 255).round().clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return DecodedPicture(np.array(image.convert("RGB")), None)
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
