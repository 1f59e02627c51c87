"""Configuration of the C library's memory allocator."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Make this process reuse freed memory instead of returning it to the system; without glibc, do nothing.

    By default glibc returns every large block to the system, and a frame's tensors are large blocks: each is mapped,
    faulted in page by page, cleared, and unmapped again, hundreds of times per frame. The memory retained is about the
    peak usage. `/usr/bin/time -v` shows the difference in page faults between `deepsphere-codec decode` and
    `decode_video` in a process that has not called this function.

    Intended for the package's own processes, in which the memory usage of parts of the work is not measured.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
