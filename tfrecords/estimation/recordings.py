"""Poses of whole recordings.

::

    frames ─► estimator, forwards and backwards ─► tracks ─► each: short gaps filled, smoothed, in camera coordinates
        ─► the M most relevant persons
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from tfrecords.converting import persons
from tfrecords.converting.persons import Poses, Track
from tfrecords.estimation import camera, regions, search, smoothing, tracking
from tfrecords.estimation import estimator as estimators
from zoo import skeletons
from zoo.shared import files

BACKWARDS_BYTES = 128 * 2**20  # memory of the frames kept for the backward search: 580 of 320x240, 21 of 1920x1080
BACKWARDS_LOST = 3  # frames: the backward search ends if a person is lost for more
SMOOTHED = 0.2  # seconds of a recording to which a parabola is fitted at each frame
DEPTH_SMOOTHED = 0.7  # seconds, a line: the distance from the camera follows from the body's size and jitters most
SHORTEST = 0.4  # seconds of the shortest track: as persons.SHORTEST_TRACK at 30 frames/s
SHORTEST_FRACTION = 0.25  # the same as a fraction of the recording, where that is shorter
FLASH = 0.1  # seconds: a body seen for less is never a person
ROUNDED = 1.5  # frames: 1 for a coarse clock, the rest for a mean rate that ignores the last frame's duration
TIME_ROUNDING = 0.001  # seconds: many containers round time stamps to milliseconds
LEAST_CONFIDENCE = 0.01  # least confidence of a joint whose position the estimator gives


class Recording(Protocol):
    """What gives the frames of a recording, as :class:`tfrecords.converting.video.Video` does."""

    @property
    def fps(self) -> float:
        """Frames per second; 0: not known."""

    @property
    def width(self) -> int:
        """Width of a frame in pixels."""

    @property
    def height(self) -> int:
        """Height of a frame in pixels."""

    def shown(self) -> Iterator[tuple[float, Any]]:
        """``(seconds, frame)`` of each frame; its time stamp is in seconds."""


class Part:
    """A part of a recording, itself a recording; it reports each frame that has been used.

    Args:
        recording: The :class:`Recording`.
        on_frame: Called after each frame; default: nothing is.
        first: Number of the first frame.
        length: Number of frames; ``None``: all from ``first`` on.
        fps: Frames per second, 0: not known; default: the recording's.

    Attributes:
        count: Frames that have been used.
    """

    def __init__(
        self,
        recording: Recording,
        on_frame: Callable[[], object] = lambda: None,
        *,
        first: int = 0,
        length: int | None = None,
        fps: float | None = None,
    ) -> None:
        self._recording, self._on_frame = recording, on_frame
        self._span = first, None if length is None else first + length
        self.fps = recording.fps if fps is None else fps
        self.width, self.height = recording.width, recording.height
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        return (frame for _, frame in self.shown())

    def shown(self) -> Iterator[tuple[float, Any]]:
        """As the recording's."""
        for frame in itertools.islice(self._recording.shown(), *self._span):
            yield frame
            self.count += 1
            self._on_frame()


@dataclasses.dataclass(frozen=True)
class Settings:
    """How poses are estimated.

    Attributes:
        estimator: Name of a registered estimator.
        model: Name of one of its models, or a model file.
        layout: Skeleton layout of the poses; empty: the estimator's own.
        persons: Persons M wanted.
        focal_length: Focal length of the camera in pixels; 0: that of a horizontal view of 60 degrees.
    """

    estimator: str = "blazepose"
    model: str = "full"
    layout: str = ""
    persons: int = 1
    focal_length: float = 0.0

    def options(self) -> dict[str, Any]:
        """The settings as JSON values; a model file by its name and SHA-256, without its folder."""
        path = pathlib.Path(self.model)
        if not path.is_file():
            return dataclasses.asdict(self)
        digest = files.sha256_of(path)
        return {**dataclasses.asdict(self), "model": path.name, "model_sha256": digest}

    @property
    def skeleton(self) -> str:
        """Skeleton layout that the poses have: the wanted one, or the estimator's own."""
        return self.layout or estimators.get(self.estimator).layout

    def search(self) -> search.Search:
        """The search for persons in the frames of one recording."""
        return search.Search(self.estimator, model=self.model, persons=self.persons)

    def onto_layout(self, poses: Poses) -> Poses:
        """Poses in the estimator's layout as poses in the wanted one."""
        return persons.onto(poses, estimators.get(self.estimator).layout, self.skeleton)


