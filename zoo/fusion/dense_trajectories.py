"""Improved dense trajectories: points tracked through optical flow, and descriptors along them.

Wang, Schmid, "Action recognition with improved trajectories", ICCV 2013 (ICCV13), which refers for details to Wang,
Kläser, Schmid, Liu, "Dense trajectories and motion boundary descriptors for action recognition", IJCV 2013 (IJCV13).
::

    frames ─► grey ─► flow ─► median ─► points on a grid, at several scales, tracked for L frames ─► tracks
                       └─► minus the camera's motion (a homography) ─► residual flow ─► tracks that only follow
                                                                                      the camera are removed
    32 x 32 pixels around a track ─► 2 x 2 x 3 cells ─► HOG (grey), HOF and MBH (residual flow)
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zoo.checks import ZooError, check_minimum
from zoo.shared import extras

if TYPE_CHECKING:
    import cv2
else:
    cv2 = extras.lazy("cv2")

PATCH = 32  # side N of the square around a point, pixels of its scale (IJCV13 section 3.3)
CELLS, TIME_CELLS = 2, 3  # cells n_sigma along a side of the patch, n_tau along the track
BINS = 8  # orientations of a histogram
MIN_FLOW = 0.4  # pixels; HOF counts slower motion in a bin of its own
SCALE_STEP = 2**-0.5
CORNER_QUALITY = 0.001  # minimal eigenvalue of a textured point, as a fraction of the frame's largest (equation 1)

# Conditions for keeping a track, in pixels of the frame (IJCV13 section 3.2, ICCV13 section 3.1).
MIN_DEVIATION, MAX_DEVIATION = 3**0.5, 50.0  # of the points in x or y: less is static, more is erratic
LONGEST_STEP, LONGEST_FRACTION = 20.0, 0.7  # jump: a step longer than both, in pixels and as a fraction of the track
MIN_RESIDUAL = 1.0  # the largest step, without the camera's motion, must exceed this

# The homography: the threshold in pixels is that of the authors' tool; with fewer matches the camera counts as still.
RANSAC_THRESHOLD = 1.0
MIN_MATCHES, MIN_INLIERS = 50, 25
_CORNERS = 1000
_NOTHING = 1e-3  # a histogram with a smaller sum is rounding error

HISTOGRAMS = {"hog": BINS, "hof": BINS + 1, "mbhx": BINS, "mbhy": BINS}
"""Descriptor -> orientations of one cell; a descriptor has 2 x 2 x 3 cells."""


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectories:
    """The tracks of a clip and their descriptors.

    Attributes:
        points: ``[n, L + 1, 2]`` float32: x, y in pixels of the frames.
        start: ``[n]`` int32: frame of a track's first point.
        scale: ``[n]`` int32: index of the scale at which a track was found; 0 is the frames' original size.
        trajectory: ``[n, 2 L]`` float32: steps without the camera's motion, divided by the sum of their lengths.
        hog: ``[n, 96]`` float32: histograms of the gradients' orientation.
        hof: ``[n, 108]`` float32: histograms of the flow's orientation, with a bin for no motion.
        mbhx: ``[n, 96]`` float32: motion boundaries, histograms of the gradients of the flow's x.
        mbhy: ``[n, 96]`` float32: the same for the flow's y.

    Histograms are square roots of fractions that add up to 1 (ICCV13 section 3.2), so their length is 1.
    """

    points: np.ndarray
    start: np.ndarray
    scale: np.ndarray
    trajectory: np.ndarray
    hog: np.ndarray
    hof: np.ndarray
    mbhx: np.ndarray
    mbhy: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


def extract(frames: np.ndarray, *, track_length: int = 15, sampling_step: int = 5, scales: int = 8) -> Trajectories:
    """Improved dense trajectories of a clip.

    The method is that of ICCV13, with two differences. The flow is OpenCV's dense inverse search (Kroeger et al., ECCV
    2016), computed once at full size and resized, instead of Farnebäck's at each scale. The camera's motion is
    subtracted from the flow, instead of computing the flow again between warped frames. No human detector is used.

    Args:
        frames: ``[T, H, W, 3]`` uint8, RGB; H and W at least 32.
        track_length: Steps L of a track, a multiple of 3. Clips shorter than L + 1 frames have no tracks.
        sampling_step: Distance W of sampled points, pixels of their scale.
        scales: Largest number of scales, each smaller than the one before by the square root of 2 and none smaller
            than a patch.

    Returns:
        The :class:`Trajectories`, in the order of their first frames.

    Raises:
        ZooError: The frames have another shape or type or are too small, or a parameter is out of range.

    Example:
        >>> import numpy as np
        >>> speckles = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
        >>> still = np.stack([speckles[:, :64]] * 8)
        >>> len(extract(still, track_length=6))
        0
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or not len(frames) or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ZooError(f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3]")
    height, width = frames.shape[1:3]
    if min(height, width) < PATCH:
        raise ZooError(f"frames are {height} x {width} pixels, expected at least {PATCH} x {PATCH}")
    check_minimum(1, sampling_step=sampling_step, scales=scales)
    if track_length < TIME_CELLS or track_length % TIME_CELLS:
        raise ZooError(f"track_length is {track_length}, expected a multiple of {TIME_CELLS}")
    count = 1 + int(np.log2(min(height, width) / PATCH) / -np.log2(SCALE_STEP))
    levels = [_Level(number, (height, width), track_length, sampling_step) for number in range(min(scales, count))]
    motion = _Motion()
    window: collections.deque = collections.deque()
    before = cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY)
    motion.start(before)
    for number, frame in enumerate(frames[1:]):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        flow, residual = motion.next(grey)
        for level in levels:
            level.follow(number, before, flow, residual)
        window.append((number, before, residual))
        if len(window) == track_length:
            _describe(levels, window)
        before = grey
    while window:
        _describe(levels, window)
    return _collect(levels, track_length)


