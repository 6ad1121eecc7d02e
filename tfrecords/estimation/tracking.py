"""Persons over time: which persons of two consecutive frames are the same.

::

    persons of a frame ─► implausible ones out ─► assigned to tracks (predicted joints and boxes, Hungarian method)
        ─► doubles of a tracked body out ─► the remaining persons begin tracks

All lengths are measured in sizes of the body in the picture, all times in seconds: a tracker works the same at any
picture size and frame rate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tfrecords.estimation.estimator import Person
from zoo import skeletons

LONGEST_LOSS = 1.0  # seconds after which a person who is lost is not found again under the same number
DOUBLE = 0.12  # body sizes, mean over the joints: a person nearer to a tracked one is the same body found twice
FEWEST_SEEN = 1 / 3  # fraction of the limbs' joints: that of shoulders and elbows, as of a person behind a desk
_REACH, _REACH_PER_SECOND = 0.3, 1.0  # body sizes by which a person may differ from the prediction
_SIZES_DIFFER = 2.0  # factor by which the size may differ from the last one, as when bodies bend and turn
_NO_OVERLAP = 0.3  # body sizes: cost of boxes without overlap, added to the joints' distance
_LOST = 0.2  # body sizes per second: cost of a lost person, so that one who was just seen is preferred
_MEMORY = 0.3  # seconds: time constant of the mean speed
_GLIDE = 0.8  # seconds: time constant with which a lost person's predicted motion slows down
_FLOOR = 0.1  # weight of a joint of confidence 0
_SEEN = 0.5  # least confidence of a joint that counts as seen
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def size_of(xy: np.ndarray) -> float:
    """Size of a body in the picture, pixels: the diagonal of the box around its joints ``[J, 2]``."""
    return max(math.hypot(*np.ptp(xy, axis=0)), 1e-6)


def is_plausible(person: Person, layout: skeletons.Layout, width: int, height: int) -> bool:
    """Whether enough of a body is seen in the picture to call it a pose.

    An estimator returns all joints of a body even if only a face or a hand fills the picture. It invents the joints
    that are not seen, with a low confidence or with positions outside the picture. A face alone is not a pose.

    Args:
        person: The person.
        layout: Skeleton layout of the joints.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    Returns:
        Whether the numbers are finite, and :data:`FEWEST_SEEN` of shoulders, elbows, wrists, hips, knees and ankles
        are seen inside the picture.
    """
    if not (np.isfinite(person.xy).all() and np.isfinite(person.xyz).all()):
        return False
    limbs = [index for index, name in enumerate(layout.joints) if name.endswith(_LIMBS)]
    inside = ((person.xy >= 0) & (person.xy <= (width, height))).all(axis=-1)
    return float((inside & (person.confidence >= _SEEN))[limbs].mean()) >= FEWEST_SEEN


@dataclasses.dataclass
class _Followed:
    """A person who is followed: the last position, and the body's speed in the picture."""

    number: int
    person: Person
    seconds: float
    speed: np.ndarray  # [2] pixels per second
    size: float
    began: float

    def predicted(self, seconds: float) -> np.ndarray:
        """Joints ``[J, 2]`` at a time: moved on at the mean speed, which decreases while the person is lost."""
        glide = _GLIDE * (1 - math.exp(-(seconds - self.seconds) / _GLIDE))
        return self.person.xy + self.speed * glide

    def update(self, person: Person, seconds: float) -> None:
        """Takes the person of a new frame."""
        step = seconds - self.seconds
        moved = np.median(person.xy - self.person.xy, axis=0)
        weight = 1 - math.exp(-step / _MEMORY) if self.seconds > self.began else 1.0
        self.speed = self.speed + weight * (moved / step - self.speed)
        self.size += (1 - math.exp(-step / _MEMORY)) * (size_of(person.xy) - self.size)
        self.person, self.seconds = person, seconds


