"""Poses of whole recordings.

::

    frames ─► estimator ─► tracks ─► each: short gaps filled, smoothed, before the camera ─► M most relevant persons
"""

from __future__ import annotations

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

EXTRA_PERSONS = 1  # looked for in each frame beyond those wanted: the most relevant may not be the most certain
SMOOTHED = 0.2  # seconds of a recording to which a parabola is fitted at each frame
DEPTH_SMOOTHED = 0.7  # seconds, a line: the distance from the camera comes from the body's size, and trembles most
SHORTEST = 0.4  # seconds: as persons.SHORTEST_TRACK at 30 frames/s
SHORTEST_FRACTION = 0.25  # of the recording, where this is shorter
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
        return estimators.create(self.estimator, model=self.model, persons=self.persons + EXTRA_PERSONS)

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
    with settings.create() as network:
        joints = skeletons.get(network.layout).num_joints
        tracks, frames = _follow(recording, network, fps)
    tracks = without_short(tracks, frames, fps)
    finished = [_finish(track, recording, settings.focal_length, fps) for track in tracks]
    poses = persons.join(finished, frames, settings.persons, joints, relevance)
    if poses.xy is None:
        poses = dataclasses.replace(poses, xy=np.zeros((*poses.confidence.shape, 2), np.float32))
    return settings.onto_layout(poses)


def _follow(recording, network, fps):
    """The tracks of the persons, xyz from the hips; and how many frames there are."""
    tracker = tracking.Tracker()
    found: dict[int, list[tuple[int, estimators.Person]]] = {}
    frames = 0
    for frame in recording:
        picture = np.ascontiguousarray(frame)
        seconds = frames / fps
        everyone = network.persons(picture, seconds)
        plausible = [one for one in everyone if tracking.is_plausible(one, recording.width, recording.height)]
        for number, person in tracker.update(plausible, seconds).items():
            found.setdefault(number, []).append((frames, person))
        frames += 1
    return [_track(seen) for seen in found.values()], frames


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
    """Leaves out bodies that are seen too shortly for a person, unless none would remain."""
    shortest = min(SHORTEST * fps, SHORTEST_FRACTION * frames)
    return [track for track in tracks if len(track.frames) >= shortest] or list(tracks)


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
