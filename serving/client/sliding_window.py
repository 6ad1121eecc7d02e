"""Long video and streams: a window of frames slides over them, and each window is classified as a clip.

::

    frames  |----------------------------------------------- ...
    windows |======== 0 ========|
                      |======== 1 ========|
                                |======== 2 ========|         a stride apart
    responses    probabilities ─► smoothed ─► time line of segments

Frames are read one by one, encoded once where the model takes JPEG, and dropped when no window needs them any more.
A live stream does not wait: frames and windows for which there is no time are left out (the times of rows show which).
Poses that a model needs are estimated once for each frame (:mod:`serving.client.estimation`) and sent with each window.
Several requests are in flight at once; predictions come in the order of the windows. Smoothing and the time line are in
:mod:`zoo.shared.smoothing` and :mod:`zoo.shared.time_line`, shared with the evaluation of whole videos.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import itertools
import math
import queue
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from serving.client.client import AsyncClient
from serving.client.clips import encode_jpeg
from serving.client.estimation import Estimation, of_window
from serving.client.prediction import Prediction
from serving.client.request import NobodySeen, filled
from serving.client.smoothing import MovingAverage, Smoothing
from serving.client.streams import as_they_come, waiting_frames
from serving.client.time_line import Row, RowBuilder
from zoo.shared import messages
from zoo.shared.command_line import positive
from zoo.shared.errors import UserError
from zoo.shared.windows import Plan, require_rate, windows

IN_FLIGHT = 4
_LAST_FRAME_SECONDS = 1.0
_T = TypeVar("_T")
_ROUNDING = 1e-6  # frames: 0.3 s at 10 frames per second is frame 3, not 3.0000000000000004
_STAMP_ROUNDING = 0.0006  # seconds: many containers round time stamps to milliseconds


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the options of windows to a command; without defaults, so that all can be refused without ``--window``."""
    group.add_argument(
        "--window", metavar="LENGTH", help="slide a window of this length over the video: frames (64) or seconds (2.5s)"
    )
    group.add_argument("--stride", metavar="LENGTH", help="distance between windows; by default half a window")
    group.add_argument(
        "--pose-fps",
        type=positive(float),
        help="poses per second; by default those that the file of --pose states, or as many as frames",
    )
    group.add_argument(
        "--smooth",
        metavar="HOW",
        help="smooth the scores over windows: none (the default), mean:WINDOWS or exponential:WEIGHT",
    )


def poses_between(poses: np.ndarray, start: float, end: float, fps: float) -> np.ndarray:
    """The poses of a span of time.

    Args:
        poses: ``[T, ...]``, the first at 0 s.
        start: Seconds.
        end: Seconds; the pose at exactly this time belongs to the next span.
        fps: Poses per second.

    Returns:
        ``[Tp, ...]``, at least one pose: the last before ``end`` if the rate is too low for a pose in the span.

    Raises:
        UserError: The poses end before the span begins.

    Example:
        >>> poses_between(np.arange(100), 1.0, 1.2, fps=25)
        array([25, 26, 27, 28, 29])
    """
    if start * fps > len(poses) - _ROUNDING:  # each pose is valid until the next one
        raise UserError(
            f"the poses end at {len(poses) / fps:.2f} s, the frames go on at {start:.2f} s: "
            "check that both are of the same recording, and the rate of the poses"
        )
    last = max(math.ceil(min(end * fps, len(poses)) - _ROUNDING), 1)
    first = min(math.ceil(start * fps - _ROUNDING), last - 1)
    return poses[first:last]


def span_of_poses(
    counted: tuple[float, float], shown: tuple[float, float], pose_fps: float | None
) -> tuple[float, float]:
    """The span of time, for :func:`poses_between`, of a window's poses.

    Args:
        counted: Start and end of the window in seconds, from the numbers of its frames.
        shown: The same by the frames' time stamps.
        pose_fps: Poses per second; ``None``: there is a pose for each frame. Then poses are matched to frames by
            number, whatever the frames' times.
    """
    return counted if pose_fps is None else (shown[0] - _STAMP_ROUNDING, shown[1] - _STAMP_ROUNDING)


# ------------------------------------------------------------------------------------------------ prediction


class Classifier(Protocol):
    """What classifies the windows: a :class:`serving.client.Client`, or a model in this process."""

    def takes_jpegs(self) -> bool:
        """Whether pictures are sent as JPEG files."""

    def predict(
        self, frames: Any = None, poses: np.ndarray | None = None, outputs: Sequence[str] = (), pose_fps: float = ...
    ) -> Prediction:
        """Classifies one clip."""


