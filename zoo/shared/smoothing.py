"""Smoothing of the probabilities of successive windows; it uses earlier windows only, so it works for cameras too."""

from __future__ import annotations

import collections
from typing import Union

import numpy as np

from zoo.shared.errors import UserError


class MovingAverage:
    """The mean of the last windows.

    Args:
        windows: Number of windows.

    Example:
        >>> smooth = MovingAverage(2)
        >>> [smooth(np.array([value])).tolist() for value in (0.0, 1.0, 1.0)]
        [[0.0], [0.5], [1.0]]
    """

    def __init__(self, windows: int):
        if windows < 1:
            raise UserError(f"a moving average of {windows} windows: expected at least one")
        self._last: collections.deque[np.ndarray] = collections.deque(maxlen=windows)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The smoothed values."""
        self._last.append(values)
        return np.mean(self._last, axis=0)

    def reset(self) -> None:
        """Forgets all earlier windows."""
        self._last.clear()


class Exponential:
    """Exponential smoothing: the new window counts ``weight``, the smoothed values before it ``1 - weight``.

    Args:
        weight: Above 0, at most 1.

    Example:
        >>> smooth = Exponential(0.5)
        >>> [smooth(np.array([value])).tolist() for value in (0.0, 1.0, 1.0)]
        [[0.0], [0.5], [0.75]]
    """

    def __init__(self, weight: float):
        if not 0 < weight <= 1:
            raise UserError(f"an exponential smoothing of weight {weight:g}: expected above 0, at most 1")
        self._weight = weight
        self._state: np.ndarray | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The smoothed values."""
        old = values if self._state is None else self._state
        self._state = self._weight * values + (1 - self._weight) * old
        return self._state

    def reset(self) -> None:
        """Forgets all earlier windows."""
        self._state = None


Smoothing = Union[MovingAverage, Exponential]


def parse(text: str) -> Smoothing:
    """A smoothing from text: ``none``, ``mean:WINDOWS`` or ``exponential:WEIGHT``.

    Raises:
        UserError: Any other text.
    """
    kind, _, number = text.partition(":")
    try:
        if kind == "none" and not number:
            return MovingAverage(1)
        if kind == "mean":
            return MovingAverage(int(number))
        if kind == "exponential":
            return Exponential(float(number))
    except ValueError:
        pass
    raise UserError(f"no smoothing {text!r}, expected none, mean:WINDOWS such as mean:3, or exponential:WEIGHT")
