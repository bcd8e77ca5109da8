"""Ranges of what a file from outside may state: types for the fields of msgspec structs.

JSON has neither NaN nor infinity, but it has numbers of any length: a field without a range would take them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# A name becomes part of file names. So it is never a path, and has no character that a terminal would obey.
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A(?!\.{1,2}\Z)[^/\x00-\x1f\x7f-\x9f]+\Z")]
Text = Annotated[str, Meta(max_length=20_000, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]

Batch = Annotated[int, Meta(ge=1, le=4096)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Side = Annotated[int, Meta(ge=1, le=1 << 16)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]

Decibels = Annotated[float, Meta(ge=0, le=100)]
Ssim = Annotated[float, Meta(ge=-1, le=1)]
Duration = Annotated[float, Meta(ge=0, le=1e9)]  # milliseconds
Latency = Annotated[float, Meta(ge=1e-6, le=1e9)]  # milliseconds of work, never nothing
Rate = Annotated[float, Meta(ge=1e-9, le=1e18)]  # pictures, multiplications or bytes a time
Mebibytes = Annotated[float, Meta(ge=0, le=1e9)]
Reading = Annotated[float, Meta(ge=-1e9, le=1e9)]  # of a sensor
