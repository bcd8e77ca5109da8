"""Work ahead: in order, at the same time, and no further than was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nstopt.media.ahead import map_ahead


def test_results_come_in_order_and_items_are_taken_when_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        results = map_ahead(pool, lambda number: number * number, items(), 3)
        assert (next(results), len(taken)) == (0, 4)
        assert (next(results), len(taken)) == (1, 5)
        assert list(results) == [4, 9, 16, 25, 36, 49, 64]


def test_the_next_item_is_worked_on_meanwhile() -> None:
    second = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, lambda number: second.set() if number else second.wait(10), range(2), 1)
        assert next(results)  # the first waits for the second


def test_an_error_is_raised_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, lambda number: 1 // number, [1, 0], 2)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
