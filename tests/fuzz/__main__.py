"""Try changed input at every door: `python -m fuzz --help`, in the folder tests.

A process of its own that has run no engine: what it forks has no threads of a runtime to wait for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from nstopt import trial

from .attempts import attempt, forked
from .kinds import KINDS, Kind, changed, copied, replaced

FOUND = Path(__file__).parent / "found"


def main() -> int:
    """Print how many inputs of each kind were tried, and what ended badly. Return 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long; default: SEEDS once")
    parser.add_argument("--seeds", type=int, default=20, help="inputs of a kind in a round")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of the kinds, with commas between")
    parser.add_argument("--keep", action="store_true", help=f"keep what ends badly in {FOUND.name}/, as a test case")
    given = parser.parse_args()
    kinds = {name: KINDS[name] for name in given.kinds.split(",")}
    tried, bad = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    trial.in_a_process = forked
    with tempfile.TemporaryDirectory(prefix="nstopt-fuzz-") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        for kind in kinds.values():
            kind.warm()
        sound = {name: _example(kind, Path(folder) / name) for name, kind in kinds.items()}
        bad_before = _again(sound, Path(folder)) if given.seconds == 0 else 0
        end = time.monotonic() + given.seconds
        for start in count(given.first, given.seeds):
            for name, kind in kinds.items():
                for seed in range(start, start + given.seeds):
                    path = changed(kind, sound[name], Path(folder) / "changed", seed)
                    wrong = attempt(partial(kind.enter, path))
                    tried[name] += 1
                    if wrong:
                        bad[name] += 1
                        print(f"{name} seed {seed}: {wrong}", flush=True)
                        if given.keep:
                            _keep(name, path)
            if time.monotonic() >= end:
                break
    for name in kinds:
        print(f"{name}: {tried[name]} tried, {bad[name]} ended badly")
    return int(any(bad.values()) or bad_before > 0)


def _example(kind: Kind, folder: Path) -> Path:
    """Write a sound example, in a child process, and check that its door takes it."""
    folder.mkdir()
    name = folder.with_suffix(".name")

    def make() -> None:
        path = kind.make(folder)
        kind.before(path)
        name.write_text(str(path))

    for step in (make, lambda: kind.enter(Path(name.read_text()))):
        _require(step, f"a sound example of {folder.name}")
    return Path(name.read_text())


def _require(step: Callable[[], object], what: str) -> None:
    if wrong := attempt(step):
        raise SystemExit(f"{what}: {wrong}")


def _again(sound: dict[str, Path], folder: Path) -> int:
    """Try what once ended badly; print and count what still does."""
    bad = 0
    for found in sorted(FOUND.glob("*")):
        name = found.name.partition("-")[0]
        if name in sound:
            path = copied(KINDS[name], sound[name], folder / "changed")
            replaced(KINDS[name], path, found.read_bytes())
            if wrong := attempt(partial(KINDS[name].enter, path)):
                bad += 1
                print(f"{found.name}: {wrong}")
    return bad


def _keep(name: str, path: Path) -> None:
    FOUND.mkdir(exist_ok=True)
    content = path.read_bytes()
    (FOUND / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}").write_bytes(content)


if __name__ == "__main__":
    raise SystemExit(main())