def _describe(levels, window):
    """Describes the oldest frame of a window and drops it; all tracks through that frame have ended."""
    described = window.popleft()
    for level in levels:
        level.describe(*described)


def _collect(levels, track_length):
    """All levels' finished tracks as one :class:`Trajectories`, in the order of their first frames."""
    found = [(start, level, tracks) for level in levels for start, tracks in level.finished.items()]
    found.sort(key=lambda group: group[0])
    sizes = [len(tracks.points) for _, _, tracks in found]

    def joined(parts, *shape):
        return np.concatenate([np.zeros((0, *shape), np.float32), *parts])

    points = joined([tracks.points * level.ratio for _, level, tracks in found], track_length + 1, 2)
    residual = joined([tracks.residual * level.ratio for _, level, tracks in found], track_length, 2)
    cells = (TIME_CELLS, CELLS * CELLS, sum(HISTOGRAMS.values()))
    histograms = joined([tracks.histograms for _, _, tracks in found], *cells)
    lengths = np.linalg.norm(residual, axis=-1).sum(axis=1)
    split = np.split(histograms, np.cumsum(list(HISTOGRAMS.values()))[:-1], axis=-1)
    return Trajectories(
        points=points,
        start=np.repeat(np.array([start for start, _, _ in found], np.int32), sizes),
        scale=np.repeat(np.array([level.number for _, level, _ in found], np.int32), sizes),
        trajectory=(residual / lengths[:, np.newaxis, np.newaxis]).reshape(len(points), 2 * track_length),
        **{
            name: root_normalised(values.reshape(len(points), TIME_CELLS * CELLS * CELLS * bins))
            for (name, bins), values in zip(HISTOGRAMS.items(), split)
        },
    )


# ------------------------------------------------------------------------------------------------------------ motion


