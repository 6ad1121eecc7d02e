"""Persons in a recording: from the bodies a sensor tracked to poses of a fixed number of persons.

::

    tracks (body number ─► its frames) ─► false bodies out ─► most moving first ─► joined into M persons
        ─► short gaps interpolated ─► xyz [T, M, J, 3], xy [T, M, J, 2], confidence [T, M, J]

The criteria for a false body are those published with the most used preparation of the NTU skeletons
(``data/ntu/get_raw_denoised_data.py`` of Chen et al., CTR-GCN, ICCV 2021, after Microsoft's SGN, CVPR 2020). They apply
only where a recording has more than one body.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tfrecords.errors import MissingPoses, RejectedClip
from zoo import skeletons

# Confidence of a joint. A sensor's own states are 2 tracked, 1 inferred (from other joints), 0 not tracked.
TRACKED, INFERRED, INTERPOLATED, ABSENT = 1.0, 0.5, 0.25, 0.0
KINECT_STATES = {2: TRACKED, 1: INFERRED, 0: ABSENT}

SHORTEST_TRACK = 12  # frames: a body seen for 11 or fewer is noise
WIDEST = 0.8  # width divided by height: in a frame where a body is wider, it looks like furniture
MOST_WIDE_FRAMES = 0.69754  # a body with at least this fraction of such frames is furniture
FPS = 30.0  # assumed for poses whose frame rate is not known
LONGEST_GAP = 0.5  # seconds: a straight line does not describe what a person does in a longer gap
FEWEST_JOINTS = 0.5  # fraction of a body's joints that must be measured in some frame; otherwise none is replaced


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """Poses of a recording.

    Attributes:
        xyz: ``[T, M, J, 3]`` float32, metres; an absent person is all zeros.
        confidence: ``[T, M, J]`` float32, 0 absent to 1.
        xy: ``[T, M, J, 2]`` float32 pixels of the frames, or ``None``.
    """

    xyz: np.ndarray | None
    confidence: np.ndarray
    xy: np.ndarray | None = None

    def __len__(self):
        return len(self.confidence)

    def part(self, first: int, length: int) -> Poses:
        """The poses of some frames."""
        span = slice(first, first + length)
        xyz, xy = (None if values is None else values[span] for values in (self.xyz, self.xy))
        return Poses(xyz, self.confidence[span], xy)


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """One body as a sensor followed it.

    Attributes:
        frames: ``[n]`` numbers of the frames it was seen in, rising.
        xyz: ``[n, J, 3]`` metres.
        confidence: ``[n, J]``.
        xy: ``[n, J, 2]`` pixels, or ``None``.
    """

    frames: np.ndarray
    xyz: np.ndarray
    confidence: np.ndarray
    xy: np.ndarray | None = None

    @property
    def motion(self) -> float:
        """How much it moves: the variances of its coordinates over all frames and joints, summed (m^2)."""
        return float(self.xyz[self._plausible].reshape(-1, 3).var(axis=0).sum()) if self._plausible.any() else 0.0

    @property
    def is_furniture(self) -> bool:
        """Whether it is wider than a person in most of its frames."""
        return 1 - self._plausible.mean() >= MOST_WIDE_FRAMES

    @property
    def _plausible(self):
        """Frames ``[n]`` in which it is not too wide for a person."""
        width, height = np.ptp(self.xyz[..., 0], axis=1), np.ptp(self.xyz[..., 1], axis=1)
        return width <= WIDEST * height


def without_false_bodies(tracks: Sequence[Track]) -> list[Track]:
    """Leaves out bodies that are not persons, unless none would remain.

    Args:
        tracks: :class:`Track` of every body.

    Returns:
        The tracks that remain.
    """
    for is_false in (lambda track: len(track.frames) < SHORTEST_TRACK, lambda track: track.is_furniture):
        remaining = [track for track in tracks if not is_false(track)]
        tracks = remaining if len(tracks) > 1 and remaining else tracks
    return list(tracks)


def join(
    tracks: Sequence[Track],
    frames: int,
    persons: int,
    joints: int,
    relevance: Callable[[Track], float] = lambda track: track.motion,
) -> Poses:
    """Puts tracks together into persons, the most relevant body first.

    A sensor that loses a body finds it again under another number. So a track goes to the first person who has no pose
    yet in the track's frames, and a person keeps the same index over the recording.

    Args:
        tracks: :class:`Track` of every body.
        frames: Frames T of the recording.
        persons: Persons M wanted.
        joints: Joints J.
        relevance: A function that gives a track's relevance; default: how much the body moves.

    Returns:
        :class:`Poses`.
    """
    with_pixels = bool(tracks) and all(track.xy is not None for track in tracks)
    xyz = np.zeros((frames, persons, joints, 3), np.float32)
    confidence = np.zeros((frames, persons, joints), np.float32)
    xy = np.zeros((frames, persons, joints, 2), np.float32) if with_pixels else None
    taken = np.zeros((persons, frames), bool)
    for track in sorted(tracks, key=lambda track: -relevance(track)):  # stable: the first of equals wins
        free = [person for person in range(persons) if not taken[person, track.frames].any()]
        if not free:
            continue
        person = free[0]
        taken[person, track.frames] = True
        xyz[track.frames, person] = track.xyz
        confidence[track.frames, person] = track.confidence
        if xy is not None:
            xy[track.frames, person] = track.xy
    return Poses(xyz, confidence, xy)


def absent(frames: int, persons: int, joints: int) -> Poses:
    """The poses of a recording in which nobody's pose is known: all zeros, with pixel coordinates."""
    shape = (frames, persons, joints)
    xyz, xy = (np.zeros((*shape, values), np.float32) for values in (3, 2))
    return Poses(xyz, np.zeros(shape, np.float32), xy)


