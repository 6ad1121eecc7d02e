"""The processor cores of this process."""

from __future__ import annotations

import os


def available() -> int:
    """Number of cores that this process may use: in a container often fewer than the machine has.

    Example:
        >>> available() >= 1
        True
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