class _Motion:
    """Optical flow from frame to frame, and the residual flow without the camera's motion."""

    def __init__(self):
        # The flow is computed down to single pixels and is not smoothed, so small moving objects keep their own flow.
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.flow.setFinestScale(0)
        self.flow.setVariationalRefinementIterations(0)
        self.detector = cv2.ORB_create()
        self.matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)

    def start(self, grey):
        """Takes the first frame."""
        self.grey = grey
        self.keypoints = self._describe(grey)

    def next(self, grey):
        """``(flow, residual)``, each ``[H, W, 2]`` float32 in pixels, from the frame before to this one."""
        flow = self.flow.calc(self.grey, grey, None)
        keypoints = self._describe(grey)
        camera = camera_flow(_homography(*self._matches(flow, keypoints)), *grey.shape)
        self.grey, self.keypoints = grey, keypoints
        return flow, flow - camera

    def _describe(self, grey):
        keypoints, descriptors = self.detector.detectAndCompute(grey, None)
        return np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2), descriptors

    def _matches(self, flow, keypoints):
        """Matching points ``[k, 2]`` of the two frames: corners that the flow moves, and key points (section 3.1)."""
        corners = cv2.goodFeaturesToTrack(self.grey, _CORNERS, CORNER_QUALITY, 3)
        corners = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
        x, y = corners.astype(int).T
        old, new = [corners], [corners + flow[y, x]]
        (points, descriptors), (points_now, descriptors_now) = self.keypoints, keypoints
        if len(points) and len(points_now):
            pairs = self.matcher.match(descriptors, descriptors_now)
            old.append(points[[pair.queryIdx for pair in pairs]])
            new.append(points_now[[pair.trainIdx for pair in pairs]])
        return np.concatenate(old), np.concatenate(new)


def _homography(old, new):
    """The homography ``[3, 3]`` that most matching points ``[k, 2]`` agree with; identity if too few do."""
    if len(old) < MIN_MATCHES:
        return np.eye(3)
    found, inliers = cv2.findHomography(old, new, cv2.RANSAC, RANSAC_THRESHOLD)
    return found if found is not None and inliers.sum() >= MIN_INLIERS else np.eye(3)


def camera_flow(homography: np.ndarray, height: int, width: int) -> np.ndarray:
    """The flow ``[H, W, 2]`` float32 that a homography ``[3, 3]`` from one frame to the next explains.

    Example:
        >>> camera_flow(np.array([[1, 0, 3], [0, 1, -2], [0, 0, 1]]), 4, 5)[3, 1].tolist()
        [3.0, -2.0]
    """
    x, y = np.arange(width)[np.newaxis], np.arange(height)[:, np.newaxis]
    moved = [row[0] * x + row[1] * y + row[2] for row in homography]  # three of [H, W]
    with np.errstate(divide="ignore", invalid="ignore"):
        flow = np.stack([moved[0] / moved[2] - x, moved[1] / moved[2] - y], axis=-1)
    return np.nan_to_num(flow, posinf=0.0, neginf=0.0).astype(np.float32)


# -------------------------------------------------------------------------------------------------------- histograms


def orientation_histograms(x: np.ndarray, y: np.ndarray, *, min_length: float | None = None) -> np.ndarray:
    """What every pixel adds to a histogram of orientations, weighted by the vectors' length.

    Each vector is divided between the two bins nearest to its orientation; bin k stands for k / 8 of a turn.

    Args:
        x: ``[H, W]`` float32.
        y: ``[H, W]`` float32.
        min_length: Vectors no longer than this count 1 in a ninth bin, and nothing elsewhere; ``None``: no such bin.

    Returns:
        ``[H, W, 8]`` float32, or ``[H, W, 9]`` with ``min_length``.

    Example:
        >>> right, down = np.full((1, 1), 3, "float32"), np.full((1, 1), 3, "float32")
        >>> orientation_histograms(right, down)[0, 0, :3].round(1)
        array([0. , 4.2, 0. ], dtype=float32)
    """
    length, angle = cv2.cartToPolar(x, y)
    position = angle * np.float32(BINS / (2 * np.pi))
    low = position.astype(np.int32)
    fraction = position - low
    low %= BINS
    out = np.zeros((length.size, BINS + (min_length is not None)), np.float32)
    flat = out.reshape(-1)
    if min_length is not None:
        still = length <= min_length
        out[:, BINS] = still.reshape(-1)
        length = np.where(still, np.float32(0), length)
    first = np.arange(length.size) * out.shape[1]
    flat[first + low.reshape(-1)] = (length * (1 - fraction)).reshape(-1)
    flat[first + ((low + 1) % BINS).reshape(-1)] += (length * fraction).reshape(-1)
    return out.reshape(*x.shape, -1)


