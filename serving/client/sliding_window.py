"""Long video and streams: a window of frames slides over them, and each window is classified as a clip.

::

    frames  |----------------------------------------------- ...
    windows |======== 0 ========|
                      |======== 1 ========|
                                |======== 2 ========|         a stride apart
    answers      probabilities ─► smoothed ─► time line of segments

Frames are read one by one, encoded once where the model takes JPEG, and dropped when no window needs them. Several
windows are under way at once; answers come in the order of the windows.

Smoothing looks back only, so that it serves files and cameras alike. What it averages it averages in time too: the
smoothed probabilities stand for the smoothed middle of the windows, and segments change between two such middles, so
that they do not come late.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
import itertools
import math
import queue
import threading

import numpy as np

from serving.client.prediction import Prediction
from zoo.shared.errors import UserError

IN_FLIGHT = 4
_LAST_FRAME_SECONDS = 1.0
_ROUNDING = 1e-6  # frames: 0.3 s at 10 frames per second is frame 3, not 3.0000000000000004


# ---------------------------------------------------------------------------------------------------- windows


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which windows are asked about.

    Args:
        length: Frames of a window. Best the network's own span: T frames times their stride in the recipe.
        stride: Frames from one window to the next, at most ``length``; default: half of it.
        fps: Frames per second.

    Raises:
        UserError: Numbers that give no windows, or leave frames out.

    Example:
        >>> Plan.of("2s", "0.5s", fps=30)
        Plan(length=60, stride=15, fps=30.0)
    """

    length: int
    stride: int
    fps: float

    def __post_init__(self):
        _require_rate(self.fps, "frames")
        if self.length < 1:
            raise UserError(f"a window of {self.length} frames: expected at least one")
        if not 1 <= self.stride <= self.length:
            raise UserError(
                f"windows of {self.length} frames every {self.stride}: expected 1 to {self.length}, else frames are "
                "skipped"
            )

    @classmethod
    def of(cls, length, stride=None, *, fps):
        """A plan from numbers of frames (``64`` or ``"64"``) or seconds (``"2.5s"``)."""
        fps = float(fps)
        length = _frames(length, fps)
        return cls(length, max(length // 2, 1) if stride is None else _frames(stride, fps), fps)


def _require_rate(rate, what):
    if not (rate > 0 and math.isfinite(rate)):
        raise UserError(f"{rate:g} {what} per second: expected a number above 0")


def _frames(duration, fps):
    text = str(duration).strip()
    try:
        number = float(text[:-1]) * fps if text.endswith("s") else int(text)
        return round(number)
    except (ValueError, OverflowError):
        raise UserError(f"{duration!r} is no duration, expected frames such as 64 or seconds such as 2.5s") from None


def windows(frames, length, stride):
    """Windows of a stream, each as soon as its last frame is there.

    The last window ends with the last frame, so every frame is in one; a stream shorter than a window is one window.

    Args:
        frames: Iterable.
        length: Frames of a window.
        stride: Frames from one window to the next.

    Yields:
        Number of the window's first frame, and a list of its frames.

    Raises:
        UserError: There is no frame.

    Example:
        >>> list(windows("abcdefg", 4, 2))
        [(0, ['a', 'b', 'c', 'd']), (2, ['c', 'd', 'e', 'f']), (3, ['d', 'e', 'f', 'g'])]
    """
    held = collections.deque(maxlen=length)
    count, due = 0, length
    for frame in frames:
        held.append(frame)
        count += 1
        if count == due:
            yield count - length, list(held)
            due += stride
    if not count:
        raise UserError("no frames came: there is nothing to classify")
    if count < length or count != due - stride:
        yield count - len(held), list(held)


def poses_between(poses, start, end, fps):
    """The poses of a span of time.

    Args:
        poses: ``[T, ...]``, the first at 0 s.
        start: Seconds.
        end: Seconds; the pose exactly there belongs to what comes after.
        fps: Poses per second.

    Returns:
        ``[Tp, ...]``, at least one: the latest before ``end`` where the rate is too low for one in the span.

    Raises:
        UserError: The poses end before the span begins.

    Example:
        >>> poses_between(np.arange(100), 1.0, 1.2, fps=25)
        array([25, 26, 27, 28, 29])
    """
    if start * fps > len(poses) - _ROUNDING:  # each pose stands for the time until the next
        raise UserError(
            f"the poses end at {len(poses) / fps:.2f} s, the frames go on at {start:.2f} s: "
            "do both belong together, and is the rate of the poses right?"
        )
    last = max(math.ceil(min(end * fps, len(poses)) - _ROUNDING), 1)
    first = min(math.ceil(start * fps - _ROUNDING), last - 1)
    return poses[first:last]


# -------------------------------------------------------------------------------------------------- smoothing


class MovingAverage:
    """The mean of the last windows.

    Args:
        windows: How many.

    Example:
        >>> smoothing = MovingAverage(2)
        >>> [smoothing(np.array([value])).tolist() for value in (0.0, 1.0, 1.0)]
        [[0.0], [0.5], [1.0]]
    """

    def __init__(self, windows):
        if windows < 1:
            raise UserError(f"a moving average of {windows} windows: expected at least one")
        self._held = collections.deque(maxlen=windows)

    def __call__(self, values):
        """The smoothed values."""
        self._held.append(values)
        return np.mean(self._held, axis=0)

    def reset(self):
        """Forgets what was."""
        self._held.clear()


class Exponential:
    """Each window counts ``weight``, and what was before ``1 - weight``.

    Args:
        weight: Above 0, at most 1.

    Example:
        >>> smoothing = Exponential(0.5)
        >>> [smoothing(np.array([value])).tolist() for value in (0.0, 1.0, 1.0)]
        [[0.0], [0.5], [0.75]]
    """

    def __init__(self, weight):
        if not 0 < weight <= 1:
            raise UserError(f"an exponential smoothing of weight {weight:g}: expected above 0, at most 1")
        self._weight = weight
        self._state = None

    def __call__(self, values):
        """The smoothed values."""
        old = values if self._state is None else self._state
        self._state = self._weight * values + (1 - self._weight) * old
        return self._state

    def reset(self):
        """Forgets what was."""
        self._state = None


def smoothing(text):
    """A smoothing from text: ``none``, ``mean:WINDOWS`` or ``exponential:WEIGHT``.

    Raises:
        UserError: Another text.
    """
    kind, _, number = text.partition(":")
    try:
        if kind == "none" and not number:
            return MovingAverage(1)
        if kind == "mean":
            return MovingAverage(int(number))
        if kind == "exponential":
            return Exponential(float(number))
    except ValueError:
        pass
    raise UserError(f"no smoothing {text!r}, expected none, mean:WINDOWS such as mean:3, or exponential:WEIGHT")


@dataclasses.dataclass(frozen=True)
class Row:
    """What is said of one window.

    Attributes:
        index: Number of the window, from 0.
        start: Its beginning, seconds.
        end: Its end.
        prediction: The server's answer.
        smoothed: The same with smoothed probabilities.
        centre: The time the smoothed probabilities stand for.
    """

    index: int
    start: float
    end: float
    prediction: Prediction
    smoothed: Prediction
    centre: float


class _Rows:
    """Makes rows of answers."""

    def __init__(self, smooth):
        self._smooth = smooth
        self._labels = None
        self._count = 0

    def __call__(self, start, end, prediction):
        of_label = dict(zip(prediction.labels, prediction.probabilities))
        labels = sorted(of_label)
        if labels != self._labels:  # at first, and when a new version with other classes has come
            self._smooth.reset()
            self._labels = labels
        centre, *values = self._smooth(np.array([(start + end) / 2, *(of_label[label] for label in labels)])).tolist()
        row = Row(self._count, start, end, prediction, prediction.reordered(dict(zip(labels, values))), centre)
        self._count += 1
        return row


# -------------------------------------------------------------------------------------------------- time line


@dataclasses.dataclass(frozen=True)
class Segment:
    """A span of time with one most probable class.

    Attributes:
        start: Seconds.
        end: Seconds.
        label: The class.
        probability: Mean of its smoothed probabilities over the windows.
    """

    start: float
    end: float
    label: str
    probability: float


class TimeLine:
    """Joins windows of the same most probable class to segments.

    Example:
        >>> def row(index, label):
        ...     said = Prediction("adl", 1, "serve_jpeg", (label,), (0.5,))
        ...     return Row(index, index, index + 2, said, said, index + 1)
        >>> line = TimeLine()
        >>> for index, label in enumerate(["drink", "drink", "sit"]):
        ...     line.add(row(index, label))
        >>> [(segment.start, segment.end, segment.label) for segment in line.segments()]
        [(0, 2.5, 'drink'), (2.5, 4, 'sit')]
    """

    def __init__(self):
        self._done = []
        self._label = None
        self._start = self._last = None
        self._probabilities = [0.0, 0]  # sum and number

    def add(self, row):
        """Takes the next window."""
        label, probability = row.smoothed.labels[0], row.smoothed.probabilities[0]
        if label != self._label:
            self._begin(label, row)
        self._probabilities[0] += probability
        self._probabilities[1] += 1
        self._last = row

    def _begin(self, label, row):
        if self._last is None:
            self._start = row.start
        else:
            change = (self._last.centre + row.centre) / 2
            self._done.append(self._segment(change))
            self._start = change
        self._label = label
        self._probabilities = [0.0, 0]

    def _segment(self, end):
        total, number = self._probabilities
        return Segment(self._start, end, self._label, total / number)

    def segments(self):
        """The segments so far; the last one ends where the last window does."""
        return [*self._done, *([self._segment(self._last.end)] if self._last else [])]


# ----------------------------------------------------------------------------------------------------- asking


def predict(client, frames, plan, *, poses=None, pose_fps=None, smooth=None, in_flight=IN_FLIGHT, outputs=()):
    """Classifies a stream window by window.

    Args:
        client: A :class:`serving.client.Client`.
        frames: Iterable of pictures, arrays or JPEG files, such as :mod:`serving.client.streams` has; ``None`` for a
            model of poses alone, whose windows are then counted in poses.
        plan: The :class:`Plan`.
        poses: ``[T, M, J, 3]`` of the whole recording, if the model takes them; windows get the poses of their time.
        pose_fps: Poses per second; default: those of the plan.
        smooth: A :class:`MovingAverage` or :class:`Exponential`; default: none.
        in_flight: Requests under way at the same time.
        outputs: Further outputs wanted.

    Yields:
        A :class:`Row` per window, as soon as it and those before it are answered.

    Raises:
        UserError: As :meth:`serving.client.Client.predict`, or as the stream.

    Example:
        >>> frames = VideoFrames("morning.mp4")  # doctest: +SKIP
        >>> line = TimeLine()  # doctest: +SKIP
        >>> for row in predict(client, frames, Plan.of("2s", fps=frames.fps)):  # doctest: +SKIP
        ...     line.add(row)
    """
    rows = _Rows(smooth or MovingAverage(1))
    encode = client.takes_jpegs()
    stopped = threading.Event()
    clips = _clips(_until(stopped, frames), plan, poses, pose_fps or plan.fps, encode)

    def ask(clip):
        start, end, pictures, joints = clip
        return start, end, client.predict(pictures, joints, outputs=outputs)

    for start, end, prediction in _in_order(ask, clips, in_flight, stopped):
        yield rows(start, end, prediction)


async def predict_async(
    client, frames, plan, *, poses=None, pose_fps=None, smooth=None, in_flight=IN_FLIGHT, outputs=()
):
    """:func:`predict` for a :class:`serving.client.AsyncClient`: an asynchronous generator."""
    rows = _Rows(smooth or MovingAverage(1))
    encode = await client.takes_jpegs()
    stopped = threading.Event()
    clips = _clips(_until(stopped, frames), plan, poses, pose_fps or plan.fps, encode)
    asked, room = asyncio.Queue(), asyncio.Semaphore(in_flight)

    async def ask(start, end, pictures, joints):
        return start, end, await client.predict(pictures, joints, outputs=outputs)

    async def feed():
        while True:
            await room.acquire()
            clip = await asyncio.to_thread(next, clips, None)  # reading and encoding may take long
            if clip is None:
                return
            asked.put_nowait(asyncio.ensure_future(ask(*clip)))

    feeding = asyncio.ensure_future(feed())
    feeding.add_done_callback(asked.put_nowait)
    under_way = None
    try:
        while (under_way := await asked.get()) is not feeding:
            start, end, prediction = await under_way
            room.release()
            yield rows(start, end, prediction)
        await feeding  # raises what the stream raised
    finally:
        stopped.set()
        feeding.cancel()
        while not asked.empty():
            asked.get_nowait().cancel()


def _clips(frames, plan, poses, pose_fps, encode):
    """Start and end in seconds, frames and poses of each window."""
    from serving.client.clips import encode_jpeg

    if frames is None:
        if poses is None:
            raise UserError("neither frames nor poses: there is nothing to classify")
        for first, held in windows(poses, plan.length, plan.stride):
            yield first / plan.fps, (first + len(held)) / plan.fps, None, np.stack(held)
        return
    if poses is not None:
        _require_rate(pose_fps, "poses")
    if encode:
        frames = (frame if isinstance(frame, bytes) else encode_jpeg(frame) for frame in frames)
    for first, held in windows(frames, plan.length, plan.stride):
        start, end = first / plan.fps, (first + len(held)) / plan.fps
        yield start, end, held, None if poses is None else poses_between(poses, start, end, pose_fps)


def _until(stopped, frames):
    """The frames of a stream until an event is set: who reads them, a thread, must come to an end."""
    return None if frames is None else itertools.takewhile(lambda _: not stopped.is_set(), frames)


def _in_order(function, arguments, in_flight, stopped):
    """``function`` of each argument, ``in_flight`` at the same time; results in order, each as soon as it is there.

    A thread of its own reads the arguments: a camera's next window comes later than the answer to the last. When the
    results are no longer wanted, ``stopped`` is set, which ends the arguments.
    """
    pending, room = queue.Queue(), threading.Semaphore(in_flight)
    pool = concurrent.futures.ThreadPoolExecutor(in_flight, thread_name_prefix="window")

    def feed():
        end = None
        try:
            for argument in arguments:
                room.acquire()
                if stopped.is_set():
                    return
                pending.put(pool.submit(function, argument))
        except Exception as error:  # the stream's, raised where the results are read
            end = concurrent.futures.Future()
            end.set_exception(error)
        if end:
            pending.put(end)
        pending.put(None)

    feeding = threading.Thread(target=feed, name="frames", daemon=True)
    feeding.start()
    try:
        while (future := pending.get()) is not None:
            result = future.result()
            room.release()
            yield result
    finally:
        stopped.set()
        room.release()
        pool.shutdown(wait=False, cancel_futures=True)  # requests under way end with the client's connection
        # A decoder that still runs when Python ends aborts the process. But a frame may be waited for that never comes.
        feeding.join(_LAST_FRAME_SECONDS)
