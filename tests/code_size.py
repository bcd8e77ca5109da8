"""Print how large the code's functions, files and rooms are:  python tests/code_size.py [CHECKOUT]"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from pathlib import Path


def function_lines(path: Path) -> list[int]:
    """Lines of each function and method of a module, decorators left out."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)]
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes]


def main(checkout: Path) -> None:
    """Print one line of figures for the package in `checkout`."""
    files = sorted((checkout / "nstopt").rglob("*.py"))
    lines = sorted(count for file in files for count in function_lines(file))
    sizes = {file.relative_to(checkout / "nstopt"): len(file.read_text().splitlines()) for file in files}
    rooms: Counter[str] = Counter()
    for file, count in sizes.items():
        rooms[file.parts[0] if len(file.parts) > 1 else "the root"] += count
    p90 = statistics.quantiles(lines, n=10)[-1]
    (room, most), (largest, length) = rooms.most_common(1)[0], max(sizes.items(), key=lambda item: item[1])
    at_root = sum(len(file.parts) == 1 for file in sizes)
    print(
        f"{len(lines)} functions: median {statistics.median(lines):g} lines, p90 {p90:g}, longest {lines[-1]}; "
        f"largest room {room} ({most} lines), largest file {largest} ({length} lines); {at_root} modules at the root"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
