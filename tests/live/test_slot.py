"""Slots and channels: the newest item for each reader."""

from __future__ import annotations

import threading

import pytest

from nstopt.live.slot import Broadcast, ClosedError, Slot


def test_a_slot_holds_the_newest_item_and_counts_the_others() -> None:
    slot: Slot[int] = Slot()
    for item in range(5):
        slot.put(item)
    assert (slot.take(), slot.dropped) == (4, 4)
    assert slot.take(timeout_s=0) is None


def test_closing_wakes_a_reader() -> None:
    slot: Slot[int] = Slot()
    woken = threading.Event()

    def read() -> None:
        with pytest.raises(ClosedError):
            slot.take()
        woken.set()

    reader = threading.Thread(target=read)
    reader.start()
    slot.close()
    reader.join()
    assert woken.is_set()
    slot.put(1)
    with pytest.raises(ClosedError):
        slot.take()


def test_a_reader_of_a_channel_that_stops_reading_holds_up_nobody() -> None:
    channel: Broadcast[int] = Broadcast()
    told: list[str] = []
    with channel.subscribe() as idle, channel.subscribe(lambda: told.append("came")) as busy:
        for item in range(3):
            channel.publish(item)
            assert busy.take() == item
        assert (idle.take(), idle.dropped, busy.dropped) == (2, 2, 0)
    assert told[:3] == ["came"] * 3
    channel.publish(9)
    assert channel.latest == 9
    with pytest.raises(ClosedError):
        busy.take()


def test_a_closed_channel_closes_late_readers_too() -> None:
    channel: Broadcast[int] = Broadcast()
    channel.close()
    with channel.subscribe() as slot, pytest.raises(ClosedError):
        slot.take()