class Tracker:
    """Gives persons numbers that they keep from frame to frame.

    A person who is lost, hidden by another person or missed by the estimator, keeps the number if found again within
    :data:`LONGEST_LOSS` seconds near the predicted position.

    Example:
        >>> tracker, body = Tracker(), np.random.default_rng(0).uniform(0, 100, (13, 2)).astype("float32")
        >>> def person(x):
        ...     return Person(np.zeros((13, 3), "float32"), body + (x, 0), np.ones(13, "float32"))
        >>> list(tracker.update([person(0), person(500)], 0.0))
        [0, 1]
        >>> list(tracker.update([person(490), person(5)], 0.1))
        [1, 0]
    """

    def __init__(self) -> None:
        self._followed: list[_Followed] = []
        self._count = 0
        self._seconds = 0.0  # of the frame before

    def update(self, persons: Sequence[Person], seconds: float) -> dict[int, Person]:
        """Assigns the persons of the next frame.

        Args:
            persons: The persons found, in any order; implausible ones are already left out.
            seconds: The frame's time stamp, later than that of the frame before.

        Returns:
            Number of each person -> the person, in the order of ``persons``; doubles are left out.
        """
        self._followed = [one for one in self._followed if seconds - one.seconds <= LONGEST_LOSS]
        pairs = _assignment(self._followed, persons, seconds)
        # A double of a person who was not lost is neither a lost person found again nor the beginning of a track.
        previous, self._seconds = self._seconds, seconds
        pairs.sort(key=lambda pair: self._followed[pair[0]].seconds < previous)
        numbers: dict[int, int] = {}  # index of a person -> number
        kept: list[Person] = []
        for row, column in pairs:
            one, person = self._followed[row], persons[column]
            if one.seconds < previous and any(are_double(person, other) for other in kept):
                continue
            one.update(person, seconds)
            numbers[column] = one.number
            kept.append(person)
        rest = [index for index in range(len(persons)) if index not in numbers]
        for index in sorted(rest, key=lambda index: -float(persons[index].confidence.mean())):
            person = persons[index]
            if any(are_double(person, other) for other in kept):
                continue
            kept.append(person)
            numbers[index] = self._count
            size = size_of(person.xy)
            self._followed.append(_Followed(self._count, person, seconds, np.zeros(2), size, seconds))
            self._count += 1
        return {numbers[index]: persons[index] for index in sorted(numbers)}

    def lost(self, seconds: float) -> dict[int, np.ndarray]:
        """Number -> predicted joints ``[J, 2]`` of the persons who are followed and were not in the last frame."""
        return {one.number: one.predicted(seconds) for one in self._followed if one.seconds < seconds}


def are_double(first: Person, second: Person) -> bool:
    """Whether two persons of one frame are one body found twice."""
    size = min(size_of(first.xy), size_of(second.xy))
    return _distance(first.xy, second.xy, first.confidence, second.confidence) < DOUBLE * size


def _assignment(followed, persons, seconds):
    """Pairs (index of a followed person, index of a found one) with the least total cost; none is out of reach."""
    if not followed or not persons:
        return []
    costs = np.array([[_least_cost(one, person, seconds) for person in persons] for one in followed])
    reachable = np.isfinite(costs)
    from scipy import optimize

    rows, columns = optimize.linear_sum_assignment(np.where(reachable, costs, 1e3))
    return [(row, column) for row, column in zip(rows, columns) if reachable[row, column]]


def _least_cost(one, person, seconds):
    """The lower of the costs of the person's pose and of the wrong pose that it replaces."""
    poses = [person] if person.instead_of is None else [person, person.instead_of]
    return min(_cost(one, pose, seconds) for pose in poses)


def _cost(one, person, seconds):
    """Difference of a person from the followed one's prediction, in body sizes; infinite if out of reach."""
    size, unseen = size_of(person.xy), seconds - one.seconds
    if max(size / one.size, one.size / size) > _SIZES_DIFFER:
        return math.inf
    predicted = one.predicted(seconds)
    distance = _distance(predicted, person.xy, one.person.confidence, person.confidence) / max(size, one.size)
    if distance > _REACH + _REACH_PER_SECOND * unseen:
        return math.inf
    return distance + _NO_OVERLAP * (1 - overlap(predicted, person.xy)) + _LOST * unseen


def _distance(first, second, first_confidence, second_confidence):
    """Mean distance of the joints, pixels, weighted by the lower of their confidences."""
    weights = np.minimum(first_confidence, second_confidence) + _FLOOR
    return float(np.average(np.linalg.norm(first - second, axis=-1), weights=weights))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of the boxes around joints ``[J, 2]``."""
    low, high = np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0))
    common = np.prod(np.maximum(high - low, 0.0))
    both = np.prod(np.ptp(first, axis=0)) + np.prod(np.ptp(second, axis=0)) - common
    return float(common / max(both, 1e-6))
