"""What arrives from a page: every value is checked."""

from __future__ import annotations

import msgspec
import pytest

from nstopt.errors import NstoptError
from nstopt.live.controls import Change, Controls, changed, unique_names
from nstopt.live.page.messages import MAX_BYTES, Offer, decode

ANY_SIZE = {"a": True, "b": False}


@pytest.mark.parametrize("text", [
    "", "[]", "null", "{}", '{"type":"other"}', '{"type":"change","strength":1.01}', '{"type":"change","split":-0.1}',
    '{"type":"change","split":"0.5"}', '{"type":"change","fps":0}', '{"type":"change","fps":1e9}',
    '{"type":"change","scale":0.01}', '{"type":"change","style":null}', '{"type":"change","extra":1}',
    '{"type":"change","strength":NaN}', '{"type":"record","on":"yes"}', '{"type":"offer","sdp":"v=0"}',
    '{"type":"offer","sdp":"v=0","camera":"/dev/video0"}', '{"type":"ping","sent":"now"}',
    '{"type":"offer","camera":"here","sdp":"' + "x" * (MAX_BYTES + 1) + '"}',
])  # fmt: skip
def test_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(text)


def test_what_fits_is_read() -> None:
    assert decode('{"type":"change","strength":0.5,"fps":null}') == Change(strength=0.5, fps=None)
    assert decode('{"type":"offer","sdp":"v=0","camera":"here"}') == Offer("v=0", "here")


def test_only_what_is_given_changes() -> None:
    before = Controls("a", strength=0.3, fps=30.0)
    assert changed(before, Change(split=0.5), ANY_SIZE) == Controls("a", strength=0.3, split=0.5, fps=30.0)
    assert changed(before, Change(fps=None), ANY_SIZE).fps is None


def test_unknown_styles_and_fixed_sizes_are_refused() -> None:
    with pytest.raises(NstoptError, match="no style 'c'; there are: a, b"):
        changed(Controls("a"), Change(style="c"), ANY_SIZE)
    for change in (Change(fps=30.0), Change(scale=0.5)):
        with pytest.raises(NstoptError, match="b has an engine of fixed size"):
            changed(Controls("b"), change, ANY_SIZE)


def test_names_of_styles_are_unique() -> None:
    assert unique_names(["wave", "udnie", "wave", "wave"]) == ["wave", "udnie", "wave 2", "wave 3"]
