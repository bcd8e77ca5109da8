"""Run by test_bundle.py, as `python -m faults.killed_builds BUNDLE`.

Builds the bundle again and again, each time in a child that is killed one file operation later, and looks at what is
left. Prints the number of kills."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from test_bundle import VERSIONS, build_version

from nstopt.bundle import open_bundle

WATCHED = ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "shutil.rmtree", "ctypes.dlsym")


def build_until(operation: int, path: Path, version: str) -> bool:
    """Build in a child process that is killed at its file operation of that number; return True if it ended before."""
    child = os.fork()
    if child == 0:
        left = operation

        def count(event: str, _: tuple[object, ...]) -> None:
            nonlocal left
            if event in WATCHED:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        build_version(path, version)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status)


def main(path: Path) -> int:
    """Nothing there before, then version a there: at every kill it is that, or all of version b."""
    kills = 0
    while not build_until(kills, path, "a"):
        assert not path.exists() or open_bundle(path).manifest.net.name == "a"
        kills += 1
    seen = set()
    again = 0
    while True:
        ended = build_until(again, path, "b")
        name = open_bundle(path).manifest.net.name
        assert (path / "model.bin").read_bytes() == VERSIONS[name]
        seen.add(name)
        if ended:
            break
        build_version(path, "a")
        again += 1
    assert seen == {"a", "b"}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return kills + again


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
