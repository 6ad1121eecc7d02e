"""Keeps the memory of requests in the process, so that the next request need not get it from the system again."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h. By default glibc gives freed blocks above a threshold back to the system, and free memory at
# the end of a heap, too. The threshold grows with the blocks that are freed, up to 32 MiB. A clip of raw frames has
# several such blocks (4.8 MB for 32 frames of 224 x 224); each is then new memory, with a page fault for every 4 KiB.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 32 * 2**20  # bytes of a block; clips of raw frames need less, and a thread's heap in glibc has 64 MiB
KEPT_PER_HEAP = 256 * 2**20  # free bytes at the end of a heap


def keep_freed() -> bool:
    """Keeps freed memory for the next request, for the whole process.

    Returns:
        Whether the C library supports this; glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError):  # another C library; Windows
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, KEPT_PER_HEAP))
