"""Run by nets/__init__.py in a process of its own: loads a net that is a program, and runs it on a gray picture.

An exception says nothing against the program: the parent will meet it too, and explain it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from nstopt.nets import custom
from nstopt.trial import on_trial

SIDE = 64


def main(path: str, arch: str) -> None:
    """Load the program at `path`, or the class `arch` for it, and run it."""
    with on_trial():
        module = custom.load_program(Path(path), arch or None)
        with torch.inference_mode():
            module(torch.full((1, 3, SIDE, SIDE), 0.5))


if __name__ == "__main__":
    main(*sys.argv[1:])
