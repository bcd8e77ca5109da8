"""Compare two runs of the same cases, to find those that became slower beyond the noise. For continuous integration.

A case is slower if the whole confidence interval of new over old time lies above 1 + tolerance. The interval (see
ratios.py) covers the noise within either run. The tolerance covers differences between two runs on the same machine,
which one run of each cannot show.
"""

from __future__ import annotations

from typing import NamedTuple

from nstopt.errors import NstoptError
from nstopt.report.ratios import Ratio, speedup
from nstopt.runs.record import Record
from nstopt.runs.run_file import RunFile

DEFAULT_TOLERANCE = 0.05


class Change(NamedTuple):
    """A case of both runs. `slowdown` is new time over old time, with its 95% confidence interval."""

    old: Record
    new: Record
    slowdown: Ratio

    def is_regression(self, tolerance: float) -> bool:
        return self.slowdown.low > 1 + tolerance


def changes(old: RunFile, new: RunFile) -> list[Change]:
    """Compare the cases that both runs have: same net, label, size and batch, even if the engine was rebuilt.

    Raises NstoptError if there is none, or if machines, inputs or files of a net differ, since such a comparison says
    nothing about the code.
    """
    before = {_name(record): record for record in old.records}
    pairs = [(before[_name(record)], record) for record in new.records if _name(record) in before]
    if not pairs:
        raise NstoptError("the baseline has none of this run's cases: name a run of the same nets, sizes and batches")
    for was, now in pairs:
        here, there = ((m.cpu, m.cores, m.gpus) for m in (now.machine, was.machine))
        if here != there:
            raise NstoptError(
                f"the baseline was measured on {was.machine.cpu} with {was.machine.cores} cores, "
                f"this run on {now.machine.cpu} with {now.machine.cores}: bench the old version here first"
            )
        if was.net_sha256 != now.net_sha256:
            raise NstoptError(
                f"the baseline's {was.net} was another file (sha256 {was.net_sha256[:12]}…, here "
                f"{now.net_sha256[:12]}…): bench that file, or make a new baseline"
            )
        if was.input != now.input:
            raise NstoptError(f"the baseline was timed on {was.input}, this run on {now.input}: give the same --image")
    return [Change(was, now, speedup(was, now, same_run=False)) for was, now in pairs]


def _name(record: Record) -> tuple[str, str, int, int, int]:
    """Identity across runs. It includes the net, since peers have the same label for every net."""
    return (record.net, record.label, record.height, record.width, record.batch)
