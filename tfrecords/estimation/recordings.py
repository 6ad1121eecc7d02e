"""Poses of whole recordings.

::

    frames ─► estimator, forwards and backwards ─► tracks ─► each: short gaps filled, smoothed, before the camera
        ─► the M most relevant persons
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tfrecords.converting import persons
from tfrecords.converting.persons import Poses, Track
from tfrecords.estimation import camera, smoothing, tracking
from tfrecords.estimation import estimator as estimators
from zoo import skeletons

BACKWARDS_BYTES = 128 * 2**20  # of the frames kept for going back: 580 of 320x240, 21 of 1920x1080
BACKWARDS_LOST = 3  # frames: who is lost for more while going back had not come yet
SMOOTHED = 0.2  # seconds of a recording to which a parabola is fitted at each frame
DEPTH_SMOOTHED = 0.7  # seconds, a line: the distance from the camera comes from the body's size, and trembles most
SHORTEST = 0.4  # seconds: as persons.SHORTEST_TRACK at 30 frames/s
SHORTEST_FRACTION = 0.25  # of the recording, where this is shorter
FLASH = 0.1  # seconds
LEAST_CONFIDENCE = 0.01  # confidence of a joint whose position the estimator gives, however unsure


class Recording(Protocol):
    """What iterates over the frames of a recording, as :class:`tfrecords.converting.video.Video` does."""

    fps: float
    width: int
    height: int

    def __iter__(self) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Settings:
    """How poses are estimated.

    Attributes:
        estimator: Name of a registered estimator.
        model: Which of its models, or a file with one.
        layout: Skeleton layout of the poses; empty: the estimator's own.
        persons: Persons M wanted.
        focal_length: Of the camera, pixels; 0: a camera with a horizontal view of 60 degrees.
    """

    estimator: str = "blazepose"
    model: str = "full"
    layout: str = ""
    persons: int = 1
    focal_length: float = 0.0

    def options(self) -> dict[str, Any]:
        """The settings as JSON values; a model that is a file by its name and contents, wherever it lies."""
        path = pathlib.Path(self.model)
        if not path.is_file():
            return dataclasses.asdict(self)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {**dataclasses.asdict(self), "model": path.name, "model_sha256": digest}

    def create(self) -> estimators.Estimator:
        """The estimator for one recording."""
        return estimators.create(self.estimator, model=self.model, persons=self.persons)

    def onto_layout(self, poses: Poses) -> Poses:
        """Poses in the estimator's layout as poses in the wanted one."""
        source = estimators.get(self.estimator).layout
        if not self.layout or self.layout == source:
            return poses
        return persons.onto(poses, source, self.layout)


def estimate(recording: Recording, settings: Settings = Settings()) -> Poses:
    """The poses of the persons in a recording.

    Args:
        recording: Gives its frames (anything that ``numpy.asarray`` turns into ``[H, W, 3]`` uint8 RGB) and has ``fps``
            (0: not known, then 30), ``width`` and ``height``.
        settings: The :class:`Settings`.

    Returns:
        :class:`~tfrecords.converting.persons.Poses` of all frames: ``xyz`` ``[T, M, J, 3]`` in camera coordinates (x to
        the right, y upwards, z away from the camera), ``xy`` in pixels, ``confidence``, which is the estimator's own,
        and :data:`~tfrecords.converting.persons.INTERPOLATED` in gaps that were filled. The most relevant person is
        first. All zeros where nobody is found.

    Raises:
        UserError: No such estimator, or what it needs is missing.
        ValueError: The recording cannot be read.
    """
    fps = recording.fps or persons.FPS
    layout = skeletons.get(estimators.get(settings.estimator).layout)
    found = _Detection(recording, settings, layout, fps).everyone()
    tracks = without_short(_follow(found, fps), len(found), fps)
    finished = [_finish(track, recording, settings.focal_length, fps) for track in tracks]
    poses = persons.join(finished, len(found), settings.persons, layout.num_joints, relevance)
    if poses.xy is None:
        poses = dataclasses.replace(poses, xy=np.zeros((*poses.confidence.shape, 2), np.float32))
    return settings.onto_layout(poses)


