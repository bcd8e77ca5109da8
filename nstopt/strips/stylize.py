"""Stylize pictures of one size in strips, in a limit of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import onnx

from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size
from nstopt.strips.layout import Layout, Strip, divide, lay_out
from nstopt.strips.net import open_net, with_counts_of
from nstopt.strips.plan import Stage, plan
from nstopt.strips.run import Compile, Run
from nstopt.strips.spill import SpillFiles, require_space
from nstopt.strips.stage import Needs, StageGraph

# They copy and add up; the runtime has threads of its own.
THREADS = 2
WORK = 1000


class _Step(NamedTuple):
    """A stage, what it needs, and the tensors that no later stage reads."""

    graph: StageGraph
    needs: Needs
    dropped: tuple[str, ...]


class Strips:
    """The plan for pictures of `size` and the lowered graph `model`, which takes any size. Intermediate results take
    `disk` bytes on disk, the narrowest strips `least` bytes of memory."""

    def __init__(self, model: onnx.ModelProto, size: Size, compile_: Compile, by_rows: bool = True) -> None:
        """`compile_` makes a function of a part of the graph, whose results need to be valid until the next call only.
        With `by_rows`, it is given parts that take and give tensors by rows (strips/stage.py).
        Raises BundleError if the graph cannot be cut into strips."""
        opened = open_net(model)
        layout = lay_out(opened.model, size)
        model = with_counts_of(opened.model, {name: one.shape for name, one in layout.tensors.items()})
        kept_sizes = {name: one.bytes for name, one in layout.tensors.items() if one.axis == 2}
        stages = plan(layout.model, opened.statistics, kept_sizes)
        graphs = [StageGraph(model, layout, stage) for stage in stages]
        self._height = size.height
        self._alignment = layout.alignment
        self.disk = _most_on_disk(stages, layout)
        self._compile = compile_
        self._by_rows = by_rows
        self._steps = [_Step(graph, graph.needs(), _dropped(stages, index)) for index, graph in enumerate(graphs)]
        self.least = int(max(self._narrowest(step.needs) * step.needs.bytes_per_row for step in self._steps))

    def _narrowest(self, needs: Needs) -> int:
        """Return the rows of the narrowest strip of a stage."""
        return min(needs.before + needs.after + self._alignment, self._height)

    def run(self, picture: Picture, out: Picture, memory: int) -> Iterator[None]:
        """Stylize `picture`, uint8 [H, W, 3], into `out`, in strips that take `memory` bytes, at least `least`. Yields
        WORK times, as the work goes on. Raises DeviceError if the disk is full."""
        require_space(self.disk)
        divided = [self._divided(step.needs, memory) for step in self._steps]
        total = sum(step.needs.work for step in self._steps)
        done, yielded = 0.0, 0
        with ThreadPoolExecutor(THREADS) as pool, SpillFiles(pool) as files:
            run = Run(self._compile, self._by_rows, picture, out, files, pool)
            for step, strips in zip(self._steps, divided, strict=True):
                for _ in run.run(step.graph, strips, is_last=step is self._steps[-1]):
                    done += step.needs.work / len(strips)
                    while yielded < round(WORK * done / total):
                        yielded += 1
                        yield
                run.drop(step.dropped)

    def _divided(self, needs: Needs, memory: int) -> tuple[Strip, ...]:
        rows = int(memory / needs.bytes_per_row) // self._alignment * self._alignment
        return divide(self._height, rows, needs.before, needs.after, self._alignment)


def _dropped(stages: Sequence[Stage], index: int) -> tuple[str, ...]:
    """Return the tensors on disk that no stage after this one reads."""
    kept = [name for stage in stages[: index + 1] for name in stage.kept]
    last_read = {name: number for number, stage in enumerate(stages) for name in (*stage.kept, *stage.inputs)}
    return tuple(name for name in kept if last_read[name] == index)


def _most_on_disk(stages: Sequence[Stage], layout: Layout) -> int:
    """Return the bytes of the tensors that are on disk at once."""
    held = most = 0
    for index, stage in enumerate(stages):
        held += sum(layout.tensors[name].bytes for name in stage.kept)
        most = max(most, held)
        held -= sum(layout.tensors[name].bytes for name in _dropped(stages, index))
    return most
