"""Kills, full disks and rivals: `python -m faults --kills 100`, in the folder tests. It takes minutes.

Each command is ended by KILL, TERM or INT at a random moment, run where files or disks end after some bytes or are read
only, and twice at once on one output. Afterwards its output is the old one, the new one or none, and the command still
works.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from .attempts import has_small_disks, killed, long_files, run, small_disk, sound, twice, written_bytes
from .commands import COMMANDS, OUT, Command, bits, prepare

# Python installs its handler of Ctrl-C, and nstopt its own, in the first moments of a process.
STARTED = 0.4
FILE_BYTES = (0, 1, 500, 4000, 20_000)
DISKS = 4
PAGE = 4096


def main() -> int:
    """Print what was tried and what ended badly. Return 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m faults")
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS), help="some of them, with commas between")
    given = parser.parse_args()
    chosen = {name: COMMANDS[name] for name in given.commands.split(",")}
    kills = -(-given.kills // max(1, sum(command.is_killed for command in chosen.values())))
    tried = bad = 0
    if not has_small_disks():
        print("no small and no read-only disks: this user may not mount in a name space of its own")
    with tempfile.TemporaryDirectory(prefix="nstopt-faults-") as folder:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str(Path("cache").resolve())
        prepare()
        run([sys.executable, "-m", "nstopt", "export", "net.pth", "-o", "net.onnx"])
        for name, command in chosen.items():
            ends = list(tries(command, kills, Random(f"{given.seed} {name}")))
            wrong = [f"{kind}: {what}" for kind, what in ends if what]
            tried, bad = tried + len(ends), bad + len(wrong)
            kinds = [kind for kind, _ in ends]
            counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
            print(f"{name}: {len(ends)} tried ({counts}), {len(wrong)} ended badly", *wrong, sep="\n  ", flush=True)
    print(f"{tried} tried, {bad} ended badly")
    return int(bad > 0)


def tries(command: Command, kills: int, random: Random) -> Iterator[tuple[str, str]]:
    """Yield the kind of each attempt, and what is wrong with its ending, or ""."""
    begin = time.monotonic()
    wrong = sound(command)
    yield "sound", wrong
    if wrong:
        return
    seconds, written = time.monotonic() - begin, written_bytes()
    expected = bits(OUT / command.resumed) if command.resumed else None
    for _ in range(kills if command.is_killed else 0):
        if command.resumed or not command.overwrites:
            shutil.rmtree(OUT, ignore_errors=True)
        by = random.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        yield "kill", killed(command, random.uniform(STARTED, seconds), by, expected)
    for after in FILE_BYTES:
        shutil.rmtree(OUT, ignore_errors=True)
        yield "long file", long_files(command, after)
    if has_small_disks():
        for part in range(DISKS):
            shutil.rmtree(OUT, ignore_errors=True)
            yield "full disk", small_disk(command, str(PAGE * (1 + written * part // DISKS // PAGE)))
        shutil.rmtree(OUT, ignore_errors=True)
        yield "read-only disk", small_disk(command, str(PAGE), "ro")
    shutil.rmtree(OUT, ignore_errors=True)
    yield "twice", twice(command)
    shutil.rmtree(OUT, ignore_errors=True)
    yield "again", sound(command)


if __name__ == "__main__":
    raise SystemExit(main())