def predict(
    client: Classifier,
    frames: Iterable[np.ndarray | bytes] | None,
    plan: Plan,
    *,
    poses: np.ndarray | None = None,
    pose_fps: float | None = None,
    estimation: Estimation | None = None,
    smooth: Smoothing | None = None,
    in_flight: int = IN_FLIGHT,
    outputs: Sequence[str] = (),
) -> Generator[Row, None, None]:
    """Classifies a stream window by window.

    Args:
        client: A :class:`serving.client.Client`.
        frames: Iterable of pictures, arrays or JPEG files, such as those of :mod:`serving.client.streams`; ``None`` for
            a model of poses alone, whose windows are then counted in poses.
        plan: The :class:`Plan`.
        poses: ``[T, M, J, 3]`` of the whole recording, if the model takes them; each window gets the poses of its time.
        pose_fps: Poses per second; default: there is a pose for each frame.
        estimation: What to estimate from the frames for the model, ``Estimation.of(client.definition())`` of
            :mod:`serving.client.estimation`; default: nothing.
        smooth: A :class:`~serving.client.smoothing.MovingAverage` or :class:`~serving.client.smoothing.Exponential`;
            default: none.
        in_flight: Number of requests at the same time.
        outputs: Names of further outputs.

    Yields:
        A :class:`~serving.client.time_line.Row` per window, as soon as its response and all earlier ones have arrived.
        A window without persons has no prediction if the model takes poses alone; then smoothing starts anew.

    Raises:
        UserError: As :meth:`serving.client.Client.predict`, or as the stream.

    Example:
        >>> frames = VideoFrames("morning.mp4")  # doctest: +SKIP
        >>> line = TimeLine()  # doctest: +SKIP
        >>> for row in predict(client, frames, Plan.of("2s", fps=frames.fps)):  # doctest: +SKIP
        ...     line.add(row)
    """
    build_row = RowBuilder(smooth or MovingAverage(1))
    encode = client.takes_jpegs()
    stopped = threading.Event()
    moments = _of_stream(stopped, frames, plan, estimation, encode, pose_fps)
    clips = _clips(moments, plan, poses, pose_fps, encode, estimation)
    rate = _pose_rate(frames, plan, pose_fps)

    def request(clip):
        start, end, pictures, joints = clip
        try:
            return start, end, client.predict(pictures, joints, outputs=outputs, pose_fps=rate)
        except NobodySeen:
            return start, end, None

    for start, end, prediction in _in_order(request, clips, in_flight, stopped, live=_is_live(frames)):
        yield build_row(start, end, prediction)


async def predict_async(
    client: AsyncClient,
    frames: Iterable[np.ndarray | bytes] | None,
    plan: Plan,
    *,
    poses: np.ndarray | None = None,
    pose_fps: float | None = None,
    estimation: Estimation | None = None,
    smooth: Smoothing | None = None,
    in_flight: int = IN_FLIGHT,
    outputs: Sequence[str] = (),
) -> AsyncIterator[Row]:
    """:func:`predict` for a :class:`serving.client.AsyncClient`: an asynchronous generator."""
    build_row = RowBuilder(smooth or MovingAverage(1))
    encode = await client.takes_jpegs()
    stopped = threading.Event()
    moments = _of_stream(stopped, frames, plan, estimation, encode, pose_fps)
    clips = _clips(moments, plan, poses, pose_fps, encode, estimation)
    pending: asyncio.Queue = asyncio.Queue()
    free = asyncio.Semaphore(in_flight)
    live, left_out = _is_live(frames), _LeftOut()
    rate = _pose_rate(frames, plan, pose_fps)

    async def request(start, end, pictures, joints):
        try:
            return start, end, await client.predict(pictures, joints, outputs=outputs, pose_fps=rate)
        except NobodySeen:
            return start, end, None

    async def feed():
        while True:
            if not live:
                await free.acquire()
            clip = await asyncio.to_thread(next, clips, None)  # reading and encoding may take long
            if clip is None:
                return
            if live and free.locked():
                left_out()
                continue
            if live:
                await free.acquire()
            pending.put_nowait(asyncio.ensure_future(request(*clip)))

    feeding = asyncio.ensure_future(feed())
    feeding.add_done_callback(pending.put_nowait)
    try:
        while (future := await pending.get()) is not feeding:
            start, end, prediction = await future
            free.release()
            yield build_row(start, end, prediction)
        await feeding  # raises what the stream raised
    finally:
        stopped.set()
        feeding.cancel()
        while not pending.empty():
            pending.get_nowait().cancel()


