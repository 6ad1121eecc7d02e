"""The picture that leaves a session: the only place where a camera's frame becomes one that others see.

::

    frame, people ─► none: the frame │ blur: heads made coarse │ skeleton: black ─► skeletons, boxes, labels

``blur`` can only hide heads of people whom the estimator finds; with ``skeleton`` nothing of the frame is left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from serving.live.people import SCENE, Shown
from serving.live.state import UNKNOWN, PersonState
from tfrecords.converting import crops, drawing
from tfrecords.estimation.estimator import Person
from zoo import skeletons
from zoo.skeletons import Layout

HEAD = 0.25  # metres: radius around the middle of the face that is hidden, hair and chin included
LEAST_RADIUS = 6.0  # pixels
REMEMBERED = 2.0  # seconds for which a head stays hidden where its person was seen last
GROWTH = 0.5  # radii per second by which it grows meanwhile: the person may have moved
BLOCKS = 3  # coarse blocks across a head: too few to know anybody by
_FACE = ("nose", "eye", "ear", "mouth", "head")
_WHITE, _GREY = (255, 255, 255), (170, 170, 170)


@dataclasses.dataclass(frozen=True)
class Head:
    """A head in a picture: its middle and radius in pixels, and when it was seen."""

    x: float
    y: float
    radius: float
    seconds: float


class Privacy:
    """Hides what is not to leave.

    Args:
        kind: One of :data:`serving.live.settings.PRIVACY`.
        layout: Skeleton layout of the persons that :meth:`apply` is given.
    """

    def __init__(self, kind: str, layout: str) -> None:
        self._kind, self._layout = kind, skeletons.get(layout)
        self._heads: list[Head] = []

    def apply(self, picture: np.ndarray, everyone: Sequence[Person], seconds: float) -> np.ndarray:
        """A new picture, which may leave.

        Args:
            picture: ``[H, W, 3]`` uint8; not changed.
            everyone: All persons that it may show, see :class:`tfrecords.estimation.live.LiveEstimator`.
            seconds: When it was taken.
        """
        if self._kind == "skeleton":
            return np.zeros_like(picture)
        hidden = np.array(picture)
        if self._kind == "none":
            return hidden
        heads = [head_of(person, self._layout, seconds) for person in everyone]
        before = [one for one in self._heads if seconds - one.seconds <= REMEMBERED]
        self._heads = heads + [one for one in before if not any(_covers(head, one) for head in heads)]
        for head in self._heads:
            grown = head.radius * (1 + GROWTH * (seconds - head.seconds))
            _make_coarse(hidden, head.x, head.y, grown)
        return hidden


def head_of(person: Person, layout: Layout, seconds: float) -> Head:
    """Where the head of a person is, of whom all joints have positions, however unsure."""
    xy = person.xy
    face = [index for index, name in enumerate(layout.joints) if name.rpartition("_")[2] in _FACE or name in _FACE]
    face = face or [layout.head]
    middle = xy[face].mean(axis=0)

    spread = float(np.linalg.norm(xy[face] - middle, axis=-1).max())  # of a face that fills the picture, alone known
    known = np.ones((1, 1, len(xy)), bool)
    scales = [crops.pixels_per_metre(xy[None, None], known, layout, xyz) for xyz in (person.xyz[None, None], None)]
    body = HEAD * float(np.nanmax([scale[0] for scale in scales], initial=0.0))
    return Head(float(middle[0]), float(middle[1]), max(1.6 * spread, body, LEAST_RADIUS), seconds)


def _covers(head: Head, before: Head) -> bool:
    """Whether a head is the one that was seen before, a little further on."""
    distance = np.hypot(head.x - before.x, head.y - before.y)
    return bool(distance <= head.radius) and head.seconds - before.seconds < REMEMBERED


def _make_coarse(picture: np.ndarray, x: float, y: float, radius: float) -> None:
    """Replaces a disc of a picture by few blocks, whose colours are means over the square around it."""
    height, width = picture.shape[:2]
    left, right = (int(np.clip(value, 0, width)) for value in (x - radius, x + radius + 1))
    top, bottom = (int(np.clip(value, 0, height)) for value in (y - radius, y + radius + 1))
    if right <= left or bottom <= top:
        return
    part = picture[top:bottom, left:right]
    few = cv2.resize(part, (min(BLOCKS, right - left), min(BLOCKS, bottom - top)), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(few, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    rows, columns = np.ogrid[top:bottom, left:right]
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    part[inside] = coarse[inside]


def draw(picture: np.ndarray, people: Sequence[Shown], states: Sequence[PersonState], layout: str) -> None:
    """Draws skeletons, boxes and labels.

    Args:
        picture: ``[H, W, 3]`` uint8; drawn onto.
        people: The people in it.
        states: What is known of each of them.
        layout: Skeleton layout of the people.
    """
    width = max(round(picture.shape[0] / 360), 1)
    size = max(picture.shape[0] / 720, 0.4)
    for person, state in zip(people, states):
        if len(person.xy):
            drawing.joints(picture, person.xy[np.newaxis], person.visible[np.newaxis], skeletons.get(layout), width)
        x0, y0, x1, y1 = person.box
        colour = _WHITE if state.label and state.label != UNKNOWN else _GREY
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, width)
        line = caption(state)
        row = y0 - 4 if y0 > 24 * size else min(y0 + round(24 * size), picture.shape[0] - 4)
        drawing.text(picture, line, (x0, row), colour, size)


def caption(state: PersonState) -> str:
    """What is written at a person: number, class and probability, and how old the answer is.

    Example:
        >>> caption(PersonState(3, "drink", 0.91, (("drink", 0.91),), 5.0, (0, 0, 9, 9), age=1.24))
        '3 drink 91 % 1.2 s'
    """
    number = "" if state.track == SCENE else f"{state.track} "
    if not state.label:
        return f"{number}?" if not state.answered else f"{number}? {state.age:.0f} s"
    probability = "" if state.label == UNKNOWN else f" {state.probability:.0%}".replace("%", " %")
    return f"{number}{state.label}{probability} {state.age:.1f} s"
