"""The people in front of a camera: their poses over the last seconds, and the windows that a model classifies.

::

    frame ─► poses, numbers ─► a ring of each person's last poses and pictures ─► a window, evenly spaced in time

The estimator gives poses at an irregular rate; a window has them at a constant rate. They are interpolated linearly
between two estimated poses at most half a second apart; in longer gaps the person is absent (all zeros), as in
converted recordings. Pictures are not interpolated: the nearest in time is taken.
"""

from __future__ import annotations

import collections
import dataclasses
import threading

import numpy as np

from serving.client import clips
from serving.client.estimation import Boxes, Estimation
from serving.live.sources import Frame
from tfrecords.converting import persons
from tfrecords.converting.persons import FPS, Poses
from tfrecords.estimation import estimator
from tfrecords.estimation.estimator import Person
from zoo import skeletons

LEAST_SEEN = 0.5  # least fraction of a window in which its person is seen
MOST_PER_SECOND = 80  # frames kept of a person for each second, at most: all of a camera's 60, half of 120
SCENE = -1  # in place of a person's number, for a model that takes whole frames


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What is seen of a person in one frame.

    Attributes:
        seconds: When the frame was taken, by ``time.monotonic``.
        xyz: ``[J, 3]`` joints, metres; ``None`` for a model that takes whole frames and no poses.
        pictures: Body part -> JPEG file.
    """

    seconds: float
    xyz: np.ndarray | None
    pictures: dict[str, bytes]


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """A person's last seconds, as a model takes them.

    Attributes:
        track: The person's number.
        start: Start of the window, by ``time.monotonic``.
        end: End of the window, likewise: when its newest frame was taken.
        pictures: Body part -> JPEG files; ``None`` where the model takes none.
        poses: ``[T, M, J, 3]``, the person, then the people nearest to him; ``None`` where the model takes none.
    """

    track: int
    start: float
    end: float
    pictures: dict[str, list[bytes]] | None
    poses: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """A person in the newest frame.

    Attributes:
        track: The person's number.
        box: ``(x0, y0, x1, y1)``, pixels.
        xy: ``[J, 2]`` joints, pixels; J is 0 for a whole frame.
        visible: ``[J]`` bool, which joints are seen.
        crop: ``(x0, y0, x1, y1)`` of the square that is cut out for the model; ``None``: nothing is cut out.
    """

    track: int
    box: tuple[int, int, int, int]
    xy: np.ndarray
    visible: np.ndarray
    crop: tuple[int, int, int, int] | None = None


class _Track:
    """The ring of one person."""

    def __init__(self, seconds: float, boxes: Boxes | None) -> None:
        self.ring: collections.deque[Seen] = collections.deque(maxlen=max(round(seconds * MOST_PER_SECOND), 2))
        self.boxes = boxes
        self.crop: tuple[int, int, int, int] | None = None  # of the newest frame

    def takes(self, seconds: float) -> bool:
        """Whether a frame is kept: those of a video in slow motion come so fast that they would fill the ring."""
        return not self.ring or seconds - self.ring[-1].seconds >= 1 / MOST_PER_SECOND

    def forget_before(self, seconds: float) -> None:
        while self.ring and self.ring[0].seconds < seconds:
            self.ring.popleft()


class People:
    """Follows the people of a stream; a frame is added in one thread, windows are taken in another.

    Args:
        estimation: What the model needs, an :class:`~serving.client.estimation.Estimation`; its ``settings`` say how
            many people are followed.
        window: Length of a window, seconds.
        model_persons: Persons M that the model takes.
        classify_scene: Whether the model takes whole frames and no poses: then there is one window, of whole frames.

    Attributes:
        everyone: All persons that the newest frame may show, see :class:`tfrecords.estimation.live.LiveEstimator`.

    Raises:
        UserError: There is no such estimator.
    """

    def __init__(
        self, estimation: Estimation, *, window: float, model_persons: int = 1, classify_scene: bool = False
    ) -> None:
        self._estimation = estimation
        self._window, self._model_persons = window, model_persons
        self._scene = classify_scene
        self._live = estimation.live_estimator(FPS)
        self._tracks: dict[int, _Track] = {}
        self._newest = 0.0
        self._size: tuple[int, ...] = ()
        self._first = self._highest = 0  # a new estimator counts from 0: its numbers are raised above the earlier ones
        self._lock = threading.Lock()
        self.everyone: list[Person] = []

    @property
    def layout(self) -> str:
        """Skeleton layout of the people shown."""
        return self._estimation.settings.skeleton

    @property
    def estimator_layout(self) -> str:
        """Skeleton layout of ``everyone``."""
        return estimator.get(self._estimation.settings.estimator).layout

    def add(self, frame: Frame) -> list[Shown]:
        """Takes the next frame.

        Returns:
            The people in it, or lost for at most half a second; for a model of whole frames, the frame as well.
        """
        height, width = frame.picture.shape[:2]
        if self._size not in ((), (height, width)):
            self.restart()
        self._size = height, width
        poses = self._live.poses(frame.picture, frame.seconds)
        self.everyone = self._live.everyone
        return self._take(frame, poses)

    def warm_up(self) -> Window:
        """Runs the estimator once, as its first frame takes longer, and returns an artificial window for the model."""
        picture = np.zeros((256, 256, 3), np.uint8)
        self._live.poses(picture, 0.0)
        count = max(round(self._window * FPS), 1)
        pictures = None
        if self._estimation.takes_video:
            pictures = {part: [clips.encode_jpeg(picture)] * count for part in self._estimation.parts or ("full_body",)}
        poses = None
        if self._estimation.poses:
            joints = skeletons.get(self.layout).num_joints
            rng = np.random.default_rng(0)
            poses = rng.normal(size=(count, self._model_persons, joints, 3)).astype(np.float32)
        return Window(SCENE, 0.0, 0.0, pictures, poses)

    def restart(self) -> None:
        """Makes the estimator anew, after an error or for another frame size; everybody counts as a new person then."""
        self.close()
        self._live = self._estimation.live_estimator(FPS)
        with self._lock:
            self._first = self._highest + 1
            self._tracks.clear()

    def _take(self, frame: Frame, poses: Poses) -> list[Shown]:
        height, width = frame.picture.shape[:2]
        shown = []
        for index, number in enumerate(self._live.numbers):
            confidence = poses.confidence[0, index]  # [J]
            if number is None or not confidence.any():
                continue
            assert poses.xyz is not None  # an estimator gives both
            assert poses.xy is not None
            xy, visible = poses.xy[0, index], confidence > 0
            one = Poses(*(value[:, index : index + 1] for value in (poses.xyz, poses.confidence, poses.xy)))
            track = self._first + number
            self._highest = max(self._highest, track)
            box = _around(xy[visible], width, height)
            if self._live.seen[index] and not self._scene:
                self._remember(track, frame, one)
            kept = self._tracks.get(track)
            shown.append(Shown(track, box, xy, visible, kept.crop if kept else None))
        if self._scene:
            shown.append(Shown(SCENE, (0, 0, width - 1, height - 1), np.zeros((0, 2)), np.zeros(0, bool)))
            with self._lock:
                scene = self._tracks.setdefault(SCENE, _Track(self._window + 1, None))
            if scene.takes(frame.seconds):
                whole = {"full_body": clips.encode_jpeg(frame.picture)}
                with self._lock:
                    scene.ring.append(Seen(frame.seconds, None, whole))
        with self._lock:
            self._newest = frame.seconds
            for known in list(self._tracks):
                self._tracks[known].forget_before(frame.seconds - self._window - persons.LONGEST_GAP)
                if not self._tracks[known].ring:
                    del self._tracks[known]
        return shown

    def _remember(self, number: int, frame: Frame, poses: Poses) -> None:
        """Keeps a person's pose, and the pictures cut out around him."""
        with self._lock:
            if number not in self._tracks:
                boxes = Boxes(self._estimation, FPS) if self._estimation.parts else None
                self._tracks[number] = _Track(self._window + 1, boxes)
            track = self._tracks[number]
        if not track.takes(frame.seconds):
            return
        pictures = {}
        if track.boxes is not None:
            for part, box in track.boxes(poses, *frame.picture.shape[:2]).items():
                pictures[part] = clips.encode_jpeg(self._estimation.cut(frame.picture, box))
                if part == "full_body":
                    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
                    track.crop = x0, y0, x1, y1
        elif self._estimation.takes_video:
            pictures = {"full_body": clips.encode_jpeg(frame.picture)}
        with self._lock:
            track.ring.append(Seen(frame.seconds, None if poses.xyz is None else poses.xyz[0, 0], pictures))

    def windows(self, since: float) -> list[Window]:
        """A window of each person who is seen in enough of it; no windows if no frame came after a time.

        Args:
            since: When the last windows ended, by ``time.monotonic``.
        """
        with self._lock:
            end = self._newest
            rings = {number: list(track.ring) for number, track in self._tracks.items()}
        if end <= since:
            return []
        count = max(round(self._window * FPS), 1)
        times = end - (count - 1 - np.arange(count)) / FPS  # [T]
        found = []
        for number, ring in rings.items():
            seen = np.array([one.seconds for one in ring])
            if _is_there(seen, times).mean() < LEAST_SEEN:
                continue
            pictures = None
            if ring[0].pictures:
                nearest = _nearest(seen, times)
                pictures = {part: [ring[i].pictures[part] for i in nearest] for part in ring[0].pictures}
            poses = self._poses(number, rings, times) if self._estimation.poses else None
            found.append(Window(number, float(times[0]), end, pictures, poses))
        return found

    def _poses(self, number: int, rings: dict[int, list[Seen]], times: np.ndarray) -> np.ndarray:
        """``[T, M, J, 3]``: the person, and the M - 1 people nearest to him."""
        own = _resampled(rings[number], times)
        if self._model_persons == 1:
            return own[:, np.newaxis]
        others = [_resampled(ring, times) for other, ring in rings.items() if other != number]
        others.sort(key=lambda one: _distance(own, one))
        everyone = [own, *others[: self._model_persons - 1]]
        everyone += [np.zeros_like(own)] * (self._model_persons - len(everyone))
        return np.stack(everyone, axis=1)

    def tracks(self) -> set[int]:
        """Numbers of the persons who are remembered."""
        with self._lock:
            return set(self._tracks)

    def close(self) -> None:
        """Frees what the estimator holds."""
        self._live.close()