def _of_stream(
    stopped: threading.Event,
    frames: Iterable | None,
    plan: Plan,
    estimation: Estimation | None,
    encode: bool,
    pose_fps: float | None,
) -> Iterable | None:
    """The frames of a stream with their seconds, or its moments if something is estimated; until an event is set."""
    timed, live = _until(stopped, frames), _is_live(frames)
    if timed is None:
        return None
    if estimation is not None:
        return estimation.follow(timed, plan.fps, live=live, encode=encode, pose_fps=pose_fps)
    return (frame for _, frame in as_they_come(timed, waiting_frames(plan.fps))) if live else timed


def _is_live(frames: Iterable | None) -> bool:
    """Whether the frames of a stream arrive in real time and do not wait."""
    return getattr(frames, "live", False)


def _clips(
    frames, plan: Plan, poses, pose_fps: float | None, encode: bool, estimation: Estimation | None
) -> Iterator[tuple]:
    """Start and end in seconds, frames and poses of each window; ``frames`` come with their seconds."""
    rate = _pose_rate(frames, plan, pose_fps)
    if poses is not None:
        poses = filled(poses, rate)  # over the whole recording: one window has fewer poses to fill a gap from
    if frames is None:
        if poses is None:
            raise UserError("neither frames nor poses: there is nothing to classify")
        for first, held in windows(poses, plan.length, plan.stride):
            yield first / plan.fps, (first + len(held)) / plan.fps, None, np.stack(held)
        return
    if encode and estimation is None:
        frames = ((time, frame if isinstance(frame, bytes) else encode_jpeg(frame)) for time, frame in frames)
    for first, held in windows(frames, plan.length, plan.stride):
        times, pictures = zip(*held)
        start, end = counted = first / plan.fps, (first + len(held)) / plan.fps
        if times[0] is not None:
            # The next frame's time is not known yet: assume that the last frame lasts as long as the one before it.
            start, end = times[0], times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / plan.fps)
        joints = None if poses is None else poses_between(poses, *span_of_poses(counted, (start, end), pose_fps), rate)
        if estimation is None:
            yield start, end, list(pictures), joints
        else:
            cut, estimated = of_window(pictures, estimation)
            yield start, end, cut, joints if estimated is None else estimated


def _pose_rate(frames, plan: Plan, pose_fps: float | None) -> float:
    """Poses per second: ``pose_fps``, or the plan's rate if this is ``None`` or there are poses alone."""
    if frames is None or pose_fps is None:
        return plan.fps
    require_rate(pose_fps, "poses")
    return pose_fps


def _until(stopped: threading.Event, frames: Iterable | None) -> Iterable | None:
    """The frames of a stream until an event is set, so that the thread that reads them comes to an end.

    Each comes with its seconds, or with ``None`` where the stream has no time stamps.
    """
    if frames is None:
        return None
    timed = frames.timed() if hasattr(frames, "timed") else ((None, frame) for frame in frames)
    return itertools.takewhile(lambda _: not stopped.is_set(), timed)


class _LeftOut:
    """Warns, on its first call only, that a window of a live stream is left out."""

    def __init__(self):
        self._said = False

    def __call__(self):
        if not self._said:
            messages.warn("windows come faster than the server answers: some are left out (--stride)")
        self._said = True


def _in_order(
    function: Callable[[Any], _T], arguments: Iterable, in_flight: int, stopped: threading.Event, live: bool = False
) -> Iterator[_T]:
    """``function`` of each argument, ``in_flight`` at the same time; results in order, each as soon as possible.

    A separate thread reads the arguments, since a camera's next window comes later than the response to the last one.
    When the caller needs no more results, ``stopped`` is set, which ends the arguments. Arguments of a ``live`` stream
    do not wait: one that comes while ``in_flight`` calls run is left out.
    """
    pending: queue.Queue[concurrent.futures.Future[_T] | None] = queue.Queue()
    free = threading.Semaphore(in_flight)
    pool = concurrent.futures.ThreadPoolExecutor(in_flight, thread_name_prefix="window")
    left_out = _LeftOut()

    def feed():
        failed: concurrent.futures.Future[_T] = concurrent.futures.Future()
        try:
            for argument in arguments:
                if not free.acquire(blocking=not live):
                    left_out()
                    continue
                if stopped.is_set():
                    return
                pending.put(pool.submit(function, argument))
        except Exception as error:  # an error of the stream; raised where the results are read
            failed.set_exception(error)
            pending.put(failed)
        pending.put(None)

    feeding = threading.Thread(target=feed, name="frames", daemon=True)
    feeding.start()
    try:
        while (future := pending.get()) is not None:
            result = future.result()
            free.release()
            yield result
    finally:
        stopped.set()
        free.release()
        pool.shutdown(wait=False, cancel_futures=True)  # requests in flight end with the client's connection
        # A decoder that still runs when Python ends aborts the process. The wait is limited: a frame may never come.
        feeding.join(_LAST_FRAME_SECONDS)
