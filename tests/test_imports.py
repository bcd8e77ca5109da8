"""The order of the rooms: a module imports from its own room and from those to its left, at any depth of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nstopt

ROOT = Path(nstopt.__file__).parent
# Left to right: what docs/design.md draws.
ORDER = (
    *("errors", "extras", "progress", "precisions", "files", "limits", "trial"),
    *("pictures", "gpu", "manifest", "bundle", "samples", "ort"),
    *("nets", "export", "graph", "calib", "engines", "pipeline", "strips"),
    *("media", "video", "cluster", "live", "package", "runs", "projection", "bench", "report", "train", "cli"),
)
# They hand out names of every room, and run the commands.
TOP = {"__init__", "__main__"}


def modules() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        if path.parent != ROOT or path.stem not in TOP:
            yield path


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a module imports from, inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("nstopt.")}
    return found & set(ORDER)


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_from_its_left(path: Path) -> None:
    own = ORDER.index(room(path))
    back = {name for name in imported(path) if ORDER.index(name) > own}
    assert not back, f"{path.relative_to(ROOT)} imports from rooms to its right: {', '.join(sorted(back))}"
