"""Tries nstopt on the GPU of this machine, and packs everything that tells how it went into one archive. Run by

    make gpu

or by `python tests/on_gpu/kit.py FOLDER` in an environment that has nstopt with its extras `gpu` (or `pascal`) and
`dev`. Each step is a process with a log and a time limit of its own; a step that fails stops no other. The archive
holds a summary page, a page of all benches, all logs, the manifests, build logs, layer reports and graphs of the
engines, what failed builds left, run files and pictures; it holds no plan.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "nstopt" / "samples"
NET = SAMPLES / "johnson_starry.safetensors"
SIZES = ("256", "512", "720x1280", "1080x1920")
PEERS = ("torch-cuda", "torch-cuda-fp16", "torch-compile-cuda", "tensorrt-raw")
FIRST_SIZE = "512"
MINUTE = 60
LEFT_OUT = (".plan", ".timing")
CACHE = "cache"
TAIL_LINES = 12
# Characters of a log's last line in the table of steps.
MAX_NOTE = 100


class Step(NamedTuple):
    """A command and the seconds that it may take. Its log is NAME.log."""

    name: str
    command: tuple[str, ...]
    limit_s: int = 30 * MINUTE


class Done(NamedTuple):
    """A step that has ended: `status` is its exit status, None if it ran out of time."""

    step: Step
    status: int | None
    seconds: float

    @property
    def verdict(self) -> str:
        if self.status is None:
            return f"stopped after {self.step.limit_s // MINUTE} minutes"
        return "ok" if self.status == 0 else f"failed ({self.status})"


def nstopt(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "nstopt", *arguments)


def steps(precisions: Sequence[str], peers: Sequence[str], sizes: Sequence[str] = SIZES) -> Iterator[Step]:
    """Yield the steps, the most telling first."""
    yield Step("nvidia-smi", ("nvidia-smi", "-q"), MINUTE)
    yield Step("packages", (sys.executable, "-m", "pip", "list"), MINUTE)
    yield Step("doctor", nstopt("doctor"), MINUTE)
    yield Step("smoke", nstopt("doctor", "--smoke"), 10 * MINUTE)
    tests = ("-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(ROOT / "tests" / "on_gpu"))
    yield Step("tests", (sys.executable, *tests, "-rs"))
    for precision in precisions:
        for size in sizes:
            layers = ("--layers",) if size == FIRST_SIZE else ()
            yield Step(f"bench-{precision}-{size}", bench(str(NET), precision, size, *layers))
    for precision in precisions:
        yield Step(f"tune-{precision}", tune(NET.stem, precision, FIRST_SIZE))
    for peer in peers:
        yield Step(f"peer-{peer}", bench(str(NET), ",".join(precisions), FIRST_SIZE, "--compare", peer))
    for precision in precisions:
        bundle = f"nstopt-out/{NET.stem}-{FIRST_SIZE}x{FIRST_SIZE}-{precision}-tensorrt.nst"
        shown = ("--before-after", f"{precision}.png")
        yield Step(f"picture-{precision}", nstopt("stylize", bundle, *shown), 5 * MINUTE)


def bench(net: str, precisions: str, size: str, *more: str) -> tuple[str, ...]:
    return nstopt("bench", net, "--backend", "tensorrt", "--precision", precisions, "--res", size, *more)


def tune(net: str, precision: str, size: str) -> tuple[str, ...]:
    options = (f"--{part}" for part in precision.split("-") if part != "fp32")
    export = f"nstopt-out/{net}.onnx"  # which the benches have left
    return nstopt("build-engine", export, "--backend", "tensorrt", "--res", size, "--tune", *options)


def run(step: Step, folder: Path) -> Done:
    """Run a step in `folder`, its output going to the log and to the terminal's last line."""
    print(f"{step.name} …", flush=True)
    own_cache = {**os.environ, "XDG_CACHE_HOME": str(folder / CACHE)}  # what builds leave there is packed too
    begin = time.monotonic()
    status: int | None
    with (folder / f"{step.name}.log").open("w") as log:
        log.write(f"$ {' '.join(step.command)}\n")
        log.flush()
        try:
            status = subprocess.run(
                step.command,
                cwd=folder,
                env=own_cache,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=step.limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
        except OSError as error:
            log.write(f"{error}\n")
            status = 127
    done = Done(step, status, time.monotonic() - begin)
    print(f"{step.name}: {done.verdict}, {done.seconds:.0f} s", flush=True)
    return done


def summary(folder: Path, steps_done: Sequence[Done]) -> str:
    """Return the summary page, in Markdown."""
    failed = [one.step.name for one in steps_done if one.status != 0]
    state = f"{len(failed)} of {len(steps_done)} steps failed: {', '.join(failed)}" if failed else "all steps passed"
    lines = ["# nstopt on a GPU", "", f"State: {state}.", "", _log(folder, "doctor"), "", "## Steps"]
    lines += _table("step | | s | last line of the log", (_step_row(folder, one) for one in steps_done))
    lines += ["", "## Smoke test", "", _log(folder, "smoke")]
    lines += [
        "",
        "## Engines",
        *_table("engine | ms (p50) | computes | not as the graph | dB mean | worst", _engines(folder)),
    ]
    lines += ["", "## Chosen by --tune", *_table("engine | layer | form | ms of each form", _tuned(folder))]
    lines += ["", "## All times", *_table("size | engine or peer | ms (p50)", _runs(folder))]
    for one in steps_done:
        if one.status != 0:
            lines += ["", f"## {one.step.name}: {one.verdict}", "", _log(folder, one.step.name, TAIL_LINES)]
    return "\n".join(lines) + "\n"


def _table(heads: str, rows: Iterator[str]) -> list[str]:
    """Return the lines of a table; of a sentence where it has no row."""
    found = [f"| {row} |" for row in rows]
    rule = "---|" * len(heads.split("|"))
    return ["", f"| {heads} |", f"|{rule}", *found] if found else ["", "None: no step got so far."]


def _step_row(folder: Path, done: Done) -> str:
    """A pipe in a log's line would end the cell."""
    (last,) = _lines(folder, done.step.name)[-1:] or [""]
    return f"{done.step.name} | {done.verdict} | {done.seconds:.0f} | {last[:MAX_NOTE].replace('|', '/')}"


def _lines(folder: Path, name: str) -> list[str]:
    file = folder / f"{name}.log"
    text = file.read_text(errors="replace").splitlines()[1:] if file.is_file() else ["not run"]
    return [line for line in text if line.strip()]


def _log(folder: Path, name: str, last: int = 0) -> str:
    """Return the last lines of a log, all if `last` is 0."""
    return "\n".join(["```", *_lines(folder, name)[-last:], "```"])


def _manifests(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.glob("nstopt-out/*.nst/manifest.json")):
        yield file.parent.name, json.loads(file.read_text())


def _engines(folder: Path) -> Iterator[str]:
    times = {one["label"]: one["latency_ms"]["p50"] for one in _records(folder) if not one["is_peer"]}
    for name, manifest in _manifests(folder):
        precision, quality = manifest["precision"], manifest.get("quality") or {}
        ms = f"{times[name]:.2f}" if name in times else "–"
        differences = "; ".join(precision.get("differences", [])) or "–"
        db = " | ".join(f"{quality.get(key, float('nan')):.1f}" for key in ("psnr_db_mean", "psnr_db_worst"))
        yield f"{name} | {ms} | {precision['computes']} | {differences} | {db}"


def _tuned(folder: Path) -> Iterator[str]:
    for name, manifest in _manifests(folder):
        for one in manifest.get("tuning", ()):
            times = ", ".join(f"{form} {ms:.3f}" for form, ms in one["latency_ms"].items())
            yield f"{name} | {one['layer']} | {one['form']} | {times}"


def _runs(folder: Path) -> Iterator[str]:
    for one in _records(folder):
        yield f"{one['height']}x{one['width']} | {one['label']} | {one['latency_ms']['p50']:.2f}"


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("nstopt-out/bench-*.json")):
        yield from json.loads(file.read_text()).get("records", [])


