"""A run against its baseline: only what is slower beyond the noise is a regression."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made import MakeRecord, MakeRun

from nstopt.errors import NstoptError
from nstopt.report.regression import changes
from nstopt.runs.record import Record


def noisy(scale: float, seed: int) -> tuple[float, ...]:
    return tuple(scale * np.random.default_rng(seed).lognormal(0, 0.03, 30))


@pytest.mark.parametrize(("now_ms", "is_regression"), [(10.0, False), (10.3, False), (12.0, True), (8.0, False)])
def test_slower_beyond_noise_and_tolerance(
    now_ms: float, is_regression: bool, make_record: MakeRecord, make_run: MakeRun
) -> None:
    old, new = make_run(make_record(noisy(10.0, 0))), make_run(make_record(noisy(now_ms, 1), sha256="b" * 64))
    (change,) = changes(old, new)
    assert change.slowdown.value == pytest.approx(now_ms / 10, rel=0.03)
    assert change.is_regression(0.05) is is_regression


def test_a_wide_spread_is_no_regression(make_record: MakeRecord, make_run: MakeRun) -> None:
    old = make_run(make_record((8.0, 12.0) * 3))
    new = make_run(make_record((7.0, 18.0) * 3))
    (change,) = changes(old, new)
    assert change.slowdown.value > 1.2
    assert not change.is_regression(0.05)


def test_cases_of_one_run_only_are_left_out(make_record: MakeRecord, make_run: MakeRun) -> None:
    both, added = make_record(), make_record(label="new.nst")
    assert [change.new.label for change in changes(make_run(both), make_run(both, added))] == [both.label]
    with pytest.raises(NstoptError, match="the baseline has none of this run's cases"):
        changes(make_run(added), make_run(both))


def test_a_peer_is_compared_with_itself_on_the_same_net(make_record: MakeRecord, make_run: MakeRun) -> None:
    def peer(net: str, ms: float) -> Record:
        return make_record((ms,) * 30, label="torch eager", is_peer=True, net=net, net_sha256=net * 64)

    old = make_run(peer("a", 10.0), peer("b", 50.0))
    assert [change.slowdown.value for change in changes(old, make_run(peer("a", 10.0)))] == [1.0]
    with pytest.raises(NstoptError, match="the baseline has none of this run's cases"):
        changes(old, make_run(peer("c", 10.0)))


def test_another_file_of_the_net_is_refused(make_record: MakeRecord, make_run: MakeRun) -> None:
    with pytest.raises(NstoptError, match=r"the baseline's wave was another file \(sha256 c{12}…, here b{12}…\)"):
        changes(make_run(make_record(net_sha256="c" * 64)), make_run(make_record()))


def test_another_machine_or_input_is_refused(make_record: MakeRecord, make_run: MakeRun) -> None:
    here = make_record()
    there: Record = msgspec.structs.replace(here, machine=msgspec.structs.replace(here.machine, cpu="B CPU", cores=64))
    with pytest.raises(NstoptError, match="measured on B CPU with 64 cores, this run on A CPU with 2"):
        changes(make_run(there), make_run(here))
    with pytest.raises(NstoptError, match=r"timed on fox.png, this run on noise"):
        changes(make_run(make_record(input="fox.png")), make_run(here))
