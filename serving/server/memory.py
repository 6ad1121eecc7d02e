"""Keeps the memory of requests in the process, so that the next request need not get it from the system again."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h. By default a block of more than a threshold, which grows up to 32 MiB with the blocks that are
# freed, goes back to the system, and so does free memory at the end of a heap. A clip of raw frames is several such
# blocks (4.8 MB for 32 frames of 224 x 224): each is then new memory, with a page fault for every 4 KiB.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 32 * 2**20  # bytes of a block; clips of raw frames have less, and glibc's heaps of threads hold 64 MiB
KEPT_PER_HEAP = 256 * 2**20  # free bytes at the end of a heap


def keep_freed() -> bool:
    """Keeps freed memory for the next request, for the whole process.

    Returns:
        Whether this C library can; glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError):  # of another C library; of Windows
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, KEPT_PER_HEAP))
