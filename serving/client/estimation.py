"""Poses, and pictures cut out around persons, for models that need them, from video alone.

::

    a video:   frames ─► poses of the whole recording ─► boxes ─┐
               frames, once more ───────────────────────────────┴─► pictures, poses
    a stream:  frames ─► poses of each when it comes ─► its box ─► pictures, poses ─► windows

What a model needs follows from its signature: it takes ``poses``, of a skeleton that their number of joints names; it
takes pictures of hands; and its outputs include :data:`serving.savedmodel.signatures.PERSON_CROPS` where it was trained
on pictures of persons. Pictures are cut as converters cut them (:mod:`tfrecords.converting.crops`).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from serving.client import clips, request
from serving.client.streams import VideoFrames
from serving.savedmodel import signatures
from tfrecords.converting import persons
from tfrecords.converting.persons import FPS, Poses
from zoo import skeletons
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from tfrecords.estimation.recordings import Settings
    from tfrecords.reading.pipeline import Inputs

SIZE = 256  # side of pictures that are cut out, pixels: that of records, converters' default
WAITING_SECONDS = 1.0  # of a camera's frames that wait at most; while as many do, the camera is not read
LONGEST_SKIP = 0.5  # seconds of a camera without an estimate at most, however far behind
_T = TypeVar("_T")
_END = object()


@dataclasses.dataclass(frozen=True)
class Estimation:
    """What is to be made of a video for a model.

    Attributes:
        poses: Whether the model is fed poses that are to be estimated.
        parts: Body parts that are to be cut out of the frames; none: frames are sent whole.
        takes_video: Whether the model takes pictures.
        settings: How poses are estimated, a :class:`tfrecords.estimation.recordings.Settings`.
        size: Side of the pictures that are cut out, pixels.
    """

    poses: bool
    parts: tuple[str, ...]
    takes_video: bool
    settings: Settings
    size: int = SIZE

    @classmethod
    def of(
        cls,
        definition: SignatureDef,
        *,
        inputs: Inputs | None = None,
        poses_given: bool = False,
        crop: bool | None = None,
        model: str = "full",
        persons: int | None = None,
    ) -> Estimation | None:
        """What a signature needs.

        Args:
            definition: The ``SignatureDef``.
            inputs: The model's inputs, where its export has them.
            poses_given: Whether there are poses already.
            crop: Whether pictures are cut out around persons; default: where the model was trained on such.
            model: The estimator's model: ``lite``, ``full``, ``heavy`` or a file.
            persons: Persons M; default: as many as the model takes.

        Returns:
            An :class:`Estimation`; ``None`` if nothing has to be estimated.

        Raises:
            UserError: The estimator is not installed, or the model's poses are of no known skeleton.
        """
        poses = request.takes_poses(definition) and not poses_given
        parts = request.parts(definition)
        if crop is None:
            crop = signatures.PERSON_CROPS in definition.outputs or parts not in ((), ("full_body",))
        if not poses and not (crop and parts):
            return None
        count, layout = (inputs.persons, inputs.layout) if inputs else (1, "")
        if request.takes_poses(definition):
            count, joints = (size.size for size in definition.inputs[signatures.POSES].tensor_shape.dim[2:4])
            layout = _layout(joints)
        from tfrecords.estimation.recordings import Settings

        settings = Settings(model=model, layout=layout, persons=persons or count)
        found = cls(poses, parts if crop else (), bool(parts), settings, max(SIZE, inputs.size if inputs else 0))
        found._require_estimator()
        return found

    def _require_estimator(self) -> None:
        try:
            self.settings.search(1, 1).close()
        except UserError as error:
            if self.poses:
                raise UserError(f"this model needs poses: give --pose, or have them estimated ({error})") from error
            raise UserError(
                f"this model was trained on pictures of persons: give --no-crop to send whole frames, or have persons "
                f"found ({error})"
            ) from error

    # ---- whole videos

    def of_video(
        self, video: VideoFrames, name: str | os.PathLike, span: tuple[int, int] | None = None
    ) -> tuple[Poses, dict[str, np.ndarray]]:
        """The poses of a video and the boxes of its pictures.

        Args:
            video: A :class:`~serving.client.streams.VideoFrames`.
            name: The video's, for messages.
            span: First frame and number of frames that are looked at; default: all.

        Returns:
            ``(poses, boxes)``: :class:`~tfrecords.converting.persons.Poses` of those frames; part -> ``[T, 4]``, from
            the video's first frame on.

        Raises:
            UserError: The video cannot be read, or nobody is in it and the model takes poses alone.
        """
        from tfrecords.estimation import recordings

        first, length = span or (0, video.count or None)
        with command_line.progress(length, "poses", "frame") as bar:
            poses = recordings.estimate(_Recording(video, first, span and length, bar.update), self.settings)
        if not poses.confidence.any():
            if not self.takes_video:
                raise UserError(f"{name}: nobody is found in it, and the model takes poses alone: no prediction")
            rest = "from its pictures alone" if self.poses else "from whole frames"
            messages.warn(f"{name}: nobody is found in it, the prediction is {rest}")
        boxes = self._boxes(poses, video.height, video.width, video.known_fps or FPS)
        return poses, {part: np.concatenate([box[:1]] * first + [box]) for part, box in boxes.items()}

    def _boxes(self, poses: Poses, height: int, width: int, fps: float) -> dict[str, np.ndarray]:
        """Part -> where it is cut out, ``[T, 4]``."""
        from tfrecords.converting import crops

        if not self.parts:
            return {}
        assert poses.xy is not None  # an estimator gives them
        size: dict[str, Any] = {"width": width, "height": height, "fps": fps, "layout": self.settings.skeleton}
        return crops.part_boxes(poses.xy, poses.confidence > 0, self.parts, xyz=poses.xyz, **size)

    def pictures(self, video: VideoFrames, boxes: Mapping[str, np.ndarray]) -> dict[str, list[bytes]]:
        """Part -> JPEG files of the pictures cut out of a video's frames."""
        found: dict[str, list[bytes]] = {part: [] for part in boxes}
        for number, frame in enumerate(video):
            for part, box in boxes.items():
                found[part].append(clips.encode_jpeg(self._cut(frame, box[min(number, len(box) - 1)])))
        return found

    def _cut(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        from tfrecords.converting import crops

        return crops.cut(frame, box, self.size)

    # ---- streams

    def follow(
        self, frames: Iterable[tuple[float | None, np.ndarray | bytes]], fps: float, *, live: bool, encode: bool
    ) -> Iterator[tuple[float | None, Moment]]:
        """The frames of a stream as a model takes them, each with its poses, one by one.

        Every frame is estimated once, when it comes. Of a ``live`` stream, whose frames do not wait, those that come
        while the estimator is busy are not estimated, but kept: their poses are those of the frame before, and lie on
        the line to the next estimate once this is there. At most :data:`WAITING_SECONDS` of frames wait; at least
        every :data:`LONGEST_SKIP` seconds a frame is estimated.

        Args:
            frames: Seconds (``None``: not known) and the picture, or its JPEG file, of each.
            fps: Frames per second.
            live: Whether frames come whether they are taken or not, as a camera's do.
            encode: Whether pictures are wanted as JPEG files.

        Yields:
            Seconds and a :class:`Moment`.
        """
        follower = None
        skipped, longest = 0, round(LONGEST_SKIP * fps)
        numbered = enumerate(_with_newest(frames, max(round(WAITING_SECONDS * fps), 1)) if live else _all(frames))
        try:
            for number, (is_newest, (seconds, frame)) in numbered:
                picture = clips.decode_jpeg(frame, number) if isinstance(frame, bytes) else np.asarray(frame)
                if follower is None:
                    follower = _Follower(self, picture.shape[0], picture.shape[1], fps)
                skipped = 0 if is_newest or skipped + 1 >= longest else skipped + 1
                moment = follower.moment(picture, number / fps if seconds is None else seconds, estimate=not skipped)
                cut = {part: self._cut(picture, box) for part, box in follower.boxes.items()}
                moment.pictures.update({part: clips.encode_jpeg(p) if encode else p for part, p in cut.items()})
                if self.takes_video and not self.parts:
                    send_encoded = encode and not isinstance(frame, bytes)
                    moment.pictures["full_body"] = clips.encode_jpeg(picture) if send_encoded else frame
                yield seconds, moment
        finally:
            if follower is not None:
                follower.close()


@dataclasses.dataclass(eq=False)
class Moment:
    """A frame of a stream as a model takes it.

    Attributes:
        poses: ``[1, M, J, ...]``, :class:`~tfrecords.converting.persons.Poses`; replaced once a later estimate shows
            them better.
        pictures: Body part -> picture, or its JPEG file.
    """

    poses: Poses
    pictures: dict[str, np.ndarray | bytes] = dataclasses.field(default_factory=dict)


class _Follower:
    """The persons of a stream, frame after frame.

    Attributes:
        boxes: Part -> where it is cut out of the newest frame, ``[4]``.
    """

    def __init__(self, estimation: Estimation, height: int, width: int, fps: float) -> None:
        from tfrecords.converting import crops
        from tfrecords.estimation.live import LiveEstimator

        self._estimation, self._size, self._fps = estimation, (height, width), fps
        self._live = LiveEstimator(estimation.settings, width, height, fps)
        self._last: Poses | None = None
        self._waiting: list[Moment] = []  # frames since the last estimate
        # Poses that the boxes are smoothed over; where nobody is seen the last box stays.
        self._seen: collections.deque[Poses] = collections.deque(maxlen=max(round(fps * crops.SMOOTHING), 1))
        self.boxes: dict[str, np.ndarray] = {}

    def moment(self, frame: np.ndarray, seconds: float, *, estimate: bool) -> Moment:
        """The next frame, with poses that are estimated or those of the frame before, without pictures."""
        if not estimate and self._last is not None:
            moment = Moment(self._last)
            self._waiting.append(moment)
            return moment
        poses = self._live.poses(frame, seconds)
        if self._last is not None:
            for step, waiting in enumerate(self._waiting, start=1):
                waiting.poses = _between(self._last, poses, step / (len(self._waiting) + 1))
        self._last, self._waiting = poses, []
        if poses.confidence.any() or not self.boxes:
            self._seen.append(poses)
            boxes = self._estimation._boxes(_joined(self._seen), *self._size, self._fps)
            self.boxes = {part: box[-1] for part, box in boxes.items()}
        return Moment(poses)

    def close(self) -> None:
        self._live.close()


def _between(before: Poses, after: Poses, fraction: float) -> Poses:
    """The poses on the line between two estimates, of whoever is there in both; of others those before."""
    there = before.confidence.any(axis=-1) & after.confidence.any(axis=-1)  # [1, M]

    def mixed(a, b):
        if a is None or b is None:
            return a
        return np.where(there.reshape(there.shape + (1,) * (a.ndim - 2)), a + np.float32(fraction) * (b - a), a)

    confidence = np.where(there[..., np.newaxis], np.float32(persons.INTERPOLATED), before.confidence)
    return Poses(mixed(before.xyz, after.xyz), confidence, mixed(before.xy, after.xy))


def _joined(poses: Sequence[Poses]) -> Poses:
    """Poses of frames as those of a recording."""
    xyz, confidence, xy = (np.concatenate([getattr(p, n) for p in poses]) for n in ("xyz", "confidence", "xy"))
    return Poses(xyz, confidence, xy)


def of_window(moments: Sequence[Moment], estimation: Estimation) -> tuple[dict[str, list] | None, np.ndarray | None]:
    """Pictures of each part and poses ``[T, M, J, 3]`` of a window; ``None`` for what is not to be sent."""
    pictures = {part: [moment.pictures[part] for moment in moments] for part in moments[0].pictures}
    poses = _joined([moment.poses for moment in moments]).xyz if estimation.poses else None
    return pictures or None, poses


def _all(frames: Iterable[_T]) -> Iterator[tuple[bool, _T]]:
    return ((True, frame) for frame in frames)


def _with_newest(frames: Iterable[_T], waiting: int) -> Iterator[tuple[bool, _T]]:
    """The elements of a live stream, each with whether no later one is there yet; at most ``waiting`` wait.

    A thread of its own reads the stream, so that its frames are taken while the estimator runs.
    """
    taken: queue.Queue[Any] = queue.Queue(waiting)
    failed: list[BaseException] = []
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                taken.put(item, timeout=0.1)
                return True
            except queue.Full:
                pass
        return False

    def read() -> None:
        try:
            for frame in frames:
                if not put(frame):
                    return
        except Exception as error:  # of the stream; raised where its frames are used
            failed.append(error)
        put(_END)

    reading = threading.Thread(target=read, name="camera", daemon=True)
    reading.start()
    try:
        while (frame := taken.get()) is not _END:
            yield taken.empty(), frame
        if failed:
            raise failed[0]
    finally:
        stopped.set()
        reading.join(1.0)  # the next frame may never come


class _Recording:
    """Frames of a video as an estimator takes them: from ``first`` on, so many (``None``: all)."""

    def __init__(self, video: VideoFrames, first: int, length: int | None, on_frame: Callable[[], object]) -> None:
        self._video, self._on_frame = video, on_frame
        self._span = first, None if length is None else first + length
        self.fps, self.height, self.width = video.known_fps, video.height, video.width

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in itertools.islice(self._video.frames(), *self._span):  # others are not converted to RGB
            yield np.asarray(frame)
            self._on_frame()


def add_arguments(group: Any) -> None:
    """Adds ``--crop``, ``--no-crop``, ``--pose-model`` and ``--persons``."""
    group.add_argument(
        "--crop",
        action=argparse.BooleanOptionalAction,
        help="cut pictures out around the persons that are found, or send whole frames; by default as the model was "
        "trained",
    )
    group.add_argument(
        "--pose-model",
        default="full",
        metavar="NAME",
        help="model that poses are estimated with where none are given: lite, full, heavy or a .task file (full)",
    )
    group.add_argument(
        "--persons", type=command_line.positive(int), metavar="N", help="persons to find; by default as the model takes"
    )


def from_arguments(
    arguments: argparse.Namespace, definition: SignatureDef, inputs: Inputs | None = None
) -> Estimation | None:
    """What :func:`add_arguments` and ``--pose`` state for a signature, as :meth:`Estimation.of`."""
    return Estimation.of(
        definition,
        inputs=inputs,
        poses_given=bool(arguments.pose),
        crop=arguments.crop,
        model=arguments.pose_model,
        persons=arguments.persons,
    )


def _layout(joints: int) -> str:
    """The skeleton layout with a number of joints: no two have as many."""
    for name, layout in skeletons.LAYOUTS.items():
        if layout.num_joints == joints:
            return name
    raise UserError(f"the model takes poses of {joints} joints, of no skeleton that can be estimated: give --pose")
