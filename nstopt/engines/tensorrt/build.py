"""Starts the build process, shows its progress, and kills it if the build is interrupted. A build that fails leaves
its evidence."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from nstopt.engines.tensorrt.built_types import BuiltTypes, compare
from nstopt.engines.tensorrt.messages import Answer, BuildRequest, Failed, Finished, GraphInfo, Phase
from nstopt.errors import BuildError
from nstopt.files import atomic_path, make_folder
from nstopt.progress import Progress

WORKER = "nstopt.engines.tensorrt.worker"
BUNDLE_FILES = ("engine.plan", "layers.json", "build.log", "graph.json", "graph.onnx")


class Plan(NamedTuple):
    """A plan that was built: TensorRT's version, and the types that the plan computes in."""

    version: str
    types: BuiltTypes


def build_plan(
    request: BuildRequest, folder: Path, timing_cache: Path, progress: Progress, evidence: Path | None = None
) -> Plan:
    """Build the plan of `request` and write BUNDLE_FILES into `folder`. The updated timing cache replaces the file
    `timing_cache`. Raises BuildError if the build fails, or if the plan does not run; the model, build.log and, if it
    was written, layers.json are then left in the folder `evidence`. After any other exception, KeyboardInterrupt
    included, no file of the build is left."""
    with tempfile.TemporaryDirectory(prefix="nstopt-", dir=folder) as temporary:
        work = Path(temporary)
        request = msgspec.structs.replace(request, folder=temporary)
        (work / "request.json").write_bytes(msgspec.json.encode(request))
        with _leaving(evidence, Path(request.model), work):
            version = run([sys.executable, "-m", WORKER, str(work / "request.json")], progress)
        (work / "graph.json").write_bytes(msgspec.json.encode(GraphInfo({}, request.graph.convolutions)))
        types = compare(request.graph, (work / "layers.json").read_text(), request.precision, request.tf32)
        shutil.copyfile(request.model, work / "graph.onnx")
        for name in BUNDLE_FILES:
            shutil.move(work / name, folder / name)
        if (work / "timing.cache").is_file():
            with atomic_path(timing_cache) as target:
                shutil.copyfile(work / "timing.cache", target)
    return Plan(version, types)


@contextlib.contextmanager
def _leaving(evidence: Path | None, model: Path, work: Path) -> Iterator[None]:
    """If a BuildError is raised, copy the model and the log of the build to the folder `evidence`, in place of what an
    earlier build has left there, and name the folder in the error."""
    if evidence is not None:
        shutil.rmtree(evidence, ignore_errors=True)
    try:
        yield
    except BuildError as error:
        if evidence is None:
            raise
        make_folder(evidence)
        for file in (model, work / "build.log", work / "request.json", work / "layers.json"):
            if file.is_file():
                shutil.copy(file, evidence)
        raise BuildError(f"{error}; its log and its graph are in {evidence}") from error


def run(command: Sequence[str], progress: Progress) -> str:
    """Run a worker process to its end and return TensorRT's version. Raises BuildError with the reason if the build
    fails or the process dies."""
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        assert process.stdout is not None
        try:
            answer = _last_answer(process.stdout, progress)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        if isinstance(answer, Finished):
            return answer.version
        if isinstance(answer, Failed):
            raise BuildError(f"TensorRT cannot build this engine: {answer.reason}")
        stderr.seek(0)
        output = stderr.read().decode(errors="replace").strip().splitlines()
        ending = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise BuildError(f"TensorRT's builder {ending}: {output[-1] if output else 'no error message'}")


def _last_answer(lines: IO[bytes], progress: Progress) -> Answer | None:
    """Report phases to `progress` and return the worker's last answer, None if it sent none."""
    last: Answer | None = None
    for line in lines:
        try:
            last = msgspec.json.decode(line, type=Answer)
        except msgspec.DecodeError:
            continue  # a vendor library wrote to stdout
        if isinstance(last, Phase):
            share = f" {last.done}/{last.total}" if last.total else ""
            progress.step(f"TensorRT: {last.name}{share}")
    return last
