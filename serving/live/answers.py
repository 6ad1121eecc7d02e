"""The model's answers for each person: calibrated, smoothed, unknown below a threshold, joined to segments.

::

    prediction ─► temperature ─► smoothed ─► label, or unknown below the threshold ─► segments with hysteresis
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping

import numpy as np

from serving.client import smoothing
from serving.client.prediction import Prediction
from serving.client.time_line import RowBuilder
from serving.live.people import Shown
from serving.live.state import UNKNOWN, PersonState, Segment
from zoo.shared.probabilities import at_temperature

HOLD = 1.0  # seconds for which another class must lead before a segment ends ...
MARGIN = 0.25  # ... or by how much its probability must be ahead
TOP = 5


@dataclasses.dataclass(frozen=True)
class Answer:
    """The newest answer of a person.

    Attributes:
        track: The person's number.
        label: The most probable class; :data:`~serving.live.state.UNKNOWN` below the threshold.
        probability: Smoothed probability of the most probable class.
        top: The five most probable classes with their probabilities.
        end: When the newest frame of its window was taken, by ``time.monotonic``.
        came: When the answer came, by ``time.monotonic``.
        segment: Label of the person's open segment.
        segment_probability: Smoothed probability of that label; of the most probable class if the label is unknown.
        attention: Name -> attention map of the newest window.
        window: Label and probability of the newest window alone, not smoothed; ``None``: the same as the smoothed ones.
    """

    track: int
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    end: float
    came: float
    segment: str
    segment_probability: float = 0.0
    attention: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False)
    window: tuple[str, float] | None = None

    def of_window(self) -> Answer:
        """The same answer with label and probability of the newest window alone."""
        if self.window is None:
            return self
        return dataclasses.replace(self, label=self.window[0], probability=self.window[1])


class Answers:
    """The answers of all persons; safe to use from several threads.

    Args:
        smooth: As :func:`serving.client.smoothing.parse` reads it.
        temperature: See :func:`zoo.shared.probabilities.at_temperature`.
        threshold: Probability below which the class is unknown.
        epoch: Converts a time by ``time.monotonic`` to seconds since the epoch.
        put_segment: Called with each segment that begins, continues or ends.
    """

    def __init__(
        self,
        smooth: str,
        temperature: float,
        threshold: float,
        epoch: Callable[[float], float],
        put_segment: Callable[[Segment], None],
    ) -> None:
        smoothing.parse(smooth)  # raises for an invalid text
        self._smooth, self._temperature, self._threshold = smooth, temperature, threshold
        self._epoch, self._put = epoch, put_segment
        self._persons: dict[int, _Person] = {}
        self._lock = threading.Lock()

    def calibrate(self, temperature: float, threshold: float) -> None:
        """Sets temperature and threshold, for another version of the model."""
        with self._lock:
            self._temperature, self._threshold = temperature, threshold

    def add(self, track: int, start: float, end: float, prediction: Prediction, came: float) -> Answer:
        """Takes the model's prediction of a person's window.

        Args:
            track: The person's number.
            start: Start of the window, by ``time.monotonic``.
            end: End of the window, likewise.
            prediction: The model's prediction.
            came: When the prediction came, by ``time.monotonic``.
        """
        with self._lock:
            person = self._persons.get(track)
            if person is None:
                person = self._persons[track] = _Person(track, RowBuilder(smoothing.parse(self._smooth)))
            calibrated = _calibrated(prediction, self._temperature)
            row = person.build_row(start, end, calibrated)
            assert row.smoothed is not None
            label, probability = self._known(row.smoothed)
            probability_of = dict(zip(row.smoothed.labels, row.smoothed.probabilities))
            self._follow(person, label, probability, probability_of.get(person.label, 0.0), row.centre, end)
            top = tuple(zip(row.smoothed.labels[:TOP], row.smoothed.probabilities[:TOP]))
            person.answer = Answer(
                track, label, probability, top, end, came, person.label,
                segment_probability=probability_of.get(person.label, probability),
                attention=prediction.outputs, window=self._known(calibrated),
            )  # fmt: skip
            return person.answer

    def _known(self, prediction: Prediction) -> tuple[str, float]:
        """The most probable class, or unknown, and its probability."""
        label, probability = prediction.top
        return label if probability >= self._threshold else UNKNOWN, probability

    def of(self, track: int) -> Answer | None:
        """The newest answer of a person; ``None`` before the first."""
        with self._lock:
            person = self._persons.get(track)
            return person.answer if person else None

    def state(
        self,
        person: Shown,
        seconds: float,
        *,
        fresh: float = float("inf"),
        seen: tuple[int, int, int, int] | None = None,
    ) -> PersonState:
        """What is known of a person in a picture.

        Args:
            person: The person.
            seconds: When the picture was taken, by ``time.monotonic``.
            fresh: Seconds after which an answer is no longer shown.
            seen: Part of the picture that the model sees if no crop is cut out around the person.
        """
        answer = self.of(person.track)
        if answer is None:
            return PersonState(person.track, "", 0.0, (), 0.0, person.box)
        age, came = seconds - answer.end, self._epoch(answer.came)
        if age > fresh:
            return PersonState(person.track, "", 0.0, (), came, person.box, age)
        return PersonState(
            person.track, answer.segment, answer.segment_probability, answer.top, came, person.box, age,
            attention=answer.attention, seen=person.crop or seen,
        )  # fmt: skip

    def keep_only(self, tracks: set[int]) -> None:
        """Forgets all other persons; their segments end at the end of their last windows."""
        with self._lock:
            for track in set(self._persons) - tracks:
                self._end(self._persons.pop(track))

    def end_segments(self) -> None:
        """Ends each open segment at its person's last window: for now nobody is seen, or the model does not answer.

        What comes afterwards is not smoothed with the windows, and the times, from before.
        """
        with self._lock:
            for person in self._persons.values():
                self._end(person)
                person.build_row(person.end, person.end, None)

    def _end(self, person: _Person) -> None:
        """Ends the person's segment, if one is open, at the end of the last window."""
        if person.label:
            self._put(person.segment(person.end))
            person.label = person.candidate = ""

    def _follow(
        self, person: _Person, label: str, probability: float, current: float, centre: float, end: float
    ) -> None:
        """Continues the person's segment, or begins the next one."""
        before = person.centre if person.label else centre
        if label == person.label:
            person.candidate = ""
        elif label != person.candidate:
            person.candidate, person.since = label, (before + centre) / 2
        lasts = centre - person.since >= HOLD
        ahead = probability - current >= MARGIN and UNKNOWN not in (label, person.label)
        if label != person.label and (not person.label or lasts or ahead):
            if person.label:
                self._put(person.segment(person.since))
            person.begin(label, person.since, self._epoch(person.since))
            current = probability
        person.total, person.count = (
            person.total + (current if person.label != UNKNOWN else probability),
            person.count + 1,
        )
        person.centre, person.end = centre, end
        self._put(person.segment(None))