class _Detection:
    """Finds the persons in each frame of a recording, forwards and, where nobody was found, once more backwards.

    An estimator finds a body more easily where it knows it from the frame before. Frames without a person are kept;
    when somebody is found, a second estimator goes back through them from there.
    """

    def __init__(self, recording: Recording, settings: Settings, layout: skeletons.Layout, fps: float):
        self._recording, self._settings, self._layout, self._fps = recording, settings, layout, fps
        self._found: list[list[estimators.Person]] = []
        self._missing: collections.deque[np.ndarray] = collections.deque()  # the last frames, in which nobody was found

    def everyone(self) -> list[list[estimators.Person]]:
        """The plausible persons in each frame."""
        with self._settings.create() as network:
            for frame in self._recording:
                picture = np.asarray(frame)
                self._found.append(self._persons(network, picture, len(self._found) / self._fps))
                if not self._found[-1]:
                    self._keep(picture)
                elif self._missing:
                    self._go_back(picture)
        return self._found

    def _persons(self, network, picture, seconds):
        width, height = self._recording.width, self._recording.height
        everyone = network.persons(picture, seconds)
        return [person for person in everyone if tracking.is_plausible(person, self._layout, width, height)]

    def _keep(self, picture):
        """Keeps a frame without a person, as far as memory allows."""
        self._missing.append(picture)
        while len(self._missing) * picture.nbytes > BACKWARDS_BYTES:
            self._missing.popleft()

    def _go_back(self, picture):
        """Looks for the persons of the last frame in those before it, until they are lost."""
        with self._settings.create() as network:
            self._persons(network, picture, 0.0)
            lost = 0
            for number in range(1, len(self._missing) + 1):
                index = len(self._found) - 1 - number
                self._found[index] = self._persons(network, self._missing[-number], number / self._fps)
                lost = 0 if self._found[index] else lost + 1
                if lost > BACKWARDS_LOST:
                    break
        self._missing.clear()


def _follow(found, fps):
    """The tracks of the persons in all frames, xyz from the hips."""
    tracker = tracking.Tracker()
    tracks: dict[int, list[tuple[int, estimators.Person]]] = {}
    for frame, everyone in enumerate(found):
        for number, person in tracker.update(everyone, frame / fps).items():
            tracks.setdefault(number, []).append((frame, person))
    return [_track(seen) for seen in tracks.values()]


def _track(seen):
    """A :class:`Track` of pairs (frame, person)."""
    frames, everyone = zip(*seen)
    return Track(
        np.array(frames),
        np.stack([person.xyz for person in everyone]),
        np.stack([np.maximum(person.confidence, LEAST_CONFIDENCE) for person in everyone]),
        np.stack([person.xy for person in everyone]),
    )


def without_short(tracks: Sequence[Track], frames: int, fps: float) -> list[Track]:
    """Leaves out bodies that are seen too shortly for a person.

    A flash of :data:`FLASH` seconds is never a person, whatever a sensor's longer limit is for those beside others.
    """
    tracks = [track for track in tracks if len(track.frames) >= min(FLASH * fps, frames)]
    shortest = min(SHORTEST * fps, SHORTEST_FRACTION * frames)
    return [track for track in tracks if len(track.frames) >= shortest] or tracks


def relevance(track: Track) -> float:
    """How long, how large and how clearly a body is seen: size in pixels times confidence, summed over its frames."""
    sizes = np.ptp(np.asarray(track.xy), axis=1).prod(axis=-1) ** 0.5
    return float((sizes * track.confidence.mean(axis=1)).sum())


def _finish(track, recording, focal, fps):
    """A track in camera coordinates, smoothed, its short gaps filled."""
    first, length = track.frames[0], track.frames[-1] - track.frames[0] + 1
    values = [np.zeros((length, 1, *part.shape[1:]), np.float32) for part in (track.xyz, track.confidence, track.xy)]
    for whole, part in zip(values, (track.xyz, track.confidence, track.xy)):
        whole[track.frames - first, 0] = part
    filled = persons.fill_gaps(Poses(*values), fps=fps)
    confidence = filled.confidence[:, 0]
    there = np.flatnonzero(confidence.any(axis=1))
    parts = []
    for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        xyz, xy = (smoothing.symmetric(part[run, 0], fps, SMOOTHED, order=2) for part in (filled.xyz, filled.xy))
        parts.append((_before_camera(xyz, xy, confidence[run], recording, focal, fps), xy))
    xyz, xy = (np.concatenate(part) for part in zip(*parts))
    return Track(first + there, xyz, confidence[there], xy)


def _before_camera(xyz, xy, confidence, recording, focal, fps):
    """Bodies of one run of frames in camera coordinates; the depth is smoothed in its logarithm."""
    width, height = recording.width, recording.height
    rays = camera.rays_of(xy, width, height, camera.focal_length(focal, width))
    depths = np.log(camera.depths(xyz, rays, confidence))
    depths = np.exp(smoothing.symmetric(depths, fps, DEPTH_SMOOTHED, order=1))
    return camera.positions(xyz, rays, confidence, depths).astype(np.float32)
