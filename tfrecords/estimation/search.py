"""The plausible persons in each frame of a recording, upright or lying.

Detectors of persons know people who stand and sit better than those who lie. Where nobody is found in a frame, it is
searched once more turned by 90 degrees.
"""

from __future__ import annotations

import numpy as np

from tfrecords.estimation import estimator, tracking
from tfrecords.estimation.estimator import Closing, Estimator, Person
from zoo import skeletons


class Search(Closing):
    """Searches frames one after another; a context manager.

    Args:
        name: Of a registered estimator.
        options: The estimator's.

    Attributes:
        layout: Skeleton layout of the joints.
        left_out: Persons that the newest frame seems to show, and who are not plausible: a face alone, invented bodies.
    """

    def __init__(self, name: str, **options: object) -> None:
        self.layout = skeletons.get(estimator.get(name).layout)
        self._name, self._options = name, options
        self.left_out: list[Person] = []
        self._upright = estimator.create(name, **options)
        self._turned: Estimator | None = None  # made when it is needed: it follows persons by itself

    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        """The plausible persons in the next frame.

        Args:
            frame: ``[H, W, 3]`` uint8, RGB.
            seconds: As of :meth:`Estimator.persons`.

        Returns:
            A list of :class:`Person`.
        """
        height, width = frame.shape[:2]
        self.left_out = []
        found = self._plausible(self._upright.persons(frame, seconds), width, height)
        if found:
            return found
        turned = self._for_turned().persons(np.ascontiguousarray(np.rot90(frame)), seconds)
        return self._plausible([_turned_back(person, width) for person in turned], width, height)

    def _plausible(self, everyone, width, height):
        plausible = [tracking.is_plausible(one, self.layout, width, height) for one in everyone]
        self.left_out += [one for one, kept in zip(everyone, plausible) if not kept]
        return [one for one, kept in zip(everyone, plausible) if kept]

    def _for_turned(self):
        if self._turned is None:
            self._turned = estimator.create(self._name, **self._options)
        return self._turned

    def prepare(self) -> None:
        """Loads what frames need, before the first one comes."""
        self._for_turned()
        self.forget()

    def forget(self) -> None:
        """As of :meth:`Estimator.forget`."""
        self._upright.forget()
        if self._turned is not None:
            self._turned.forget()

    def close(self) -> None:
        """Frees what the estimators hold."""
        self._upright.close()
        if self._turned is not None:
            self._turned.close()


def _turned_back(person, width):
    """A person of a frame that was turned counter-clockwise: its up was right, and its left was up."""
    (x, y, z), (column, row) = person.xyz.T, person.xy.T
    return Person(np.stack([y, -x, z], axis=-1), np.stack([width - row, column], axis=-1), person.confidence)