def with_all_joints(poses: Poses, layout: skeletons.Layout) -> Poses:
    """Fills joints that were measured in no frame of a person, such as feet outside the picture.

    Such a joint is put on the nearest joint along the bones that was measured in the same frame, with the confidence
    :data:`INTERPOLATED`. If the fraction of joints that were measured in at least one frame is below
    :data:`FEWEST_JOINTS`, the person is left out, as if absent.

    Args:
        poses: :class:`Poses`; a confidence of 0 marks what was not measured.
        layout: A :class:`zoo.skeletons.Layout`.

    Returns:
        :class:`Poses`; all other gaps remain.
    """
    known = poses.confidence > 0  # [T, M, J]
    xyz, xy = (None if values is None else np.array(values) for values in (poses.xyz, poses.xy))
    confidence = np.array(poses.confidence)
    for person in np.flatnonzero(known.any(axis=(0, 2))):
        ever = known[:, person].any(axis=0)  # [J]
        if ever.mean() < FEWEST_JOINTS:
            confidence[:, person] = ABSENT
            continue
        for joint in np.flatnonzero(~ever):
            for near in _nearest_joints(layout, joint):
                free = (confidence[:, person, joint] == 0) & known[:, person, near]  # frames
                for values in (v for v in (xyz, xy) if v is not None):
                    values[free, person, joint] = values[free, person, near]
                confidence[free, person, joint] = INTERPOLATED
    return Poses(xyz, confidence, xy)


def _nearest_joints(layout, joint):
    """The other joints of a layout, in the order of their distance along the bones."""
    found = [joint]
    for near in found:  # the list grows meanwhile
        for first, second in layout.bones:
            for one, other in ((first, second), (second, first)):
                if one == near and other not in found:
                    found.append(other)
    return found[1:]


def of_count(poses: Poses, persons: int) -> Poses:
    """Poses of exactly ``persons`` persons: the first ones, and absent ones where there are fewer.

    Args:
        poses: :class:`Poses` of any number of persons.
        persons: Persons M wanted.

    Returns:
        :class:`Poses`.
    """

    def fit(values):
        if values is None:
            return None
        values = values[:, :persons]
        return np.pad(values, [(0, 0), (0, persons - values.shape[1])] + [(0, 0)] * (values.ndim - 2))

    return Poses(fit(poses.xyz), fit(poses.confidence), fit(poses.xy))


def onto(poses: Poses, source: str, target: str) -> Poses:
    """Poses with the joints of another skeleton layout, see :mod:`zoo.skeletons.maps`.

    Args:
        poses: :class:`Poses` in the layout ``source``.
        source: Name of their layout.
        target: Name of the layout wanted.

    Returns:
        :class:`Poses`; a joint computed from a joint that was not measured (confidence 0) is zero, with confidence 0.

    Raises:
        ValueError: There is no map between the two layouts.
    """
    if source == target:
        return poses
    confidence = skeletons.map_confidence(poses.confidence, source, target)

    def mapped(values):
        if values is None:
            return None
        return np.where(confidence[..., np.newaxis] > 0, skeletons.map_joints(values, source, target), np.float32(0))

    return Poses(mapped(poses.xyz), confidence, mapped(poses.xy))