class _Person:
    """What is remembered of one person."""

    def __init__(self, track: int, build_row: RowBuilder) -> None:
        self.track, self.build_row = track, build_row
        self.answer: Answer | None = None
        self.label, self.began, self.start = "", 0.0, 0.0  # the open segment; began: time.monotonic, start: epoch
        self.total, self.count = 0.0, 0
        self.candidate, self.since = "", 0.0  # another class that leads, and since when
        self.centre, self.end = 0.0, 0.0  # of the previous window

    def begin(self, label: str, began: float, start: float) -> None:
        self.label, self.began, self.start = label, began, start
        self.total, self.count, self.candidate = 0.0, 0, ""

    def segment(self, end: float | None) -> Segment:
        """The segment, ending at a time by ``time.monotonic``: setting the system clock does not alter its duration."""
        ended = None if end is None else self.start + (end - self.began)
        return Segment(self.track, self.label, self.start, ended, self.total / max(self.count, 1))


def _calibrated(prediction: Prediction, temperature: float) -> Prediction:
    """A prediction whose probabilities are those at a temperature."""
    if temperature == 1:
        return prediction
    scores = at_temperature(np.array([prediction.probabilities]), temperature)[0]
    return prediction.reordered(dict(zip(prediction.labels, scores.tolist())))
