"""Several persons in the frames of a recording, each followed in a square around the body.

::

    the frame, then tiles of it, one at a time ─► newcomers ─► a square around each
                                                                   │  ▲ moved when the person nears its edge
                                                                   ▼  │
                               a follower of one person ─► the person's pose, frame after frame

A detector scales its input picture to a small fixed size. In a wide frame with several people each person is then tiny,
and the detector invents bodies elsewhere. In a square around one person, the person is large, and an estimator that
follows one person finds nobody else to follow.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfrecords.estimation import tracking
from tfrecords.estimation.estimator import Estimator, Person
from zoo import skeletons

SQUARE = 2.0  # sizes of the body: side of the square in which a person is followed
EDGE = 1.15  # sizes of the body that must lie inside it
FARTHEST = 4.0  # sizes of the body: longest side of the square; it becomes relatively large when a person moves away
SMALLEST = 48  # pixels, of that side
LOST = 0.3  # seconds for which a lost person is searched for in the square
NEWCOMERS_EVERY = 0.19  # seconds between searches while somebody is followed: every second frame at ten per second
WIDE = 1.5  # aspect ratio, width to height or height to width, above which a frame has tiles
KNOWN = 0.3  # intersection over union above which a newcomer is a person who is already followed
SAME = 0.6  # intersection over union above which two followed persons are the same

Search = Callable[[np.ndarray], list[Person]]  # the persons in a picture [H, W, 3]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1: pixels, the last ones not included


@dataclasses.dataclass(eq=False)
class _Followed:
    """A person, the estimator that follows the person, and the part of the frame that it sees."""

    follower: Estimator
    person: Person
    seen: float  # seconds
    square: Box
    began: float  # seconds, of this square

    def move(self, square: Box, seconds: float) -> None:
        """Continues in another square, in which all positions have changed."""
        self.square, self.began = square, seconds
        self.follower.forget()


class Regions(Estimator):
    """Finds several persons in frames that follow one another; a context manager.

    Args:
        most: The most persons found in a frame.
        finder: Finds persons in pictures that do not follow one another; it is closed with this estimator.
        follower: Makes an estimator that follows one person. It is called when one more is needed.
    """

    def __init__(self, most: int, finder: Estimator, follower: Callable[[], Estimator]) -> None:
        self.layout = finder.layout
        self._most, self._finder, self._make = most, finder, follower
        self._joints = skeletons.get(self.layout)
        self._free: list[Estimator] = []
        self._followed: list[_Followed] = []
        self.forget()

    def forget(self) -> None:
        """Forgets the persons it follows: the next frame is searched as a recording's first."""
        self._free += [one.follower for one in self._followed]
        self._followed = []
        self._next_search = -math.inf  # seconds
        self._parts: Iterator[Box] | None = None
        self._size: tuple[int, ...] = ()

    def find_anew(self) -> None:
        """As :meth:`Estimator.find_anew`; the persons' positions are not forgotten."""
        for one in self._followed:
            one.move(one.square, one.seen)

    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        """The persons in the next frame.

        Args:
            frame: ``[H, W, 3]`` uint8, RGB.
            seconds: The frame's time stamp.

        Returns:
            A list of at most ``most`` :class:`~tfrecords.estimation.estimator.Person`. Implausible ones
            among them are not followed.
        """
        if self._size != frame.shape[:2]:
            self.forget()
        found: list[Person] = []
        for one in list(self._followed):
            again = self._again(one, frame, seconds)
            is_other = again is not None and any(_are_same(again, other) for other in found)
            if is_other or seconds - one.seen > LOST:
                self._followed.remove(one)
                self._free.append(one.follower)
            if again is not None and not is_other:
                found.append(again)
        return found + self._newcomers(frame, seconds, found)

    def _again(self, one: _Followed, frame: np.ndarray, seconds: float) -> Person | None:
        """A followed person in the next frame; ``None`` where the person is not found.

        An implausible pose, such as that of a face that fills the picture, is returned but not followed.
        """
        height, width = frame.shape[:2]
        if not _suits(one.square, one.person, height, width):
            one.move(square_around(one.person, height, width), seconds)
        persons = search_in(frame, one.square, lambda picture: one.follower.persons(picture, seconds - one.began))
        if not persons:
            return None
        if tracking.is_plausible(persons[0], self._joints, width, height):
            one.person, one.seen = persons[0], seconds
        return persons[0]

    def _newcomers(self, frame: np.ndarray, seconds: float, known: list[Person]) -> list[Person]:
        """Other persons, in the part of the frame whose turn it is; they are followed from then on."""
        if len(self._followed) >= self._most or (self._followed and seconds < self._next_search):
            return []
        self._next_search = seconds + NEWCOMERS_EVERY
        height, width = frame.shape[:2]
        if self._parts is None:
            parts = now = _parts(height, width)  # all parts of a recording's first frame are searched
            self._parts, self._size = itertools.cycle(parts), (height, width)
        else:
            now = [next(self._parts)]
        found: list[Person] = []
        for person in itertools.chain.from_iterable(search_in(frame, part, self._find) for part in now):
            others = [*known, *found, *(one.person for one in self._followed)]
            if any(tracking.overlap(person.xy, other.xy) > KNOWN for other in others):
                continue
            if len(known) + len(found) < self._most:
                found.append(person)
            if len(self._followed) < self._most and tracking.is_plausible(person, self._joints, width, height):
                self._follow(person, square_around(person, height, width), seconds)
        return found

    def _find(self, picture: np.ndarray) -> list[Person]:
        return self._finder.persons(picture, 0.0)

    def _follow(self, person: Person, square: Box, seconds: float) -> None:
        follower = self._free.pop() if self._free else self._make()
        self._followed.append(_Followed(follower, person, seconds, square, seconds))
        follower.forget()

    def close(self) -> None:
        """Frees what the finder and the followers hold."""
        self.forget()
        self._finder.close()
        for follower in self._free:
            follower.close()


