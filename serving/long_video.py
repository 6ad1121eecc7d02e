"""Windows over a long video file, classified by an exported model in this process.

::

    frames ─► windows, each a clip ─► model ─► rows                       predict(...)
    frames ─► prepared once ─► maps of stretches ─► windows' maps ─► rows   predict(..., share_computation=True)
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.client import clips, request, sliding_window
from serving.client.estimation import Estimation
from serving.client.prediction import Prediction
from serving.client.smoothing import MovingAverage, Smoothing
from serving.client.streams import VideoFrames
from serving.client.time_line import Row, RowBuilder
from serving.savedmodel import shared, signatures
from tfrecords.converting.persons import FPS
from zoo.shared import sharing
from zoo.shared.errors import UserError
from zoo.shared.windows import Plan

if TYPE_CHECKING:
    from serving.predict import Predictor
    from tfrecords.reading.pipeline import Inputs


def predict(
    predictor: Predictor,
    video: VideoFrames,
    plan: Plan,
    *,
    poses: np.ndarray | None = None,
    pose_fps: float | None = None,
    estimation: Estimation | None = None,
    smooth: Smoothing | None = None,
    share_computation: bool = False,
) -> Generator[Row, None, None]:
    """Classifies a video window by window.

    Args:
        predictor: The loaded model.
        video: The video.
        plan: The windows.
        poses: ``[T, M, J, 3]`` of the whole video, if the model takes them.
        pose_fps: Poses per second; default: there is a pose for each frame.
        estimation: What to estimate from the frames, as :meth:`serving.predict.Predictor.estimation` gives it.
        smooth: A :class:`~serving.client.smoothing.MovingAverage` or :class:`~serving.client.smoothing.Exponential`;
            default: none.
        share_computation: Whether what the network computes for a frame is used in all windows that contain the frame,
            see :mod:`zoo.shared_computation`. Windows then consist of whole steps of the shared maps; frames after the
            last whole step are in no window.

    Yields:
        A :class:`~serving.client.time_line.Row` per window.

    Raises:
        UserError: As :meth:`serving.predict.Predictor.predict`; the model was not exported for shared computation, or
            the windows do not fit it.

    Example:
        >>> video = VideoFrames("morning.mp4")  # doctest: +SKIP
        >>> for row in predict(Predictor("models/i3d"), video, Plan.of(64, 8, fps=video.fps)):  # doctest: +SKIP
        ...     print(row.start, row.smoothed.top)
    """
    if share_computation:
        return _sharing(predictor, video, plan, poses, pose_fps, estimation, smooth or MovingAverage(1))
    return sliding_window.predict(
        _Local(predictor),
        video,
        plan,
        poses=poses,
        pose_fps=pose_fps,
        estimation=estimation,
        smooth=smooth,
        in_flight=1,
    )


class _Local:
    """A model in this process, called as :class:`serving.client.Client` is."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def takes_jpegs(self) -> bool:
        return False

    def predict(
        self, frames: Any = None, poses: np.ndarray | None = None, outputs: Sequence[str] = (), pose_fps: float = FPS
    ) -> Prediction:
        return self._predictor.predict_clips([(frames, poses)], pose_fps=pose_fps, outputs=outputs)[0]


def _sharing(
    predictor: Predictor,
    video: VideoFrames,
    plan: Plan,
    poses: np.ndarray | None,
    pose_fps: float | None,
    estimation: Estimation | None,
    smooth: Smoothing,
) -> Generator[Row, None, None]:
    inputs, folder, rate = predictor.inputs, predictor.folder, pose_fps or plan.fps
    if inputs is None or not shared.offered(predictor.servable):
        raise UserError(f"{folder} shares no computation: export the model with --share-computation")
    if estimation is not None:
        raise UserError("--share-computation: poses are not estimated of shared windows, give --pose FILE")
    request.clip_tensors(predictor.definition(), [(np.zeros((1, 1, 1, 3), np.uint8), poses)], rate)  # checks them
    model = shared.Shared(predictor.servable, inputs)
    seen = signatures.frame_indices(plan.length, inputs).numpy().tolist()
    apart = sharing.distance(plan, seen, model.step)
    frames, build_row = _Prepared(video, inputs, apart), RowBuilder(smooth)
    if poses is not None:
        poses = request.filled(poses, rate)  # over the whole video: one window has fewer poses to fill a gap from

    def classify(maps: Sequence[np.ndarray], numbers: Sequence[int]) -> Iterator[Row]:
        for row, number in enumerate(numbers):
            first, joints = number * plan.stride, None
            shown = frames.span(first, plan.length)
            if poses is not None:
                counted = first / plan.fps, (first + plan.length) / plan.fps
                span = sliding_window.span_of_poses(counted, shown, pose_fps)
                joints = sliding_window.poses_between(poses, *span, rate)
                joints = request.pose_tensor(joints, [inputs.persons, inputs.joints, 3], rate)[np.newaxis]
            outputs = model.classify([map_[row : row + 1] for map_ in maps], joints)
            labels = [label.decode("utf-8", "replace") for label in outputs["classes"][0]]
            prediction = Prediction(predictor.servable.name, predictor.servable.version, shared.WINDOWS, (), ())
            probabilities = dict(zip(labels, outputs["probabilities"][0].tolist()))
            yield build_row(*shown, prediction.reordered(probabilities))

    starts = itertools.count(0, plan.stride // apart)
    yield from sharing.classify_windows(
        frames, starts, length=inputs.frames, step=model.step, maps=model.maps, classify=classify
    )
    if len(frames) < plan.length:
        expected = f"expected a window of {plan.length} at least: leave --window out"
        raise UserError(f"a video of {len(frames)} frames, {expected}")


class _Prepared:
    """The frames of a video that a network sees, prepared as its input.

    Each is prepared once and kept while a stretch may need it; frames that the network skips are not converted.
    """

    def __init__(self, video: VideoFrames, inputs: Inputs, apart: int) -> None:
        import tensorflow as tf

        from tfrecords.reading import pictures

        self._shown, self._apart, self._fps = video.shown(), apart, video.fps
        self._square, self._write = clips.framed_pictures(1, video, inputs)
        self._prepare = tf.function(lambda square: pictures.prepare(square, inputs.size))
        self._seconds: list[float] = []  # time stamps of all frames that were read
        self._held: collections.deque[np.ndarray] = collections.deque()
        self._first = 0  # index, among the frames that the network sees, of the first one in _held

    def __len__(self) -> int:
        return len(self._seconds)

    def __call__(self, first: int, end: int) -> dict[str, np.ndarray]:
        while self._first + len(self._held) < end or len(self._seconds) < end * self._apart:
            shown = next(self._shown, None)
            if shown is None:
                break
            seconds, frame = shown
            if len(self._seconds) % self._apart == 0:
                self._write(0, len(self._seconds), frame)
                self._held.append(self._prepare(self._square).numpy()[0])
            self._seconds.append(seconds)
        while self._first < first:
            self._held.popleft()
            self._first += 1
        return {"rgb": np.stack(self._held)}

    def span(self, first: int, length: int) -> tuple[float, float]:
        """Start and end of a window in seconds; its last frame lasts as long as the one before it."""
        times = self._seconds[first : first + length]
        return times[0], times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / self._fps)
