"""Several persons in the frames of a recording, each followed in a square around him.

::

    the frame, then tiles of it, one at a time ─► newcomers ─► a square around each
                                                                   │  ▲ moved when he nears its edge
                                                                   ▼  │
                               a follower of one person ─► his pose, frame after frame

A detector of persons sees the picture it is given at a small fixed size: of several people in a wide frame little is
left of each, and bodies are invented elsewhere. In a square around him a person is large, and an estimator that follows
one person has nobody else to follow.
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
FARTHEST = 4.0  # sizes of the body: longest side of the square, as of a person who has moved away
SMALLEST = 48  # pixels, of that side
LOST = 0.3  # seconds for which a person who is lost is searched in his square
NEWCOMERS_EVERY = 0.19  # seconds, where somebody is followed: in each second frame of a camera with ten per second
WIDE = 1.5  # times as long as high, or as high as long: from there on a frame has tiles
KNOWN = 0.3  # intersection over union from which on a newcomer is a person who is followed
SAME = 0.6  # likewise, of two who are followed

Search = Callable[[np.ndarray], list[Person]]  # the persons in a picture [H, W, 3]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1: pixels, the last ones not included


@dataclasses.dataclass(eq=False)
class _Followed:
    """A person, and who follows him in which part of the frame."""

    follower: Estimator
    person: Person
    seen: float  # seconds
    square: Box
    began: float  # seconds, of this square

    def move(self, square: Box, seconds: float) -> None:
        """Goes on in another square, where nothing is where it was."""
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
        """Forgets whom it followed: the next frame is searched as a recording's first."""
        self._free += [one.follower for one in self._followed]
        self._followed = []
        self._next_search = -math.inf  # seconds
        self._parts: Iterator[Box] | None = None
        self._size: tuple[int, ...] = ()

    def find_anew(self) -> None:
        """As of :meth:`Estimator.find_anew`; where the persons are is not forgotten."""
        for one in self._followed:
            one.move(one.square, one.seen)

    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        """The persons in the next frame.

        Args:
            frame: ``[H, W, 3]`` uint8, RGB.
            seconds: When it was taken.

        Returns:
            A list of at most ``most`` :class:`~tfrecords.estimation.estimator.Person`. Some may not be plausible: they
            are not followed.
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
        """A person who is followed, in the next frame; ``None`` where he is not found.

        A pose that is not plausible, as of a face that comes to fill the picture, is given, but not followed.
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
            parts = now = _parts(height, width)  # a recording's first frame is searched altogether
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
        height: Of the frame, pixels.
        width: Likewise.

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
    """Where one of the persons of a frame is searched once more, so that nobody else is found: around him.

    Args:
        person: The person.
        everyone: All persons found in the frame. Where he is the only one, he is searched in all of it.
        frame: ``[H, W, 3]``.

    Returns:
        ``(x0, y0, x1, y1)``, pixels.
    """
    height, width = frame.shape[:2]
    return square_around(person, height, width) if len(everyone) > 1 else (0, 0, width, height)


def _are_same(first: Person, second: Person) -> bool:
    return tracking.are_double(first, second) or tracking.overlap(first.xy, second.xy) > SAME


def _suits(square: Box, person: Person, height: int, width: int) -> bool:
    """Whether a person is well inside a square, where the frame goes on, and not small in it."""
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
    """The frame, and squares that cover it where it is much longer than high or higher than long."""
    side, length = min(height, width), max(height, width)
    count = math.ceil(length / side) if length > WIDE * side else 0
    begins = np.linspace(0, length - side, count).round().astype(int).tolist()
    tiles = [(at, 0, at + side, side) if width > height else (0, at, side, at + side) for at in begins]
    return [(0, 0, width, height), *tiles]
