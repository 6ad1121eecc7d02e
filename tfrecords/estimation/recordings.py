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
from tfrecords.estimation import camera, search, smoothing, tracking
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

    @property
    def skeleton(self) -> str:
        """Skeleton layout that the poses have: the wanted one, or the estimator's own."""
        return self.layout or estimators.get(self.estimator).layout

    def search(self, width: int, height: int) -> search.Search:
        """The search for persons in the frames of one recording."""
        return search.Search(self.estimator, width, height, model=self.model, persons=self.persons)

    def onto_layout(self, poses: Poses) -> Poses:
        """Poses in the estimator's layout as poses in the wanted one."""
        return persons.onto(poses, estimators.get(self.estimator).layout, self.skeleton)


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
    joints = skeletons.get(estimators.get(settings.estimator).layout).num_joints
    found = _search(recording, settings, fps)
    tracks = without_short(_follow(found, fps), len(found), fps)
    finished = [_finish(track, recording, settings.focal_length, fps) for track in tracks]
    poses = persons.join(finished, len(found), settings.persons, joints, relevance)
    if poses.xy is None:
        poses = dataclasses.replace(poses, xy=np.zeros((*poses.confidence.shape, 2), np.float32))
    return settings.onto_layout(poses)


def _search(recording, settings, fps):
    """The plausible persons in each frame, found forwards and, where nobody was, once more backwards.

    An estimator finds a body more easily where it knows it from the frame before. Frames without a person are kept, as
    far as memory allows; when somebody is found, another search goes back through them from there.
    """
    found: list[list[estimators.Person]] = []
    missing: collections.deque[np.ndarray] = collections.deque()  # the last frames, in which nobody was found
    with settings.search(recording.width, recording.height) as forwards:
        for frame in recording:
            picture = np.asarray(frame)
            found.append(forwards.persons(picture, len(found) / fps))
            if not found[-1]:
                missing.append(picture)
                if len(missing) * picture.nbytes > BACKWARDS_BYTES:
                    missing.popleft()
            elif missing:
                with settings.search(recording.width, recording.height) as backwards:
                    backwards.persons(picture, 0.0)
                    _go_back(backwards, missing, found, fps)
                missing.clear()
    return found


def _go_back(backwards, missing, found, fps):
    """Searches the missing frames before the last one, from late to early, until the persons are lost."""
    lost = 0
    for number, picture in enumerate(reversed(missing), start=1):
        found[-1 - number] = backwards.persons(picture, number / fps)
        lost = 0 if found[-1 - number] else lost + 1
        if lost > BACKWARDS_LOST:
            return


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
