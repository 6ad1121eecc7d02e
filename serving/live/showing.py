"""The picture that leaves a session: only this module turns a camera's frame into a picture that others see.

::

    frame, people ─► none: the frame │ blur: heads pixelated │ skeleton: black ─► skeletons, boxes, labels

``blur`` hides only the heads that the estimator finds; with ``skeleton`` nothing of the frame is left. Where a model
looks is not drawn into the session's picture: the page draws it, and an annotated video can show it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

from serving.live.people import SCENE, Shown
from serving.live.state import UNKNOWN, PersonState
from tfrecords.converting import crops, drawing
from tfrecords.estimation.estimator import Person
from zoo import skeletons
from zoo.skeletons import Layout

HEAD = 0.25  # metres: radius of the hidden disc around the middle of the face; covers hair and chin
LEAST_RADIUS = 6.0  # pixels
REMEMBERED = 2.0  # seconds for which a head stays hidden where its person was seen last
GROWTH = 0.5  # radii per second by which the disc grows meanwhile: the person may have moved
BLOCKS = 3  # blocks across a pixelated head: too few to recognise anybody
_FACE = ("nose", "eye", "ear", "mouth", "head")
_WHITE, _GREY = (255, 255, 255), (170, 170, 170)
_LOOKS, _OPACITY = (255, 80, 0), 0.6  # drawn where a model looks most; the page has the same colour


@dataclasses.dataclass(frozen=True)
class Head:
    """A head in a picture: its middle and radius in pixels, and when it was seen."""

    x: float
    y: float
    radius: float
    seconds: float


class Privacy:
    """Hides what must not leave the session.

    Args:
        kind: One of :data:`serving.live.settings.PRIVACY`.
        layout: Skeleton layout of the persons that :meth:`apply` is given.
    """

    def __init__(self, kind: str, layout: str) -> None:
        self._kind, self._layout = kind, skeletons.get(layout)
        self._heads: list[Head] = []

    def apply(self, picture: np.ndarray, everyone: Sequence[Person], seconds: float) -> np.ndarray:
        """A new picture that may leave the session.

        Args:
            picture: ``[H, W, 3]`` uint8; not changed.
            everyone: All persons that the picture may show, see :class:`tfrecords.estimation.live.LiveEstimator`.
            seconds: When the picture was taken.
        """
        if self._kind == "skeleton":
            return np.zeros_like(picture)
        hidden = np.array(picture)
        if self._kind == "none":
            return hidden
        heads = [head_of(person, self._layout, seconds) for person in everyone]
        lost = [one for one in self._heads if seconds - one.seconds <= REMEMBERED]
        for head in heads:  # each matches at most one earlier head: a second one nearby may be a lost person's
            near = [one for one in lost if _distance(head, one) <= head.radius]
            if near:
                lost.remove(min(near, key=functools.partial(_distance, head)))
        self._heads = heads + lost
        for head in self._heads:
            grown = head.radius * (1 + GROWTH * (seconds - head.seconds))
            _make_coarse(hidden, head.x, head.y, grown)
        return hidden


def head_of(person: Person, layout: Layout, seconds: float) -> Head:
    """The head of a person; all joints must have positions, however uncertain."""
    xy = person.xy
    face = [index for index, name in enumerate(layout.joints) if name.rpartition("_")[2] in _FACE or name in _FACE]
    face = face or [layout.head]
    middle = xy[face].mean(axis=0)

    spread = float(np.linalg.norm(xy[face] - middle, axis=-1).max())  # the only size known if a face fills the picture
    known = np.ones((1, 1, len(xy)), bool)
    scales = [crops.pixels_per_metre(xy[None, None], known, layout, xyz) for xyz in (person.xyz[None, None], None)]
    body = HEAD * float(np.nanmax([scale[0] for scale in scales], initial=0.0))
    return Head(float(middle[0]), float(middle[1]), max(1.6 * spread, body, LEAST_RADIUS), seconds)


def _distance(head: Head, other: Head) -> float:
    return float(np.hypot(head.x - other.x, head.y - other.y))


def _make_coarse(picture: np.ndarray, x: float, y: float, radius: float) -> None:
    """Pixelates a disc of a picture: replaces it by a few blocks, which average the square around the disc."""
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


def attention(state: PersonState) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Where and when a model looks: attention maps, divided by their maxima; ``None`` for a map that it lacks.

    Args:
        state: What is known of a person.

    Returns:
        ``[m, m]`` over the square ``seen`` of the picture, and ``[t]`` over the answer's window.

    Example:
        >>> maps = {"temporal_attention": np.array([1.0, 4.0])}
        >>> attention(PersonState(0, "drink", 0.9, (), 5.0, (0, 0, 9, 9), attention=maps))
        (None, array([0.25, 1.  ]))
    """
    maps = {name: np.nan_to_num(np.asarray(value, np.float64)) for name, value in state.attention.items()}
    both = maps.get("spatio_temporal_attention")  # [t, m, n]
    grid = maps.get("spatial_attention", both.mean(axis=0) if both is not None else None)
    moments = maps.get("temporal_attention", both.mean(axis=(1, 2)) if both is not None else None)
    # Other maps, such as those over hands, do not cover a square of the picture.
    is_square = grid is not None and grid.ndim == 2 and grid.shape[0] == grid.shape[1] > 1
    is_line = moments is not None and moments.ndim == 1 and moments.size > 1
    return _relative(grid) if is_square and state.seen else None, _relative(moments) if is_line else None


def _relative(values):
    return values / max(values.max(), 1e-12)


def draw_attention(picture: np.ndarray, states: Sequence[PersonState]) -> None:
    """Draws where the model looks, for answers that have attention maps.

    Args:
        picture: ``[H, W, 3]`` uint8; drawn onto.
        states: What is known of the people in it.
    """
    height, width = picture.shape[:2]
    for state in states:
        grid, _ = attention(state)
        if grid is None or state.seen is None:
            continue
        x0, y0, x1, y1 = state.seen
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if left >= right or top >= bottom:
            continue
        rows = (np.arange(top, bottom) - y0) * len(grid) // (y1 - y0)
        columns = (np.arange(left, right) - x0) * len(grid) // (x1 - x0)
        opacity = _OPACITY * grid[np.ix_(rows, columns)][..., np.newaxis] ** 2
        part = picture[top:bottom, left:right]
        part[:] = np.rint(part + opacity * (np.array(_LOOKS) - part))


def caption(state: PersonState) -> str:
    """The text written beside a person: number, class and probability, and how old the answer is.

    Example:
        >>> caption(PersonState(3, "drink", 0.91, (("drink", 0.91),), 5.0, (0, 0, 9, 9), age=1.24))
        '3 drink 91 % 1.2 s'
    """
    number = "" if state.track == SCENE else f"{state.track} "
    if not state.label:
        return f"{number}?" if not state.answered else f"{number}? {state.age:.0f} s"
    probability = "" if state.label == UNKNOWN else f" {state.probability:.0%}".replace("%", " %")
    return f"{number}{state.label}{probability} {state.age:.1f} s"
