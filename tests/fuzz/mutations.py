"""Seeded mutations of bytes, of JSON and of ZIP archives."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF, ord('"'), ord("-"), ord("\n"))
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 17, 2**31, 2**63, 10**20, -1e-9, 1e308, 0.5),
    *("", ".", "..", "../../EVIL", "/etc/passwd", "a\u0000b", "\u001b[31m", "[/x]", "$\\frac{", "é漢😀", "x" * 5000),
    *([], {}, [[]], [1, 2, 3], {"a": 1}),
)
DEEP = 3000


def mutate_bytes(raw: bytes, random: Random) -> bytes:
    """Return `raw` with one to four changes: bits and bytes, parts cut out, doubled, moved, or emptied."""
    data = bytearray(raw)
    for _ in range(random.randint(1, 4)):
        # Headers decide most: half of the changes are among the first bytes.
        end = len(data) if random.random() < 0.5 else min(len(data), 400)
        begin = random.randrange(max(end, 1))
        length = random.choice((1, 2, 4, 8, 64, 1000))
        random.choice(CHANGES)(data, begin, length, random)
    return bytes(data)


def _flip(data: bytearray, begin: int, length: int, random: Random) -> None:
    for place in range(begin, min(begin + length, begin + 8, len(data))):
        data[place] ^= 1 << random.randrange(8)


def _overwrite(data: bytearray, begin: int, length: int, random: Random) -> None:
    data[begin : begin + length] = bytes([random.choice(BYTES)]) * len(data[begin : begin + length])


def _cut(data: bytearray, begin: int, length: int, random: Random) -> None:
    del data[begin : begin + length]


def _truncate(data: bytearray, begin: int, length: int, random: Random) -> None:
    del data[begin:]


def _double(data: bytearray, begin: int, length: int, random: Random) -> None:
    data[begin:begin] = data[begin : begin + length]


def _move(data: bytearray, begin: int, length: int, random: Random) -> None:
    part = data[begin : begin + length]
    del data[begin : begin + length]
    place = random.randrange(len(data) + 1)
    data[place:place] = part


Change = Callable[[bytearray, int, int, Random], None]
CHANGES: tuple[Change, ...] = (
    _flip,
    _overwrite,
    _cut,
    _truncate,
    _double,
    _move,
)


def mutate_json(raw: bytes, random: Random) -> bytes:
    """Return JSON with one or two values replaced or left out; now and then nested deeply, or no JSON any more."""
    if random.random() < 0.1:
        return mutate_bytes(raw, random)
    root = {"root": json.loads(raw)}
    for _ in range(random.randint(1, 2)):
        holder, key = random.choice(_places(root))
        if random.random() < 0.15:
            del holder[key]
        else:
            holder[key] = random.choice(VALUES)
        if "root" not in root:
            return b""
    text = json.dumps(root["root"])
    return (text.replace("null", "[" * DEEP + "]" * DEEP, 1) if random.random() < 0.03 else text).encode()


def mutate_zip(raw: bytes, random: Random) -> bytes:
    """Return a ZIP archive with one or two of its files changed, emptied, left out, or in it twice, all with sums that
    are right; now and then one with changed bytes."""
    if random.random() < 0.1:
        return mutate_bytes(raw, random)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(files))
        name, content = files[place]
        change = random.random()
        if change < 0.7:
            files[place] = (
                name,
                mutate_json(content, random) if name.endswith(".json") else mutate_bytes(content, random),
            )
        elif change < 0.8:
            files[place] = name, b""
        elif change < 0.9 and len(files) > 1:
            del files[place]
        else:
            files.append((random.choice(files)[0], content))
    changed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(changed, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # two files of one name
        for name, content in files:
            archive.writestr(name, content)
    return changed.getvalue()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return all (container, key) pairs in a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *_places(value[key]))]
