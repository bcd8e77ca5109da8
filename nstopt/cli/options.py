"""Command-line options that several commands share, and values that are more than a word: ranges, colors, weighted
pictures. Parsers raise ValueError with a reason."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nstopt.pictures.size import Size

if TYPE_CHECKING:
    from nstopt.nets import Convention


class ValueRange(NamedTuple):
    """What black and white are to a net."""

    low: float
    high: float


class Triple(NamedTuple):
    """A number for each color."""

    red: float
    green: float
    blue: float


class Weighted(NamedTuple):
    """A style picture and its weight among several."""

    picture: Path
    weight: float


class Sizes(tuple[Size, ...]):
    """Several sizes in one option."""

    __slots__ = ()


class Counts(tuple[int, ...]):
    """Several numbers of pictures in one option."""

    __slots__ = ()


class Words(tuple[str, ...]):
    """Several names in one option."""

    __slots__ = ()


def _numbers(text: str, count: int, example: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ValueError(f"'{text}' is not {count} numbers with commas between, such as {example}")
    return values


def parse_range(text: str) -> ValueRange:
    """`0,255` → (0.0, 255.0)."""
    low, high = _numbers(text, 2, "0,255")
    if low >= high:
        raise ValueError(f"'{text}' is no range: the first number must be the smaller one")
    return ValueRange(low, high)


def parse_triple(text: str) -> Triple:
    """`0.485,0.456,0.406`, for red, green, blue; one number stands for all three."""
    if "," not in text:
        text = ",".join([text] * 3)
    red, green, blue = _numbers(text, 3, "0.485,0.456,0.406")
    return Triple(red, green, blue)


def parse_divisor(text: str) -> Triple:
    """As `parse_triple`, each number above 0."""
    triple = parse_triple(text)
    if min(triple) <= 0:
        raise ValueError(f"'{text}' is divided by: each number must be above 0")
    return triple


def parse_weighted(text: str) -> Weighted:
    """`wave.jpg` or `wave.jpg:0.7`; without a weight it is 1."""
    picture, colon, weight = text.rpartition(":")
    try:
        return Weighted(Path(picture), float(weight)) if colon else Weighted(Path(text), 1.0)
    except ValueError:
        return Weighted(Path(text), 1.0)  # a colon in the file's own name


def parse_sizes(text: str) -> Sizes:
    """`256,512,1080x1920`."""
    return Sizes(Size.parse(part) for part in text.split(","))


def parse_counts(text: str) -> Counts:
    """`1,4`: each from 1 to 64, as many pictures as an engine may take at once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 64 for part in parts):
        raise ValueError(f"'{text}' are not numbers of pictures from 1 to 64 with commas between, such as 1,4")
    return Counts(dict.fromkeys(int(part) for part in parts))


def parse_words(text: str) -> Words:
    """`fp32,int8`."""
    words = Words(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(words):
        raise ValueError(f"'{text}' has an empty name in it")
    return words


# Options that say how a net's file is to be read; `bench --compare` reads the same files as `export`.
Arch = Annotated[str | None, typer.Option(help="Class of a net of no known family, as package.module:Class.")]
InputRange = Annotated[
    ValueRange | None,
    typer.Option(
        parser=parse_range, metavar="LO,HI", help="What black and white are to a net of no known family: 0,255."
    ),
]
OutputRange = Annotated[
    ValueRange | None,
    typer.Option(parser=parse_range, metavar="LO,HI", help="The same of its output; default: as its input."),
]
Mean = Annotated[Triple | None, typer.Option(parser=parse_triple, metavar="R,G,B", help="Subtracted, in its range.")]
Std = Annotated[Triple | None, typer.Option(parser=parse_divisor, metavar="R,G,B", help="Divided by, in its range.")]
Multiple = Annotated[int | None, typer.Option(min=1, max=256, help="Its height and width must be multiples of this.")]
Vgg = Annotated[Path | None, typer.Option(help="Normalized VGG of an AdaIN decoder.")]
Styles = Annotated[
    list[Weighted] | None,
    typer.Option(
        "--style", parser=parse_weighted, metavar="PICTURE[:WEIGHT]", help="Style to bake into AdaIN; repeatable."
    ),
]
Alpha = Annotated[float, typer.Option(min=0.0, max=1.0, help="AdaIN: 0 keeps the content, 1 is the full style.")]
Res = Annotated[
    Size | None, typer.Option(parser=Size.parse, metavar="SIZE", help="512, or HEIGHTxWIDTH such as 480x640.")
]


def net_options(
    arch: str | None,
    input_range: ValueRange | None,
    output_range: ValueRange | None,
    mean: Triple | None,
    std: Triple | None,
    multiple: int | None,
    vgg: Path | None,
    style: list[Weighted] | None,
    alpha: float,
) -> dict[str, Any]:
    """The keyword arguments that `nets.load_net` and ExportSpec have in common."""
    convention: Convention | None = None
    if input_range or output_range or mean or std:
        from nstopt.nets import Convention

        if input_range is None:
            raise typer.BadParameter("--output-range, --mean and --std need --input-range: they are in its units")
        convention = Convention(input_range, mean or (0.0,) * 3, std or (1.0,) * 3, output_range or input_range)
    return {
        "arch": arch,
        "convention": convention,
        "multiple": multiple,
        "vgg": vgg,
        "styles": tuple(style or ()),
        "alpha": alpha,
    }
