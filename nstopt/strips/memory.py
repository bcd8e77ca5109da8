"""Memory: what a graph needs at once, what this process has, and what the machine has left."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx

# Runtimes hold more than the tensors that are alive: copies in other layouts, and buffers that are not reused.
OVERHEAD = 1.5
BLOCK, COLORS = 16, 3


def peak_bytes(model: onnx.ModelProto) -> int:
    """Return an estimate of the bytes that a graph of fixed sizes needs for its tensors at once, without weights."""
    graph = model.graph
    sizes = {value.name: _bytes(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    last_read = {name: index for index, node in enumerate(graph.node) for name in node.input}
    kept = {value.name for value in (*graph.input, *graph.output)}
    alive = sum(sizes[name] for name in kept)
    peak = alive
    for index, node in enumerate(graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output if name not in kept)
        peak = max(peak, alive)
        alive -= sum(sizes.get(name, 0) for name in {*node.input} - kept if last_read[name] == index)
    return int(peak * OVERHEAD)


def _bytes(value: onnx.ValueInfoProto) -> int:
    """Return the size of a tensor. Runtimes hold channels in blocks, but for those of pictures."""
    tensor = value.type.tensor_type
    sides: list[int] = [dim.dim_value for dim in tensor.shape.dim]
    if len(sides) == 4 and sides[1] > COLORS:
        sides[1] = -(-sides[1] // BLOCK) * BLOCK
    return prod(sides) * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).itemsize)


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    return _kilobytes(Path("/proc/self/status"), "VmRSS") * 1024


def available_bytes() -> int:
    """Return the memory that processes can still take on this machine, or in its container."""
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable") * 1024
    limit, used = (_control_group(name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, limit - used)


def _kilobytes(file: Path, field: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


def _control_group(name: str) -> int | None:
    """Return a number of the container's control group; None if there is none, or no limit."""
    file = Path("/sys/fs/cgroup") / name
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdigit() else None