def estimate(recording: Recording, settings: Settings = Settings()) -> Poses:
    """The poses of the persons in a recording.

    Args:
        recording: A :class:`Recording`: it has ``fps`` (0: not known, then 30), ``width`` and ``height``, and gives its
            frames (anything that ``numpy.asarray`` turns into ``[H, W, 3]`` uint8 RGB) with their seconds; a time not
            later than the frame before counts as one frame later than it.
        settings: The :class:`Settings`.

    Returns:
        :class:`~tfrecords.converting.persons.Poses` of all frames: ``xyz`` ``[T, M, J, 3]`` in camera coordinates (x to
        the right, y upwards, z away from the camera), ``xy`` in pixels, ``confidence``, which is the estimator's own
        or, in gaps that were filled, :data:`~tfrecords.converting.persons.INTERPOLATED`. The most relevant person is
        first. All zeros where nobody is found.

    Raises:
        UserError: No such estimator, or what it needs is missing.
        ValueError: The recording cannot be read, or has no frames.
    """
    joints = skeletons.get(estimators.get(settings.estimator).layout).num_joints
    step = 1 / (recording.fps or persons.FPS)
    found, times = _search(recording, settings, step)
    if not found:
        raise ValueError("has no frames in the part to estimate: the recording is shorter than expected")
    lasting = np.diff(times, append=times[-1] + (times[-1] - times[-2] if len(times) > 1 else step))
    tracks = without_short(_follow(found, times), lasting)
    finished = [_finish(track, times, recording, settings.focal_length) for track in tracks]
    poses = persons.join(finished, len(found), settings.persons, joints, lambda track: relevance(track, lasting))
    if poses.xy is None:
        poses = dataclasses.replace(poses, xy=np.zeros((*poses.confidence.shape, 2), np.float32))
    return settings.onto_layout(poses)


class Clock:
    """Turns time stamps into rising ones: a stamp that does not rise means that its clock has begun anew.

    Args:
        step: Seconds from a frame to the next one if the next one's stamp does not rise.
        rounded: Whether stamps count as evenly spaced while they differ from even stamps by at most :data:`ROUNDED`
            steps. Encoders round stamps of 25 frames per second to a clock of 30, and joints would seem to halt and
            jump.

    Example:
        >>> clock = Clock(step=0.5)
        >>> [clock(stamp) for stamp in (0.0, 1.0, 1.0, 2.0, 0.0, 1.0)]
        [0.0, 1.0, 1.5, 2.5, 3.0, 4.0]
    """

    def __init__(self, step: float, rounded: bool = False) -> None:
        self._step, self._is_even = step, rounded
        self._before, self._offset = -math.inf, 0.0
        self._even: float | None = None  # the frame's time if evenly spaced

    def __call__(self, stamp: float) -> float:
        """Rising time stamp of the next frame in seconds."""
        self._even = stamp if self._even is None else self._even + self._step
        self._is_even = self._is_even and abs(stamp - self._even) <= ROUNDED * self._step
        stamp = self._even if self._is_even else stamp
        if stamp + self._offset <= self._before:
            self._offset = self._before + self._step - stamp
        self._before = stamp + self._offset
        return self._before


def _search(recording, settings, step):
    """The plausible persons in each frame, searched forwards and, where some were missed, backwards; and its times.

    An estimator finds a body more easily if it knows it from the frame before. The latest frames with fewer persons
    than wanted, or with persons upside down, are kept, as far as memory allows. When a person is found who was missing
    or upside down in the frame before, another search goes back through the kept frames from there.
    """
    found: list[list[estimators.Person]] = []
    times: list[float] = []
    kept: collections.deque[np.ndarray] = collections.deque()
    tracker, before, clock = tracking.Tracker(), set(), Clock(step, rounded=True)
    with settings.search() as forwards, _Backwards(settings) as backwards:
        for stamp, frame in recording.shown():
            picture, seconds = np.asarray(frame), clock(stamp)
            found.append(forwards.persons(picture, seconds))
            times.append(seconds)
            numbered = tracker.update(found[-1], seconds)
            for number, person in numbered.items():
                if kept and (number not in before or person.instead_of is not None):
                    backwards.follow(person, picture, kept, found, times)
            before = set(numbered)
            kept.append(picture)
            if sum(not forwards.is_upside_down(one) for one in found[-1]) >= settings.persons:
                kept.clear()
            elif len(kept) * picture.nbytes > BACKWARDS_BYTES:
                kept.popleft()
    return found, np.array(times)