def measured(xyz: np.ndarray) -> np.ndarray:
    """Which joints ``[T, M, J]`` of poses ``[T, M, J, D]`` were measured: those with finite numbers, not all zero."""
    return np.isfinite(xyz).all(axis=-1) & (xyz != 0).any(axis=-1)


def without_gaps(xyz: np.ndarray, fps: float = FPS) -> np.ndarray:
    """Fills lost joints by :func:`fill_gaps`, in poses without confidences.

    Args:
        xyz: ``[T, M, J, 3]`` metres; a joint that was not measured is zero or NaN, as are all joints of an absent
            person.
        fps: Poses per second.

    Returns:
        ``[T, M, J, 3]`` float32; all zeros where nobody was measured.

    Raises:
        RejectedClip: A joint of a person was measured in no frame.
    """
    xyz = np.asarray(xyz, np.float32)
    known = measured(xyz)
    if known.all():
        return xyz
    if not known.any():
        return np.zeros_like(xyz)
    return np.asarray(fill_gaps(Poses(xyz, known * np.float32(TRACKED)), fps=fps).xyz)


def fill_gaps(
    poses: Poses,
    layout: skeletons.Layout | None = None,
    *,
    fps: float = FPS,
    times: np.ndarray | None = None,
    longest: float | None = LONGEST_GAP,
) -> Poses:
    """Interpolates joints that were not measured, linearly between the nearest frames in which they were.

    A joint left at zero would lie at the sensor and pull the whole body there. A joint that is lost while other joints
    of the body are seen is interpolated, however long the gap; before its first and after its last measurement, the
    nearest measurement is used. A body that is lost as a whole stays absent where the gap is longer than ``longest``,
    or at the recording's beginning or end.

    Args:
        poses: :class:`Poses`; a confidence of 0 marks what was not measured.
        layout: A :class:`zoo.skeletons.Layout`, for messages; default: joints are named by their numbers.
        fps: Poses per second.
        times: ``[T]`` time stamps of the poses in seconds, rising; default: evenly spaced at the rate ``fps``.
        longest: Longest gap of a whole body that is filled, in seconds; ``None``: any gap, beginning and end included.

    Returns:
        :class:`Poses` without gaps in the bodies that are present; joints that were filled have the confidence
        :data:`INTERPOLATED`.

    Raises:
        MissingPoses: Nobody was measured in any frame.
        RejectedClip: A joint of a person who is present was measured in no frame.
    """
    known = poses.confidence > 0  # [T, M, J]
    if not known.any():
        raise MissingPoses(f"no skeleton in any of its {len(poses)} frames")
    parts = [values for values in (poses.xyz, poses.xy) if values is not None]
    values = np.concatenate(parts, axis=-1).astype(np.float32)  # [T, M, J, 3 + 2]
    confidence = np.array(poses.confidence, np.float32)
    frames = np.arange(len(values)) if times is None else times * fps  # times, in mean frame durations
    for person in np.flatnonzero(known.any(axis=(0, 2))):
        never = np.flatnonzero(~known[:, person].any(axis=0))
        if never.size:
            name = layout.joints[never[0]] if layout else never[0]
            raise RejectedClip(f"joint {name} measured in no frame")
        there = _there(known[:, person].any(axis=1), frames, None if longest is None else round(longest * fps))
        for joint in range(values.shape[2]):
            seen = known[:, person, joint]
            lost = there & ~seen
            for axis in range(values.shape[3]):
                values[lost, person, joint, axis] = np.interp(
                    frames[lost], frames[seen], values[seen, person, joint, axis]
                )
            confidence[lost, person, joint] = INTERPOLATED
    values[confidence == 0] = 0.0
    xyz = values[..., :3] if poses.xyz is not None else None
    return Poses(xyz, confidence, values[..., -2:] if poses.xy is not None else None)


def _there(seen, frames, longest):
    """Frames ``[T]`` in which a body counts as present: where it was seen, and gaps of up to ``longest`` frames."""
    if longest is None:
        return np.ones(len(seen), bool)
    there = seen.copy()
    seen_in = np.flatnonzero(seen)
    for before, after in zip(seen_in, seen_in[1:]):
        if round(frames[after] - frames[before]) - 1 <= longest:
            there[before:after] = True
    return there