def pack(folder: Path) -> Path:
    """Pack everything in `folder` except plans, timing caches, and what other programs than nstopt have cached; return
    the archive, which lies beside it."""
    archive = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder)
            is_foreign = name.parts[0] == CACHE and name.parts[1:2] != ("nstopt",)
            if file.is_file() and file.suffix not in LEFT_OUT and not is_foreign:
                packed.add(file, f"{folder.name}/{name}")
    return archive


def fast_precisions() -> list[str]:
    """Return the precisions that are worth building on the GPU of this machine."""
    from nstopt.engines.tensorrt import BACKEND
    from nstopt.precisions import PRECISIONS

    return [one for one in PRECISIONS if one in BACKEND.capabilities.precisions and BACKEND.is_native(one)] or ["fp32"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="where to work; the archive is written beside it")
    parser.add_argument("--precisions", default="", help="such as fp32,int8; default: those that are fast here")
    parser.add_argument("--peers", default=",".join(PEERS), help="peers of nstopt bench to compare with")
    parser.add_argument("--sizes", default=",".join(SIZES))
    given = parser.parse_args(arguments)
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # what failed builds leave comes into the archive
    precisions, peers, sizes = (
        list(filter(None, text.split(","))) for text in (given.precisions, given.peers, given.sizes)
    )
    done = [run(step, folder) for step in steps(precisions or fast_precisions(), peers, sizes)]
    if runs := sorted(map(str, folder.glob("nstopt-out/bench-*.json"))):
        done.append(run(Step("report", nstopt("report", *runs, "--output", "report.html"), 5 * MINUTE), folder))
    (folder / "summary.md").write_text(summary(folder, done))
    failed = [one.step.name for one in done if one.status != 0]
    print(f"summary: {folder / 'summary.md'}\narchive: {pack(folder)}")
    print(f"failed: {', '.join(failed)}" if failed else "all steps passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
