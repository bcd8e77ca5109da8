"""Keep the memory of a process that handles pictures for hours where it is after a minute."""

from __future__ import annotations

import ctypes
import gc

# From <malloc.h>.
M_MMAP_THRESHOLD = -3
# Blocks from this size on, pictures among them, go back to the system when they are freed. By default glibc raises the
# limit to the size of the pictures, and its pools fall into pieces.
OWN_MAPPING_BYTES = 1 << 17


def keep_memory_flat() -> None:
    """Change how this process frees memory. Call it once everything is loaded; it is for programs, not for libraries.

    What is alive now is not looked at by the garbage collector any more. So a full collection comes after some thousand
    new objects, not after a quarter of all: connections that were closed are cycles that hold pictures.
    """
    gc.collect()
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES)
