from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from nstopt.strips.layout import divide

alignments = st.sampled_from([1, 4, 8, 12])


@given(st.integers(16, 3000), st.integers(1, 60), st.integers(0, 5), st.integers(0, 5), alignments)
@settings(derandomize=True, database=None)
def test_strips_cover_a_picture(height: int, rows: int, before: int, after: int, alignment: int) -> None:
    wanted, before, after = rows * alignment, before * alignment, after * alignment
    strips = divide(height, wanted, before, after, alignment)
    assert strips[0].first == 0
    assert strips[-1].last == strips[-1].end == height
    for one, following in itertools.pairwise(strips):
        assert one.last == following.first
    for one in strips:
        assert one.begin % alignment == 0
        assert 0 <= one.begin <= one.first < one.last <= one.end <= height
        assert one.begin == 0 or one.first - one.begin >= before
        assert one.end == height or (one.end - one.last >= after and one.last % alignment == 0)
        assert one.end - one.begin < max(wanted, before + after + alignment) + alignment


def test_strips_of_one_height() -> None:
    assert len({one.end - one.begin for one in divide(4096, 600, 8, 4, 4)}) == 1


def test_a_picture_that_fits() -> None:
    assert divide(300, 300, 8, 8, 4) == ((0, 300, 0, 300),)
