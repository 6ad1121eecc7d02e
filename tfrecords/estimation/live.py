"""Poses of a live stream: each frame's poses when it arrives, without waiting for the next frame."""

from __future__ import annotations

import numpy as np

from tfrecords.converting import persons
from tfrecords.converting.persons import Poses
from tfrecords.estimation import camera, recordings, smoothing, tracking
from tfrecords.estimation.estimator import Closing, Person

# Arguments of OneEuro: cut-off at rest, its rise with speed, cut-off of the speed; speeds are in body sizes. The whole
# body's position is a mean over all joints and jitters little. The logarithm of its depth jitters most.
_JOINTS = (1.5, 20.0, 3.0)
_PLACE = (5.0, 40.0, 3.0)
_DEPTH = (0.5, 5.0, 1.0)


class LiveEstimator(Closing):
    """Estimates, follows and smooths the persons of a stream, frame after frame; a context manager.

    A person keeps the same index among the M persons while seen, and for
    :data:`~tfrecords.estimation.tracking.LONGEST_LOSS` seconds after that; new persons take the first free index, the
    largest person first. While a person is lost for up to :data:`~tfrecords.converting.persons.LONGEST_GAP` seconds,
    the last pose stays, with the confidence :data:`~tfrecords.converting.persons.INTERPOLATED`.

    Args:
        settings: The :class:`~tfrecords.estimation.recordings.Settings`.
        fps: Frames per second.

    Attributes:
        numbers: Unique number of the person at each of the M indices; ``None`` at free indices.
        seen: Whether the newest frame shows the person at each index.
        everyone: All persons that the newest frame may show, in the estimator's own layout. They may be more than M,
            and include implausible ones, such as a face that fills the picture.

    Raises:
        UserError: No such estimator, or what it needs is missing.
    """

    def __init__(self, settings: recordings.Settings, fps: float) -> None:
        self._settings = settings
        self._search = settings.search()
        self._search.prepare()
        self._tracker = tracking.Tracker()
        self._shown: list[_Shown | None] = [None] * settings.persons
        self._clock = recordings.Clock(1 / (fps or persons.FPS))
        self.numbers: tuple[int | None, ...] = (None,) * settings.persons
        self.seen = (False,) * settings.persons
        self.everyone: list[Person] = []

    def poses(self, frame: np.ndarray, seconds: float) -> Poses:
        """The poses in the next frame.

        Args:
            frame: ``[H, W, 3]`` uint8, RGB.
            seconds: The frame's time stamp, from any origin; a time not later than the frame before counts as one frame
                later than it.

        Returns:
            :class:`~tfrecords.converting.persons.Poses` of this frame, ``[1, M, J, ...]``, as those of
            :func:`tfrecords.estimation.recordings.estimate`.
        """
        seconds = self._clock(seconds)
        found = self._search.persons(frame, seconds)
        self.everyone = [*found, *self._search.left_out]
        self._assign(self._tracker.update(found, seconds), seconds, *frame.shape[1::-1])
        shape = (1, len(self._shown), self._search.layout.num_joints)
        xyz, xy = np.zeros((*shape, 3), np.float32), np.zeros((*shape, 2), np.float32)
        confidence = np.zeros(shape, np.float32)
        self.numbers = tuple(None if one is None else one.number for one in self._shown)
        self.seen = tuple(one is not None and one.seconds == seconds for one in self._shown)
        for index, shown in enumerate(self._shown):
            if shown is None or seconds - shown.seconds > persons.LONGEST_GAP:
                continue
            xyz[0, index], xy[0, index] = shown.xyz, shown.xy
            confidence[0, index] = shown.confidence if shown.seconds == seconds else persons.INTERPOLATED
        return self._settings.onto_layout(Poses(xyz, confidence, xy))

    def _assign(self, found, seconds, width, height):
        """Updates the persons at their indices; new persons take the free indices, the largest person first."""
        for index, shown in enumerate(self._shown):
            if shown is not None and seconds - shown.seconds > tracking.LONGEST_LOSS:
                self._shown[index] = None
        focal = camera.focal_length(self._settings.focal_length, width)
        known = {shown.number: shown for shown in self._shown if shown is not None}
        for number in sorted(found, key=lambda number: -tracking.size_of(found[number].xy)):
            if number not in known:
                if None not in self._shown:
                    continue
                known[number] = _Shown(number)
                self._shown[self._shown.index(None)] = known[number]
            known[number].update(found[number], seconds, width, height, focal)

    def close(self) -> None:
        """Frees what the estimator holds."""
        self._search.close()


class _Shown:
    """A person at one of the M indices, smoothed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seconds = 0.0
        self.xyz = self.xy = self.confidence = np.zeros(0, np.float32)
        self._body = smoothing.OneEuro(*_JOINTS)
        self._pixels = smoothing.OneEuro(*_JOINTS)
        self._place = smoothing.OneEuro(*_PLACE)
        self._depth = smoothing.OneEuro(*_DEPTH)

    def update(self, person: Person, seconds: float, width: int, height: int, focal: float) -> None:
        """Takes the person of a new frame."""
        size = tracking.size_of(person.xy)
        metres = max(float(np.linalg.norm(np.ptp(person.xyz, axis=0))), 1e-3)
        self.seconds = seconds
        self.confidence = np.maximum(person.confidence, recordings.LEAST_CONFIDENCE)
        place = person.xy.mean(axis=0)
        self.xy = self._pixels(person.xy - place, seconds, size) + self._place(place, seconds, size)
        xyz = self._body(person.xyz, seconds, metres)[np.newaxis]
        weights, rays = self.confidence[np.newaxis], camera.rays_of(self.xy, width, height, focal)[np.newaxis]
        depths = self._depth(np.log(camera.depths(xyz, rays, weights)), seconds)
        self.xyz = camera.positions(xyz, rays, weights, np.exp(depths))[0]
