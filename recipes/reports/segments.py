"""Metrics of activities in untrimmed video: of frames, of segments, and of events such as falls.

Labels are class numbers per frame. :data:`NOBODY` means no class: in the truth, a frame that is not labelled; in a
prediction, a frame in which nobody is seen.

* Frame accuracy, and the F1 score of segments at an overlap: MS-TCN (Abu Farha, Gall, CVPR 2019; the score is from Lea
  et al., CVPR 2017).
* Mean average precision of segments at an overlap: ActivityNet (Caba Heilbron et al., CVPR 2015).
* Events: whether a system that raises an alarm does so when it should, and how late.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NOBODY = -1
OVERLAPS = (0.1, 0.25, 0.5)
LATEST = 3.0  # seconds after an event's last frame in which an alarm still recognises it
COOL_DOWN = 10.0  # seconds after an alarm in which no other is raised
THRESHOLDS = tuple(percent / 100 for percent in range(5, 100, 5))  # of an alarm's probability, to choose from


@dataclasses.dataclass(frozen=True)
class Span:
    """Successive frames of one class.

    Attributes:
        label: The class.
        start: First frame.
        end: Frame after the last.
        score: Mean of the class's probability over the frames; 1 in the truth.
    """

    label: int
    start: int
    end: int
    score: float = 1.0

    def overlap(self, other: Span) -> float:
        """Intersection over union of the frames."""
        both = min(self.end, other.end) - max(self.start, other.start)
        return max(both, 0) / (max(self.end, other.end) - min(self.start, other.start))


@dataclasses.dataclass(frozen=True, eq=False)
class Video:
    """A video's truth and prediction.

    Attributes:
        truth: ``[T]`` classes; :data:`NOBODY` where a frame is not labelled. Such a frame counts in no metric, and
            segments of the same class on both sides of it are joined.
        predicted: ``[T]`` classes; :data:`NOBODY` where no class is predicted: a labelled frame then counts as wrong.
        scores: ``[T]`` probability of the predicted class.
    """

    truth: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray

    def labelled(self) -> Video:
        """The video without its unlabelled frames."""
        known = self.truth != NOBODY
        return Video(self.truth[known], self.predicted[known], self.scores[known])


def spans(labels: np.ndarray, scores: np.ndarray | None = None) -> list[Span]:
    """The spans of frames of the same class; frames of no class are left out.

    Args:
        labels: ``[T]``.
        scores: ``[T]``; default: 1.

    Example:
        >>> [(span.label, span.start, span.end) for span in spans(np.array([2, 2, -1, 0, 0, 0]))]
        [(2, 0, 2), (0, 3, 6)]
    """
    scores = np.ones(len(labels)) if scores is None else scores
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)] if len(labels) else [0]
    return [
        Span(int(labels[start]), start, end, float(scores[start:end].mean()))
        for start, end in zip(edges, edges[1:])
        if labels[start] != NOBODY
    ]


def frame_accuracy(videos: Sequence[Video]) -> float:
    """Fraction of the labelled frames of all videos whose prediction is right; NaN without labelled frames."""
    whole = [video.labelled() for video in videos]
    count = sum(len(video.truth) for video in whole)
    return sum(int((video.truth == video.predicted).sum()) for video in whole) / count if count else float("nan")


def segment_f1(videos: Sequence[Video], overlap: float) -> float:
    """F1 score of the segments of all videos.

    A predicted segment is right if its overlap with a true segment of its class reaches the threshold. Further
    predicted segments for the same true segment are wrong.

    Args:
        videos: The videos.
        overlap: Smallest intersection over union.

    Returns:
        2 TP / (2 TP + FP + FN); NaN without segments.
    """
    right = predicted = true = 0
    for video in (video.labelled() for video in videos):
        truth, found = spans(video.truth), spans(video.predicted)
        hit: set[int] = set()
        for span in found:
            overlaps = [span.overlap(other) * (other.label == span.label) for other in truth]
            best = int(np.argmax(overlaps))
            if overlaps[best] >= overlap:
                hit.add(best)
        right, predicted, true = right + len(hit), predicted + len(found), true + len(truth)
    return 2 * right / (predicted + true) if predicted + true else float("nan")


def average_precision(videos: Sequence[Video], label: int, overlap: float) -> float:
    """Average precision of the segments of a class, the area under the interpolated curve of precision and recall.

    Segments are taken from the most to the least probable. Each is compared with the true segment of its class and
    video that it overlaps most, among those not matched yet. It is right if it reaches the overlap.

    Args:
        videos: The videos.
        label: The class.
        overlap: Smallest intersection over union.

    Returns:
        From 0 to 1; NaN where the truth has no segment of the class.
    """
    truth, found = [], []
    for number, video in enumerate(video.labelled() for video in videos):
        truth.append([span for span in spans(video.truth) if span.label == label])
        found += [(number, span) for span in spans(video.predicted, video.scores) if span.label == label]
    count = sum(map(len, truth))
    if not count:
        return float("nan")
    free, right = [set(range(len(those))) for those in truth], []
    for number, span in sorted(found, key=lambda entry: -entry[1].score):
        overlaps = {index: span.overlap(truth[number][index]) for index in free[number]}
        best = max(overlaps, key=lambda index: overlaps[index], default=None)
        right.append(best is not None and overlaps[best] >= overlap)
        if best is not None and right[-1]:
            free[number].remove(best)
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1) if right else np.zeros(0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a larger one
    return float(envelope[np.flatnonzero(right)].sum() / count)


def mean_average_precision(videos: Sequence[Video], classes: int, overlap: float) -> float:
    """Mean of :func:`average_precision` over the classes that the truth has."""
    found = [average_precision(videos, label, overlap) for label in range(classes)]
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


# ----------------------------------------------------------------------------------------------------------- events


def alarms(times: Sequence[float], probabilities: Sequence[float], least: float) -> list[float]:
    """When a system raises an alarm: where a probability rises to a threshold, unless an alarm was shortly before.

    Args:
        times: Seconds at which each probability is known.
        probabilities: Probabilities of the class; NaN where nobody is seen: such times are skipped.
        least: The threshold.

    Returns:
        Seconds, at least :data:`COOL_DOWN` apart.

    Example:
        >>> alarms([1, 2, 3, 4, 15], [0.1, 0.9, 0.2, 0.9, 0.9], least=0.5)
        [2]
    """
    found: list[float] = []
    above = False
    for time, probability in zip(times, probabilities):
        if np.isnan(probability):
            continue
        if probability >= least and not above and (not found or time - found[-1] >= COOL_DOWN):
            found.append(time)
        above = probability >= least
    return found


@dataclasses.dataclass(frozen=True)
class Events:
    """Alarms of several videos against the spans of a class.

    Attributes:
        events: Number of spans of the class.
        delays: For each recognised span, seconds from its first frame to the alarm.
        false_alarms: Number of alarms that recognise no span, in videos with spans of the class.
        quiet: Number of videos without such a span.
        quiet_without_alarm: Number of quiet videos in which no alarm is raised.
        alarms_in_quiet: Number of alarms in quiet videos.
        quiet_hours: Duration of quiet videos, with the frames without a label: alarms count in these too.
    """

    events: int
    delays: tuple[float, ...]
    false_alarms: int
    quiet: int
    quiet_without_alarm: int
    alarms_in_quiet: int
    quiet_hours: float

    @property
    def sensitivity(self) -> float:
        """Fraction of the events that are recognised."""
        return len(self.delays) / self.events if self.events else float("nan")

    @property
    def specificity(self) -> float:
        """Fraction of the videos without an event in which no alarm is raised."""
        return self.quiet_without_alarm / self.quiet if self.quiet else float("nan")

    @property
    def alarms_per_hour(self) -> float:
        """False alarms per hour of the videos without an event."""
        return self.alarms_in_quiet / self.quiet_hours if self.quiet_hours else float("nan")

    @property
    def median_delay(self) -> float:
        """Seconds."""
        return float(np.median(self.delays)) if self.delays else float("nan")


def together(each: Sequence[Events]) -> Events:
    """The events of several splits together, such as all folds of a cross-validation."""
    sums: dict[str, Any] = {
        field.name: sum((getattr(one, field.name) for one in each), () if field.name == "delays" else 0)
        for field in dataclasses.fields(Events)
    }
    return Events(**sums)


def best_threshold(of: Mapping[float, Events]) -> float:
    """The threshold with the largest sum of sensitivity and specificity; of equally good ones, the middle one.

    Args:
        of: Threshold -> the events, with the alarms at this threshold.

    Returns:
        One of the thresholds. A rate that is undefined, as there are no events or no quiet videos, counts as 0.

    Example:
        >>> alike, worse = Events(4, (1.0, 1.0), 0, 4, 4, 0, 1.0), Events(4, (1.0,), 0, 4, 4, 0, 1.0)
        >>> best_threshold({0.5: worse, 0.6: alike, 0.7: alike, 0.8: alike, 0.9: worse})
        0.7
    """
    worth = {least: np.nan_to_num([one.sensitivity, one.specificity]).sum() for least, one in of.items()}
    best = sorted(least for least in worth if worth[least] >= max(worth.values()) - 1e-9)
    return best[len(best) // 2]


def _true_spans(truth: np.ndarray, label: int) -> list[Span]:
    """The spans of a class; spans on both sides of frames without a label are joined."""
    (labelled,) = np.nonzero(truth != NOBODY)
    return [
        dataclasses.replace(span, start=int(labelled[span.start]), end=int(labelled[span.end - 1]) + 1)
        for span in spans(truth[labelled])
        if span.label == label
    ]


def events(truths: Sequence[np.ndarray], raised: Sequence[Sequence[float]], label: int, fps: float) -> Events:
    """Compares alarms with the truth.

    An event is recognised by the first alarm from its first frame until :data:`LATEST` seconds after its last frame.
    Every other alarm is false, in frames without a label too.

    Args:
        truths: ``[T]`` classes of each video; :data:`NOBODY` where a frame is not labelled: spans of one class on both
            sides of it are one event.
        raised: Seconds of the alarms in each video.
        label: The class of the events.
        fps: Frames per second.
    """
    counts: dict[str, int] = {
        "events": 0,
        "false_alarms": 0,
        "quiet": 0,
        "quiet_without_alarm": 0,
        "alarms_in_quiet": 0,
    }
    delays: list[float] = []
    hours = 0.0
    for truth, times in zip(truths, raised):
        true = _true_spans(truth, label)
        if not true:
            counts["quiet"] += 1
            counts["quiet_without_alarm"] += not times
            counts["alarms_in_quiet"] += len(times)
            hours += len(truth) / fps / 3600
            continue
        counts["events"] += len(true)
        free = list(times)
        for span in true:
            hits = [time for time in free if span.start / fps <= time <= span.end / fps + LATEST]
            if hits:
                delays.append(hits[0] - span.start / fps)
                free.remove(hits[0])
        counts["false_alarms"] += len(free)
    return Events(delays=tuple(delays), quiet_hours=hours, **counts)