class _Backwards(estimators.Closing):
    """Searches for persons in frames before the frame in which they were found; makes its estimator when needed."""

    def __init__(self, settings: Settings) -> None:
        self._persons = settings.persons
        self._settings = dataclasses.replace(settings, persons=1)
        self._search: search.Search | None = None

    def follow(self, person, picture, kept, found, times):
        """Follows a person of the last frame back through the kept frames, until the person is lost or known.

        A pose in which the person was found upside down is replaced.

        If other persons are in the last frame, an estimator that follows one person might follow any of them. So it
        only sees the square around this person.
        """
        part = regions.part_to_search(person, found[-1], picture)
        if self._search is None:
            self._search = self._settings.search()
        else:
            self._search.forget()
        if not any(tracking.are_double(one, person) for one in self._persons_in(picture, part, 0.0)):
            return
        lost = 0
        for index, earlier in zip(range(len(found) - 2, -1, -1), reversed(kept)):
            again = self._persons_in(earlier, part, times[-1] - times[index])
            better = self._search.without_upside_down(found[index], again)
            if better != found[index]:
                found[index], lost = better, 0
                continue
            known = any(tracking.are_double(one, other) for one in again for other in found[index])
            lost = 0 if again else lost + 1
            if known or lost > BACKWARDS_LOST or len(found[index]) >= self._persons:
                return
            found[index] = found[index] + again

    def _persons_in(self, picture, part, seconds):
        everyone = regions.search_in(picture, part, lambda cut: self._search.persons(cut, seconds))
        return [dataclasses.replace(one, instead_of=None) for one in everyone]

    def close(self) -> None:
        """Frees what the estimator holds."""
        if self._search is not None:
            self._search.close()


def _follow(found, times):
    """The tracks of the persons in all frames; xyz is relative to the hips."""
    tracker = tracking.Tracker()
    tracks: dict[int, list[tuple[int, estimators.Person]]] = {}
    for frame, (everyone, seconds) in enumerate(zip(found, times)):
        for number, person in tracker.update(everyone, seconds).items():
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


def without_short(tracks: Sequence[Track], lasting: np.ndarray) -> list[Track]:
    """Leaves out bodies that are seen for too short a time to be persons.

    A body seen for less than :data:`FLASH` seconds is never a person. The longer limit :data:`SHORTEST` applies only
    if at least one body reaches it.

    Args:
        tracks: :class:`~tfrecords.converting.persons.Track` of each body.
        lasting: ``[T]`` seconds that each frame of the recording lasts.

    Returns:
        The tracks that remain.
    """
    whole = lasting.sum()
    seen = [lasting[track.frames].sum() + TIME_ROUNDING for track in tracks]
    long_enough = [(track, time) for track, time in zip(tracks, seen) if time >= min(FLASH, whole)]
    shortest = min(SHORTEST, SHORTEST_FRACTION * whole)
    return [track for track, time in long_enough if time >= shortest] or [track for track, _ in long_enough]


def relevance(track: Track, lasting: np.ndarray) -> float:
    """How long, how large and how clearly a body is seen: size in pixels times confidence, summed over its time.

    Args:
        track: The body's :class:`~tfrecords.converting.persons.Track`.
        lasting: ``[T]`` seconds that each frame of the recording lasts.
    """
    sizes = np.ptp(np.asarray(track.xy), axis=1).prod(axis=-1) ** 0.5
    return float((sizes * track.confidence.mean(axis=1) * lasting[track.frames]).sum())


def _finish(track, times, recording, focal):
    """A track in camera coordinates, smoothed, its short gaps filled."""
    first, length = track.frames[0], track.frames[-1] - track.frames[0] + 1
    times = times[first : first + length]
    values = [np.zeros((length, 1, *part.shape[1:]), np.float32) for part in (track.xyz, track.confidence, track.xy)]
    for whole, part in zip(values, (track.xyz, track.confidence, track.xy)):
        whole[track.frames - first, 0] = part
    filled = persons.fill_gaps(Poses(*values), fps=recording.fps or persons.FPS, times=times)
    confidence = filled.confidence[:, 0]
    there = np.flatnonzero(confidence.any(axis=1))
    parts = []
    for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        at = times[run]
        xyz, xy = (smoothing.symmetric(part[run, 0], at, SMOOTHED, order=2) for part in (filled.xyz, filled.xy))
        parts.append((_before_camera(xyz, xy, confidence[run], at, recording, focal), xy))
    xyz, xy = (np.concatenate(part) for part in zip(*parts))
    return Track(first + there, xyz, confidence[there], xy)


def _before_camera(xyz, xy, confidence, times, recording, focal):
    """Bodies of one run of frames in camera coordinates; the depth is smoothed in its logarithm."""
    width, height = recording.width, recording.height
    rays = camera.rays_of(xy, width, height, camera.focal_length(focal, width))
    depths = np.log(camera.depths(xyz, rays, confidence))
    depths = np.exp(smoothing.symmetric(depths, times, DEPTH_SMOOTHED, order=1))
    return camera.positions(xyz, rays, confidence, depths).astype(np.float32)