def _gradients(image):
    """Central differences of ``[H, W]`` along x and y."""
    return cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=1)


def _pixel_histograms(grey, residual):
    """What all pixels add to the descriptors' histograms, side by side: ``[H, W, 33]``."""
    u, v = np.ascontiguousarray(residual[..., 0]), np.ascontiguousarray(residual[..., 1])
    return np.concatenate(
        [
            orientation_histograms(*_gradients(grey)),
            orientation_histograms(u, v, min_length=MIN_FLOW),
            orientation_histograms(*_gradients(u)),
            orientation_histograms(*_gradients(v)),
        ],
        axis=-1,
    )


def cell_histograms(grey: np.ndarray, residual: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Histograms of the 2 x 2 cells of the patches around points in one frame.

    Args:
        grey: ``[H, W]`` uint8.
        residual: ``[H, W, 2]`` float32, flow without the camera's motion.
        points: ``[n, 2]`` x, y. A patch that would leave the frame is moved back into it.

    Returns:
        ``[n, 4, 33]`` float32: sums over the pixels of each cell, cells row by row.
    """
    height, width = grey.shape
    corner = np.clip(np.rint(points).astype(int) - PATCH // 2, 0, [width - PATCH, height - PATCH])
    # Only the part of the frame that contains patches is described, with a margin of one pixel for the gradients.
    low = np.maximum(corner.min(axis=0) - 1, 0)
    high = np.minimum(corner.max(axis=0) + PATCH + 1, [width, height])
    part = slice(low[1], high[1]), slice(low[0], high[0])
    table = cv2.integral(_pixel_histograms(np.ascontiguousarray(grey[part]), residual[part]))  # [h + 1, w + 1, 33]
    edges = np.arange(CELLS + 1) * (PATCH // CELLS)
    x, y = (corner - low)[:, 0, np.newaxis] + edges, (corner - low)[:, 1, np.newaxis] + edges  # [n, 3]
    sums = table[y[:, :, np.newaxis], x[:, np.newaxis, :]]  # [n, 3, 3, 33]
    cells = np.diff(np.diff(sums, axis=1), axis=2)  # [n, 2, 2, 33]
    return np.maximum(cells, 0).reshape(len(points), CELLS * CELLS, -1).astype(np.float32)  # rounding: -1e-10


def root_normalised(histograms: np.ndarray) -> np.ndarray:
    """Square roots of each row's fractions (ICCV13 section 3.2), ``[n, D]``; rows of rounding errors alone become 0."""
    total = histograms.sum(axis=1, keepdims=True)
    return np.sqrt(np.divide(histograms, total, out=np.zeros_like(histograms), where=total > _NOTHING))


# ------------------------------------------------------------------------------------------------------------ tracks


@dataclasses.dataclass(eq=False)
class _Tracks:
    """Finished, valid tracks of one level that start at the same frame; coordinates are in pixels of the level.

    Attributes:
        points: ``[n, L + 1, 2]``.
        residual: ``[n, L, 2]``.
        histograms: ``[n, 3, 4, 33]``, sums so far.
    """

    points: np.ndarray
    residual: np.ndarray
    histograms: np.ndarray


class _Level:
    """The tracks at one scale.

    Whether a track is valid is known only when it ends, L frames later. So frames are described later, and only around
    the valid tracks.

    Args:
        number: The scale's number.
        shape: Height and width of the frames.
        track_length: Steps L of a track.
        step: Distance of sampled points.
    """

    def __init__(self, number, shape, track_length, step):
        self.number, self.length, self.step = number, track_length, step
        self.height, self.width = (max(PATCH, round(side * SCALE_STEP**number)) for side in shape)
        self.ratio = np.array([shape[1] / self.width, shape[0] / self.height], np.float32)  # frame per level, x and y
        self.finished = {}  # first frame -> _Tracks
        self.points = np.zeros((0, track_length + 1, 2), np.float32)
        self.residual = np.zeros((0, track_length, 2), np.float32)
        self.age = np.zeros(0, int)  # steps so far

    def follow(self, number, grey, flow, residual):
        """Samples points in a frame and moves all tracks to the next frame.

        Args:
            number: The frame's number.
            grey: ``[H, W]`` uint8, the frame.
            flow: ``[H, W, 2]`` to the next frame.
            residual: The same without the camera's motion.
        """
        self._sample(self._resized(grey))
        if not len(self.age):
            return
        rows = np.arange(len(self.age))
        here = self.points[rows, self.age]
        x, y = np.rint(here).astype(int).T
        there = here + self._smoothed(flow)[y, x]
        self.residual[rows, self.age] = self._smoothed(residual)[y, x]
        self.age += 1
        self.points[rows, self.age] = there
        self._finish(number + 1 - self.length)
        last = [self.width - 1, self.height - 1]
        self._keep((self.age < self.length) & ((there >= 0) & (there <= last)).all(axis=1))

    def describe(self, number, grey, residual):
        """Adds a frame to the histograms of the valid tracks through it; all of these have ended."""
        through = [start for start in range(number - self.length + 1, number + 1) if start in self.finished]
        if not through:
            return
        points = [self.finished[start].points[:, number - start] for start in through]
        cells = cell_histograms(self._resized(grey), self._resized_flow(residual), np.concatenate(points))
        for start, own in zip(through, np.split(cells, np.cumsum([len(p) for p in points])[:-1])):
            self.finished[start].histograms[:, (number - start) * TIME_CELLS // self.length] += own

    def _resized(self, image):
        if not self.number:
            return image
        return cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)

    def _resized_flow(self, flow):
        return self._resized(flow) / self.ratio if self.number else flow

    def _smoothed(self, flow):
        return cv2.medianBlur(self._resized_flow(flow), 3)

    def _sample(self, grey):
        """Starts tracks in the grid cells that contain none, outside homogeneous areas (IJCV13 section 3.1)."""
        step = self.step
        grid = np.mgrid[0 : self.height // step, 0 : self.width // step]  # [2, rows, columns]
        y, x = grid * step + step // 2
        corners = cv2.cornerMinEigenVal(grey, 3)
        free = corners[y, x] > CORNER_QUALITY * corners.max()
        now = self.points[np.arange(len(self.age)), self.age]
        column, row = (np.rint(now).astype(int) // step).T
        inside = (row < free.shape[0]) & (column < free.shape[1])
        free[row[inside], column[inside]] = False
        new = np.zeros((np.count_nonzero(free), *self.points.shape[1:]), np.float32)
        new[:, 0] = np.stack([x[free], y[free]], axis=-1)
        self.points = np.concatenate([self.points, new])
        self.residual = np.concatenate([self.residual, np.zeros_like(new[:, 1:])])
        self.age = np.concatenate([self.age, np.zeros(len(new), int)])

    def _finish(self, start):
        """Keeps the valid tracks among those that have reached their full length."""
        ended = self.age == self.length
        points, residual = self.points[ended], self.residual[ended]
        valid = valid_tracks(points * self.ratio, residual * self.ratio)
        if valid.any():
            none = np.zeros((valid.sum(), TIME_CELLS, CELLS * CELLS, sum(HISTOGRAMS.values())), np.float32)
            self.finished[start] = _Tracks(points[valid], residual[valid], none)

    def _keep(self, rows):
        self.points, self.residual, self.age = self.points[rows], self.residual[rows], self.age[rows]


def valid_tracks(points: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Which tracks are kept: those that move, without jumps, and not with the camera.

    Args:
        points: ``[n, L + 1, 2]`` in pixels of the frame.
        residual: ``[n, L, 2]``: their steps without the camera's motion.

    Returns:
        ``[n]`` bool.
    """
    deviation = points.std(axis=1)
    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    longest = steps.max(axis=1)
    jumps = (longest > LONGEST_STEP) & (longest > LONGEST_FRACTION * steps.sum(axis=1))
    moves = (deviation > MIN_DEVIATION).any(axis=1) & (deviation < MAX_DEVIATION).all(axis=1)
    return moves & ~jumps & (np.linalg.norm(residual, axis=-1).max(axis=1) > MIN_RESIDUAL)