def _around(points: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The box around joints ``[n, 2]``, inside the frame."""
    low, high = (np.clip(value, 0, (width - 1, height - 1)) for value in (points.min(axis=0), points.max(axis=0)))
    x0, y0, x1, y1 = np.rint([*low, *high]).astype(int).tolist()
    return x0, y0, x1, y1


def _is_there(seen: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``[T]`` bool: whether a person ``seen`` at times ``[n]`` counts as present at ``times``; in short gaps, too."""
    after = np.clip(np.searchsorted(seen, times), 0, len(seen) - 1)
    before = np.clip(np.searchsorted(seen, times, side="right") - 1, 0, len(seen) - 1)
    between = (seen[before] <= times) & (times <= seen[after]) & (seen[after] - seen[before] <= persons.LONGEST_GAP)
    return between | (np.abs(seen[_nearest(seen, times)] - times) <= 1 / FPS)


def _nearest(seen: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``[T]``: for each of the ``times``, the index of the nearest of the rising values ``seen`` ``[n]``."""
    after = np.clip(np.searchsorted(seen, times), 1, max(len(seen) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(seen) - 1)
    return np.where(times - seen[before] <= seen[after] - times, before, after)


def _resampled(ring: list[Seen], times: np.ndarray) -> np.ndarray:
    """Poses ``[T, J, 3]`` at evenly spaced times; zeros where the person is absent."""
    seen = np.array([one.seconds for one in ring])
    xyz = np.stack([np.asarray(one.xyz) for one in ring])  # [n, J, 3]
    at = np.clip(np.interp(times, seen, np.arange(len(seen))), 0, len(seen) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(seen) - 1)
    part = (at - low).astype(np.float32)[:, np.newaxis, np.newaxis]
    there = _is_there(seen, times)[:, np.newaxis, np.newaxis]
    return np.where(there, xyz[low] + part * (xyz[high] - xyz[low]), np.float32(0))


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance between the centres of two persons ``[T, J, 3]`` while both are present; infinite if never."""
    both = first.any(axis=(1, 2)) & second.any(axis=(1, 2))
    if not both.any():
        return float("inf")
    return float(np.linalg.norm(first[both].mean(axis=1) - second[both].mean(axis=1), axis=-1).mean())
