"""What becomes of memory that is freed, of which the C library is told."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees for what it needs next; where there is no glibc, nothing is done.

    glibc gives every large piece back to the system, and a frame's tensors are large pieces: each of them is mapped,
    faulted in page by page, cleared, and unmapped again, hundreds of times a frame. What is kept is about the peak.
    `/usr/bin/time -v` counts the faults: of `deepsphere-codec decode`, and of `decode_video` in a process that has not
    called this.

    For processes that are ours alone, and where nobody measures what memory a part of the work takes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
