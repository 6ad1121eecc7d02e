"""Smoothing of poses over time: symmetric for whole recordings, causal for live ones.

An estimator looks at each frame by itself, so its joints tremble by a few pixels. A whole recording is smoothed by
:func:`symmetric`, which uses the frames after as well as those before and so delays nothing. A live one has only those
before: :class:`OneEuro` smooths a resting body much and a moving one little, as lag is seen in movement alone.
"""

from __future__ import annotations

import math

import numpy as np

_STEP_ROUNDING = 0.49  # frames


def symmetric(values: np.ndarray, times: np.ndarray, seconds: float, order: int) -> np.ndarray:
    """Polynomials fitted to the values around each frame (Savitzky and Golay, Analytical Chemistry 36, 1964).

    Frames need not be equally far apart. At the beginning and the end the window is the first or the last one.

    Args:
        values: ``[T, ...]``, without gaps.
        times: ``[T]`` seconds, rising.
        seconds: Length of the window; a shorter recording is its own window.
        order: Of the polynomials: 1 keeps what moves evenly, 2 also turns and stops.

    Returns:
        ``[T, ...]``, as given where a window has too few frames for the order.

    Example:
        >>> times = np.array([0, 1, 2, 4, 5]) / 30
        >>> symmetric(30 * times + 1, times, seconds=0.1, order=1).round(6).tolist()
        [1.0, 2.0, 3.0, 5.0, 6.0]
    """
    rows = np.reshape(values, (len(values), -1))
    out = rows.copy()
    step = max((times[-1] - times[0]) / max(len(times) - 1, 1), 1e-6)
    half = min(round(seconds / 2 / step) * step, (times[-1] - times[0]) / 2)  # a whole number of frames
    edge = half + _STEP_ROUNDING * step
    middles = np.clip(times, times[0] + half, times[-1] - half)
    firsts, lasts = np.searchsorted(times, middles - edge), np.searchsorted(times, middles + edge)
    for index, (first, last) in enumerate(zip(firsts, lasts)):
        if last - first > order + 1:
            powers = np.vander((times[first:last] - times[index]) / seconds, order + 1, increasing=True)
            out[index] = np.linalg.pinv(powers)[0] @ rows[first:last]  # the polynomial's value at this frame
    return out.reshape(np.shape(values))


class OneEuro:
    """The One Euro filter (Casiez, Roussel and Vogel, CHI 2012) for values of one kind.

    A low pass whose cut-off frequency rises with speed: :math:`f_c = f_{min} + \\beta |v|`.

    Args:
        slowest: Cut-off frequency at rest, Hz.
        beta: How much it rises, Hz per unit of speed.
        speed_cutoff: Cut-off frequency of the low pass of the speed, Hz.
    """

    def __init__(self, slowest: float, beta: float, speed_cutoff: float = 1.0):
        self._slowest, self._beta, self._speed_cutoff = slowest, beta, speed_cutoff
        self._values: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0
        self._seconds = 0.0

    def __call__(self, values: np.ndarray, seconds: float, scale: float = 1.0) -> np.ndarray:
        """The next values, smoothed.

        Args:
            values: Of any shape, the same at each call; points are ``[..., D]``, whose speed is their distance's.
            seconds: Their time, later than before.
            scale: Length of a unit of speed, as the body's size in pixels is for joints in a picture.

        Returns:
            Values of the same shape.
        """
        if self._values is None or seconds <= self._seconds:
            self._values, self._seconds = values, max(seconds, self._seconds)
            return values
        step = seconds - self._seconds
        change = (values - self._values) / (step * scale)
        self._speed = self._speed + _weight(self._speed_cutoff, step) * (change - self._speed)
        cutoff = self._slowest + self._beta * np.linalg.norm(self._speed, axis=-1, keepdims=True)
        self._values = self._values + _weight(cutoff, step) * (values - self._values)
        self._seconds = seconds
        return self._values


def _weight(cutoff, step):
    """Weight of a new value in a low pass of this cut-off frequency."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