def search_in(frame: np.ndarray, box: Box, search: Search) -> list[Person]:
    """The persons in a part of a frame, in the frame's pixels.

    Args:
        frame: ``[H, W, 3]`` uint8, RGB.
        box: ``(x0, y0, x1, y1)`` of the part, pixels.
        search: Finds the persons in a picture.

    Returns:
        A list of :class:`~tfrecords.estimation.estimator.Person`.
    """
    x0, y0, x1, y1 = box
    corner = np.array([x0, y0], np.float32)
    return [dataclasses.replace(one, xy=one.xy + corner) for one in search(frame[y0:y1, x0:x1])]


def square_around(person: Person, height: int, width: int) -> Box:
    """The part inside the frame of the square of :data:`SQUARE` body sizes around a person.

    Args:
        person: The person.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.

    Returns:
        ``(x0, y0, x1, y1)``, pixels.
    """
    low, high = person.xy.min(axis=0), person.xy.max(axis=0)
    half = max(SQUARE * float((high - low).max()), SMALLEST) / 2
    centre = np.clip((low + high) / 2, 0, (width, height))
    x0, y0 = np.maximum(np.floor(centre - half), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(centre + half), (width, height)).astype(int).tolist()
    return x0, y0, x1, y1


def part_to_search(person: Person, everyone: Sequence[Person], frame: np.ndarray) -> Box:
    """The part of a frame in which to search once more for one of its persons, so that nobody else is found.

    Args:
        person: The person.
        everyone: All persons found in the frame. If there is only one, the part is the whole frame.
        frame: ``[H, W, 3]``.

    Returns:
        ``(x0, y0, x1, y1)``, pixels.
    """
    height, width = frame.shape[:2]
    return square_around(person, height, width) if len(everyone) > 1 else (0, 0, width, height)


def _are_same(first: Person, second: Person) -> bool:
    return tracking.are_double(first, second) or tracking.overlap(first.xy, second.xy) > SAME


def _suits(square: Box, person: Person, height: int, width: int) -> bool:
    """Whether a person is well inside a square (except at the frame's edges) and not too small in it."""
    low, high = person.xy.min(axis=0), person.xy.max(axis=0)
    centre, half = (low + high) / 2, EDGE * (high - low) / 2
    x0, y0, x1, y1 = square
    is_inside = [
        x0 <= 0 or centre[0] - half[0] >= x0,
        y0 <= 0 or centre[1] - half[1] >= y0,
        x1 >= width or centre[0] + half[0] <= x1,
        y1 >= height or centre[1] + half[1] <= y1,
    ]
    side = max(x1 - x0, y1 - y0)
    return all(is_inside) and (side <= FARTHEST * float((high - low).max()) or side <= SMALLEST)


def _parts(height: int, width: int) -> list[Box]:
    """The frame, and squares that cover it if it is much wider than high or much higher than wide."""
    side, length = min(height, width), max(height, width)
    count = math.ceil(length / side) if length > WIDE * side else 0
    begins = np.linspace(0, length - side, count).round().astype(int).tolist()
    tiles = [(at, 0, at + side, side) if width > height else (0, at, side, at + side) for at in begins]
    return [(0, 0, width, height), *tiles]
