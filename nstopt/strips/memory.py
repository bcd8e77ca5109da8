"""Memory: what this process has, and what the machine has left."""

from __future__ import annotations

from pathlib import Path


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
