"""Pauses between failed attempts: they double, so that an unavailable server is not asked all the time."""

from __future__ import annotations

import random

FIRST, LONGEST = 1.0, 60.0  # seconds


class Backoff:
    """Pauses that double from attempt to attempt, each shortened at random by up to a quarter.

    Example:
        >>> pauses = Backoff(longest=4.0)
        >>> [round(pauses.next() / 2**attempt + 0.1) for attempt in range(3)]
        [1, 1, 1]
    """

    def __init__(self, first: float = FIRST, longest: float = LONGEST) -> None:
        self._first, self._longest = first, longest
        self._pause = first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        pause = self._pause
        self._pause = min(2 * pause, self._longest)
        return pause * random.uniform(0.75, 1.0)

    def reset(self) -> None:
        """Goes back to the first pause, after an attempt that succeeded."""
        self._pause = self._first
