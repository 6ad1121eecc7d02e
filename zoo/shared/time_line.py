"""Rows, one per window of a stream, and the time line of segments that they form.

The times of the windows' centres are smoothed in the same way as their probabilities. Where the class changes from one
row to the next, a segment ends at the mean of the two smoothed times, so smoothing does not delay the change. That
nobody is there is not smoothed: such a segment begins at the mean of the times themselves.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from zoo.shared.prediction import Prediction
from zoo.shared.smoothing import Smoothing


@dataclasses.dataclass(frozen=True)
class Row:
    """The prediction of one window.

    Attributes:
        index: Number of the window, from 0.
        start: Its start in seconds.
        end: Its end in seconds.
        prediction: The model's prediction; ``None`` where nobody is there and the model takes poses alone.
        smoothed: The same with smoothed probabilities.
        centre: Smoothed time of the window's centre, in seconds.
    """

    index: int
    start: float
    end: float
    prediction: Prediction | None
    smoothed: Prediction | None
    centre: float


class RowBuilder:
    """Makes the rows of successive windows, with smoothed probabilities.

    Args:
        smooth: A :class:`~zoo.shared.smoothing.MovingAverage` or :class:`~zoo.shared.smoothing.Exponential`.
    """

    def __init__(self, smooth: Smoothing):
        self._smooth = smooth
        self._labels: list[str] | None = None
        self._count = 0

    def __call__(self, start: float, end: float, prediction: Prediction | None) -> Row:
        """The row of the next window; after a window without a prediction, smoothing starts anew."""
        if prediction is None:
            self._smooth.reset()
            row = Row(self._count, start, end, None, None, (start + end) / 2)
            self._count += 1
            return row
        probability_of = dict(zip(prediction.labels, prediction.probabilities))
        labels = sorted(probability_of)
        if labels != self._labels:  # the first window, or a new version of the model has other classes
            self._smooth.reset()
            self._labels = labels
        values = np.array([(start + end) / 2, *(probability_of[label] for label in labels)])
        centre, *smoothed = self._smooth(values).tolist()
        row = Row(self._count, start, end, prediction, prediction.reordered(dict(zip(labels, smoothed))), centre)
        self._count += 1
        return row


@dataclasses.dataclass(frozen=True)
class Segment:
    """A span of time with one most probable class.

    Attributes:
        start: Seconds.
        end: Seconds.
        label: The class.
        probability: Mean of its smoothed probabilities over the windows.
    """

    start: float
    end: float
    label: str
    probability: float


class TimeLine:
    """Joins windows of the same most probable class to segments.

    Example:
        >>> def row(index, label):
        ...     prediction = Prediction("adl", 1, "serve_jpeg", (label,), (0.5,))
        ...     return Row(index, index, index + 2, prediction, prediction, index + 1)
        >>> line = TimeLine()
        >>> for index, label in enumerate(["drink", "drink", "sit"]):
        ...     line.add(row(index, label))
        >>> [(segment.start, segment.end, segment.label) for segment in line.segments()]
        [(0, 2.5, 'drink'), (2.5, 4, 'sit')]
    """

    def __init__(self) -> None:
        self._finished: list[Segment] = []
        self._label = ""
        self._start = 0.0
        self._last: Row | None = None
        self._total, self._windows = 0.0, 0  # probabilities and windows of the current segment

    def add(self, row: Row) -> None:
        """Adds the next window."""
        label, probability = ("", 0.0) if row.smoothed is None else row.smoothed.top
        if self._last is None:
            self._start = row.start
        elif label != self._label:
            before = self._last.centre if row.smoothed else (self._last.start + self._last.end) / 2
            change = (before + row.centre) / 2
            self._finished.append(self._segment(change))
            self._start, self._total, self._windows = change, 0.0, 0
        self._label = label
        self._total += probability
        self._windows += 1
        self._last = row

    def _segment(self, end: float) -> Segment:
        return Segment(self._start, end, self._label, self._total / self._windows)

    def segments(self) -> list[Segment]:
        """The segments so far; the last one ends with the last window. Where nobody is there, there is no segment."""
        found = [*self._finished, *([self._segment(self._last.end)] if self._last else [])]
        return [segment for segment in found if segment.label]
