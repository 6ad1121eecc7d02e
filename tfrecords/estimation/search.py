"""The plausible persons in each frame of a recording, upright or lying.

Detectors find people who stand or sit more easily than people who lie. A frame in which nobody is found is turned by 90
degrees and searched once more.

If a person is seen from behind or only in part, an estimator may mistake the shoulders for hips. As it follows the
body from frame to frame, the body stays upside down. Such a frame is searched once more as if it were a recording's
first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tfrecords.estimation import estimator, regions, tracking
from tfrecords.estimation.estimator import Closing, Estimator, Person
from zoo import skeletons

UPSIDE_DOWN = 0.5  # fraction of the trunk's length by which the shoulders are below the hips in the picture
CHECK_EVERY = 0.2  # seconds until the next new search if a person was upside down in the last one as well
SAME_PLACE = 0.1  # least intersection over union of the boxes around one body's joints, upside down and upright


class Search(Closing):
    """Searches frames one after another; a context manager.

    Args:
        name: Name of a registered estimator.
        options: Arguments of the estimator.

    Attributes:
        layout: Skeleton layout of the joints.
        left_out: Implausible persons that were found in the newest frame, such as a face alone or invented bodies.
    """

    def __init__(self, name: str, **options: object) -> None:
        self.layout = skeletons.get(estimator.get(name).layout)
        self._shoulders, self._hips = (
            [number for number, joint in enumerate(self.layout.joints) if joint.endswith(end)]
            for end in ("shoulder", "hip")
        )
        self._name, self._options = name, options
        self.left_out: list[Person] = []
        self._upright = estimator.create(name, **options)
        self._other: Estimator | None = None  # for turned frames and checks; made when needed
        self._next_check = -math.inf  # seconds

    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        """The plausible persons in the next frame.

        Args:
            frame: ``[H, W, 3]`` uint8, RGB.
            seconds: As for :meth:`Estimator.persons`.

        Returns:
            A list of :class:`Person`.
        """
        height, width = frame.shape[:2]
        self.left_out = []
        found = self._plausible(self._upright.persons(frame, seconds), width, height)
        if found:
            return self._upright_where_possible(found, frame, seconds)
        turned = self._other_estimator().persons(np.ascontiguousarray(np.rot90(frame)), seconds)
        return self._plausible([_turned_back(person, width) for person in turned], width, height)

    def _upright_where_possible(self, found, frame, seconds):
        """The persons; one who is upside down is replaced by an upright one, if a new search finds one there."""
        if seconds < self._next_check or not any(self.is_upside_down(one) for one in found):
            return found
        self._next_check = seconds + CHECK_EVERY
        height, width = frame.shape[:2]
        better = found
        for wrong in filter(self.is_upside_down, found):
            anew = regions.search_in(frame, regions.part_to_search(wrong, found, frame), self._search_anew)
            anew = [one for one in anew if tracking.is_plausible(one, self.layout, width, height)]
            better = self.without_upside_down(better, anew)
        if any(one.instead_of is not None for one in better):
            self._upright.find_anew()  # else it goes on following the wrong pose
            self._next_check = seconds
        return better

    def _search_anew(self, picture):
        other = self._other_estimator()
        other.forget()
        return other.persons(picture, 0.0)

    def is_upside_down(self, person: Person) -> bool:
        """Whether a person's shoulders are far below the hips in the picture."""
        shoulders, hips = (person.xy[joints].mean(axis=0) for joints in (self._shoulders, self._hips))
        return bool(shoulders[1] - hips[1] > UPSIDE_DOWN * np.linalg.norm(shoulders - hips))

    def without_upside_down(self, found: Sequence[Person], others: Sequence[Person]) -> list[Person]:
        """Replaces persons who are upside down by persons who are upright in the same place, if there are any.

        Args:
            found: The persons.
            others: Persons that another search of the frame found.

        Returns:
            The same number of persons; replacements have the attribute ``instead_of``.
        """
        upright = [one for one in others if not self.is_upside_down(one)]
        return [self._instead_of(one, upright) if self.is_upside_down(one) else one for one in found]

    def _instead_of(self, wrong, upright):
        same = [one for one in upright if tracking.overlap(wrong.xy, one.xy) > SAME_PLACE]
        return dataclasses.replace(same[0], instead_of=wrong) if same else wrong

    def _plausible(self, everyone, width, height):
        plausible = [tracking.is_plausible(one, self.layout, width, height) for one in everyone]
        self.left_out += [one for one, kept in zip(everyone, plausible) if not kept]
        return [one for one, kept in zip(everyone, plausible) if kept]

    def _other_estimator(self):
        if self._other is None:
            self._other = estimator.create(self._name, **{**self._options, "persons": 1})
        return self._other

    def prepare(self) -> None:
        """Makes all estimators before the first frame comes."""
        self._other_estimator()
        self.forget()

    def forget(self) -> None:
        """As :meth:`Estimator.forget`."""
        self._next_check = -math.inf
        self._upright.forget()
        if self._other is not None:
            self._other.forget()

    def close(self) -> None:
        """Frees what the estimators hold."""
        self._upright.close()
        if self._other is not None:
            self._other.close()


def _turned_back(person, width):
    """Turns back a person of a frame that was turned counter-clockwise, in which up is right and left is up."""
    (x, y, z), (column, row) = person.xyz.T, person.xy.T
    return Person(np.stack([y, -x, z], axis=-1), np.stack([width - row, column], axis=-1), person.confidence)
