"""Smoothing of poses over time: symmetric for whole recordings, causal for live ones.

An estimator processes each frame separately, so its joints jitter by a few pixels. A whole recording is smoothed by
:func:`symmetric`, which uses earlier and later frames and so causes no lag. A live stream has only earlier frames:
:class:`OneEuro` smooths a resting body much and a moving body little, as lag is visible only in movement.
"""

from __future__ import annotations

import math

import numpy as np

_STEP_ROUNDING = 0.49  # frames


def symmetric(values: np.ndarray, times: np.ndarray, seconds: float, order: int) -> np.ndarray:
    """Polynomials fitted to the values around each frame (Savitzky and Golay, Analytical Chemistry 36, 1964).

    Frames need not be evenly spaced. Near the beginning and the end the first or last full window is used.

    Args:
        values: ``[T, ...]``, without gaps.
        times: ``[T]`` seconds, rising.
        seconds: Length of the window; a shorter recording is its own window.
        order: Order of the polynomials: 1 preserves motion at constant speed, 2 also turns and stops.

    Returns:
        ``[T, ...]``; unchanged where a window has too few frames for the order.

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
        beta: Rise of the cut-off frequency, Hz per unit of speed.
        speed_cutoff: Cut-off frequency of the low pass that smooths the speed, Hz.
    """

    def __init__(self, slowest: float, beta: float, speed_cutoff: float = 1.0):
        self._slowest, self._beta, self._speed_cutoff = slowest, beta, speed_cutoff
        self._values: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0
        self._seconds = 0.0

    def __call__(self, values: np.ndarray, seconds: float, scale: float = 1.0) -> np.ndarray:
        """The next values, smoothed.

        Args:
            values: ``[..., D]``, the same shape at each call; the last axis has a point's coordinates, and the speed is
                the length of its movement over time.
            seconds: Time stamp of the values, later than before.
            scale: Unit of length of the speed, such as the body's size in pixels for joints in a picture.

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
