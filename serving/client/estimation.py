"""Estimates, from video alone, the poses and the pictures cut out around persons that a model needs.

::

    a video:   frames ─► poses of the whole recording ─► boxes ─┐
               frames, once more ───────────────────────────────┴─► pictures, poses
    a stream:  frames ─► poses of each frame when it comes ─► its boxes ─► pictures, poses ─► windows

A model's signature shows what the model needs. It may have the input ``poses``, whose number of joints identifies the
skeleton, and inputs for pictures of hands. It has the output :data:`serving.savedmodel.signatures.PERSON_CROPS` if the
model was trained on pictures cut out around persons. Pictures are cut out as converters do
(:mod:`tfrecords.converting.crops`).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from serving.client import clips, request
from serving.client.streams import VideoFrames, as_they_come, waiting_frames
from serving.savedmodel import signatures
from tfrecords.converting import persons
from tfrecords.converting.persons import FPS, Poses
from tfrecords.estimation.estimator import Closing, NoEstimator
from zoo import skeletons
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from tfrecords.converting.pose_files import FilePoses
    from tfrecords.estimation.live import LiveEstimator
    from tfrecords.estimation.recordings import Settings
    from tfrecords.reading.pipeline import Inputs

SIZE = 256  # side of pictures that are cut out, in pixels: the converters' default for records
LONGEST_SKIP = 0.5  # most seconds of a live stream without an estimate, however far behind the estimator is
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Estimation:
    """What to estimate and cut out of a video for a model.

    Attributes:
        poses: Whether to estimate the poses that the model takes.
        parts: Body parts to cut out of the frames; empty: frames are sent whole.
        takes_video: Whether the model takes pictures.
        settings: How poses are estimated, a :class:`tfrecords.estimation.recordings.Settings`.
        size: Side of the pictures that are cut out, in pixels.
        pixels: Given poses whose pixel coordinates determine the boxes of the pictures; default: estimated poses.
    """

    poses: bool
    parts: tuple[str, ...]
    takes_video: bool
    settings: Settings
    size: int = SIZE
    pixels: FilePoses | None = None

    @classmethod
    def of(
        cls,
        definition: SignatureDef,
        *,
        inputs: Inputs | None = None,
        poses_given: bool = False,
        pixels: FilePoses | None = None,
        crop: bool | None = None,
        model: str = "full",
        persons: int | None = None,
    ) -> Estimation | None:
        """The :class:`Estimation` that a signature needs.

        Args:
            definition: The ``SignatureDef``.
            inputs: The model's inputs, if its export states them.
            poses_given: Whether there are poses already.
            pixels: Poses of a file, from :func:`serving.client.clips.read_pose_file`. Their pixel coordinates are used
                if there are any and somebody is in them.
            crop: Whether pictures are cut out around persons; default: only if the model was trained on such pictures,
                or takes pictures of hands.
            model: The estimator's model: ``lite``, ``full``, ``heavy`` or a file.
            persons: Number of persons M; default: as many as the model takes.

        Returns:
            An :class:`Estimation`; ``None`` if nothing has to be estimated.

        Raises:
            UserError: The model's poses are of no known skeleton.
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
        if pixels is not None:
            pixels = pixels if pixels.xy is not None and pixels.confidence.any() else None
        if pixels is not None:
            layout = pixels.layout or _layout(pixels.confidence.shape[2])
        from tfrecords.estimation.recordings import Settings

        settings = Settings(model=model, layout=layout, persons=persons or count)
        size = max(SIZE, inputs.size if inputs else 0)
        return cls(poses, parts if crop else (), bool(parts), settings, size, pixels)

    def _cannot(self, error: NoEstimator) -> UserError:
        """The error, with what to do, if there is no estimator."""
        if self.poses:
            return UserError(f"this model needs poses: give --pose, or have them estimated ({error})")
        return UserError(
            f"this model was trained on pictures of persons: give --no-crop to send whole frames, or have persons "
            f"found ({error})"
        )

    # ---- whole videos

    def of_video(
        self, video: VideoFrames, name: str | os.PathLike, span: tuple[int, int] | None = None
    ) -> tuple[Poses, dict[str, np.ndarray]]:
        """The poses of a video and the boxes of its pictures.

        Args:
            video: A :class:`~serving.client.streams.VideoFrames`.
            name: The video's name in messages.
            span: First frame and number of the frames that are processed; default: all.

        Returns:
            ``(poses, boxes)``: :class:`~tfrecords.converting.persons.Poses` of these frames, and part -> boxes
            ``[T, 4]``, from the video's first frame on.

        Raises:
            UserError: The video cannot be read, there is no estimator, or nobody is in it and the model takes poses
                alone.
        """
        from tfrecords.estimation import recordings

        if self.pixels is not None:
            rate = self.pixels.fps or video.known_fps
            return self.pixels, self._boxes_of_pixels(video.height, video.width, rate, video.count)
        first, length = span or (0, video.count or None)
        with command_line.progress(length, "poses", "frame") as bar:
            part = recordings.Part(video, bar.update, first=first, length=length if span else None, fps=video.known_fps)
            try:
                poses = recordings.estimate(part, self.settings)
            except NoEstimator as error:
                raise self._cannot(error) from error
        if not poses.confidence.any():
            if not self.takes_video:
                raise UserError(f"{name}: nobody is found in it, and the model needs poses: no prediction is possible")
            rest = "from its pictures alone" if self.poses else "from whole frames"
            messages.warn(f"{name}: nobody is found in it, the prediction is {rest}")
        boxes = self.boxes(poses, video.height, video.width, video.known_fps or FPS)
        return poses, {part: np.concatenate([box[:1]] * first + [box]) for part, box in boxes.items()}

    def boxes(self, poses: Poses, height: int, width: int, fps: float) -> dict[str, np.ndarray]:
        """Part -> the boxes ``[T, 4]`` that its pictures are cut out of."""
        from tfrecords.converting import crops

        if not self.parts:
            return {}
        assert poses.xy is not None  # an estimator gives them
        size: dict[str, Any] = {"width": width, "height": height, "fps": fps, "layout": self.settings.skeleton}
        return crops.part_boxes(poses.xy, poses.confidence > 0, self.parts, xyz=poses.xyz, **size)

    def _boxes_of_pixels(self, height: int, width: int, fps: float, count: int = 0) -> dict[str, np.ndarray]:
        """:meth:`boxes` of the given poses, one for each of ``count`` frames; 0: there is a pose for each frame."""
        from tfrecords.converting.video import lengths_agree

        assert self.pixels is not None
        assert self.pixels.xy is not None
        scale = np.divide((width, height), self.pixels.frame or (width, height))
        boxes = self.boxes(dataclasses.replace(self.pixels, xy=self.pixels.xy * scale), height, width, fps or FPS)
        if not count or lengths_agree(count, len(self.pixels)):
            return boxes
        poses = np.arange(count) * len(self.pixels) // count  # poses last as long as the recording
        return {part: box[poses] for part, box in boxes.items()}

    def pictures(self, video: VideoFrames, boxes: Mapping[str, np.ndarray]) -> dict[str, list[bytes]]:
        """Part -> JPEG files of the pictures cut out of a video's frames."""
        found: dict[str, list[bytes]] = {part: [] for part in boxes}
        for number, frame in enumerate(video):
            for part, box in boxes.items():
                found[part].append(clips.encode_jpeg(self.cut(frame, box[min(number, len(box) - 1)])))
        return found

    def cut(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The picture that is cut out of a frame at a box of :meth:`boxes`."""
        from tfrecords.converting import crops

        return crops.cut(frame, box, self.size)

    # ---- streams

    def live_estimator(self, fps: float) -> LiveEstimator:
        """The estimator of a stream's poses, :class:`tfrecords.estimation.live.LiveEstimator`.

        Raises:
            UserError: There is no estimator; the message says what to do.
        """
        from tfrecords.estimation.live import LiveEstimator

        try:
            return LiveEstimator(self.settings, fps)
        except NoEstimator as error:
            raise self._cannot(error) from error

    def follow(
        self,
        frames: Iterable[tuple[float | None, np.ndarray | bytes]],
        fps: float,
        *,
        live: bool,
        encode: bool,
        pose_fps: float | None = None,
    ) -> Iterator[tuple[float | None, Moment]]:
        """The frames of a stream as a model takes them, each with its poses, one by one.

        The poses of a frame are estimated once, when it comes. The frames of a ``live`` stream do not wait: one that
        comes while the estimator is busy is kept without an estimate. It has the poses of the last estimate, and
        interpolated ones as soon as the next estimate is there. At least every :data:`LONGEST_SKIP` seconds a frame is
        estimated. If more than :func:`~serving.client.streams.waiting_frames` frames wait, the oldest are left out.

        Args:
            frames: ``(seconds, picture)`` of each frame: its time stamp (``None``: not known), and an array or a JPEG
                file.
            fps: Frames per second.
            live: Whether frames arrive in real time and do not wait, as those of a camera.
            encode: Whether pictures are wanted as JPEG files.
            pose_fps: Rate of the poses ``pixels``; default: the rate that their file states, or one pose per frame.

        Yields:
            Seconds and a :class:`Moment`.
        """
        skipped, longest = 0, round(LONGEST_SKIP * fps)
        # The estimator is loaded before the first frame of a live stream comes, as this takes a second.
        with _Given(self, fps, pose_fps) if self.pixels is not None else _Follower(self, fps) as follower:
            numbered = enumerate(as_they_come(frames, waiting_frames(fps)) if live else _all(frames))
            for number, (is_newest, (seconds, frame)) in numbered:
                picture = clips.decode_jpeg(frame, number) if isinstance(frame, bytes) else np.asarray(frame)
                skipped = 0 if is_newest or skipped + 1 >= longest else skipped + 1
                moment = follower.moment(picture, number / fps if seconds is None else seconds, estimate=not skipped)
                cut = {part: self.cut(picture, box) for part, box in follower.boxes.items()}
                moment.pictures.update({part: clips.encode_jpeg(p) if encode else p for part, p in cut.items()})
                if self.takes_video and not self.parts:
                    send_encoded = encode and not isinstance(frame, bytes)
                    moment.pictures["full_body"] = clips.encode_jpeg(picture) if send_encoded else frame
                yield seconds, moment


@dataclasses.dataclass(eq=False)
class Moment:
    """A frame of a stream as a model takes it.

    Attributes:
        poses: ``[1, M, J, ...]``, :class:`~tfrecords.converting.persons.Poses`. Those of a frame without an estimate
            are replaced after the next estimate. ``None`` if poses are given for the whole stream.
        pictures: Body part -> picture, or its JPEG file.
    """

    poses: Poses | None
    pictures: dict[str, np.ndarray | bytes] = dataclasses.field(default_factory=dict)


class Boxes:
    """The boxes of the pictures in a stream's newest frame, smoothed over the poses of the last half second.

    Args:
        estimation: The :class:`Estimation`.
        fps: Frames per second.
    """

    def __init__(self, estimation: Estimation, fps: float) -> None:
        from tfrecords.converting import crops

        self._estimation, self._fps = estimation, fps
        self._seen: collections.deque[Poses] = collections.deque(maxlen=max(round(fps * crops.SMOOTHING), 1))

    def __call__(self, poses: Poses, height: int, width: int) -> dict[str, np.ndarray]:
        """Part -> ``[4]``, x_min, y_min, x_max, y_max.

        Args:
            poses: Poses of the newest frame.
            height: Height of the frame in pixels.
            width: Width of the frame in pixels.
        """
        self._seen.append(poses)
        boxes = self._estimation.boxes(_joined(self._seen), height, width, self._fps)
        return {part: box[-1] for part, box in boxes.items()}


class _Follower(Closing):
    """The persons of a stream, frame after frame.

    Attributes:
        boxes: Part -> its box ``[4]`` in the newest frame.
    """

    def __init__(self, estimation: Estimation, fps: float) -> None:
        self._live = estimation.live_estimator(fps)
        self._last: Poses | None = None
        self._waiting: list[Moment] = []  # frames since the last estimate
        self._boxes = Boxes(estimation, fps)
        self.boxes: dict[str, np.ndarray] = {}

    def moment(self, frame: np.ndarray, seconds: float, *, estimate: bool) -> Moment:
        """The next frame, without pictures: with new poses or, without ``estimate``, those of the last estimate."""
        if not estimate and self._last is not None:
            moment = Moment(self._last)
            self._waiting.append(moment)
            return moment
        poses = self._live.poses(frame, seconds)
        if self._last is not None:
            for step, waiting in enumerate(self._waiting, start=1):
                waiting.poses = _between(self._last, poses, step / (len(self._waiting) + 1))
        self._last, self._waiting = poses, []
        if poses.confidence.any() or not self.boxes:  # while nobody is seen, the last boxes stay
            self.boxes = self._boxes(poses, frame.shape[0], frame.shape[1])
        return Moment(poses)

    def close(self) -> None:
        """Frees what the estimator holds."""
        self._live.close()


class _Given(Closing):
    """Replaces :class:`_Follower` if poses with pixel coordinates are given for a whole stream."""

    def __init__(self, estimation: Estimation, fps: float, pose_fps: float | None) -> None:
        self._estimation, self._fps = estimation, fps
        self._pose_fps = pose_fps or clips.pose_rate(estimation.pixels, fps)
        self._all: dict[str, np.ndarray] = {}
        self._count = 0
        self.boxes: dict[str, np.ndarray] = {}

    def moment(self, frame: np.ndarray, seconds: float, *, estimate: bool) -> Moment:
        """The next frame, without poses and pictures."""
        if not self._all:
            self._all = self._estimation._boxes_of_pixels(frame.shape[0], frame.shape[1], self._pose_fps or self._fps)
        index = round(seconds * self._pose_fps) if self._pose_fps else self._count
        self.boxes = {part: box[min(index, len(box) - 1)] for part, box in self._all.items()}
        self._count += 1
        return Moment(None)

    def close(self) -> None:
        """Does nothing: no resources are held."""


def _between(before: Poses, after: Poses, fraction: float) -> Poses:
    """Poses interpolated between two estimates; a person missing in one of them keeps the earlier poses."""
    there = before.confidence.any(axis=-1) & after.confidence.any(axis=-1)  # [1, M]

    def mixed(a, b):
        if a is None or b is None:
            return a
        return np.where(there.reshape(there.shape + (1,) * (a.ndim - 2)), a + np.float32(fraction) * (b - a), a)

    confidence = np.where(there[..., np.newaxis], np.float32(persons.INTERPOLATED), before.confidence)
    return Poses(mixed(before.xyz, after.xyz), confidence, mixed(before.xy, after.xy))


def _joined(poses: Sequence[Poses]) -> Poses:
    """The poses of several frames, joined along the time axis."""
    xyz, confidence, xy = (np.concatenate([getattr(p, n) for p in poses]) for n in ("xyz", "confidence", "xy"))
    return Poses(xyz, confidence, xy)


def of_window(moments: Sequence[Moment], estimation: Estimation) -> tuple[dict[str, list] | None, np.ndarray | None]:
    """Pictures of each part and poses ``[T, M, J, 3]`` of a window; ``None`` for what is not to be sent."""
    pictures = {part: [moment.pictures[part] for moment in moments] for part in moments[0].pictures}
    estimated = [moment.poses for moment in moments if moment.poses is not None]
    poses = _joined(estimated).xyz if estimation.poses else None
    return pictures or None, poses


def _all(frames: Iterable[_T]) -> Iterator[tuple[bool, _T]]:
    return ((True, frame) for frame in frames)


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
        help="model that poses are estimated with where none are given: lite, full, heavy or a .task file",
    )
    group.add_argument(
        "--persons",
        type=command_line.positive(int),
        metavar="N",
        help="persons to find; by default as many as the model takes",
    )


def from_arguments(
    arguments: argparse.Namespace,
    definition: SignatureDef,
    inputs: Inputs | None = None,
    given: FilePoses | None = None,
) -> Estimation | None:
    """The :class:`Estimation` for a signature, from the options of :func:`add_arguments` and the poses of ``--pose``.

    Raises:
        UserError: More persons are stated than the model takes; or as :meth:`Estimation.of`.
    """
    found = Estimation.of(
        definition,
        inputs=inputs,
        poses_given=given is not None,
        pixels=given,
        crop=arguments.crop,
        model=arguments.pose_model,
        persons=arguments.persons,
    )
    if found is not None and found.poses:
        takes = definition.inputs[signatures.POSES].tensor_shape.dim[2].size
        if found.settings.persons > takes:
            raise UserError(f"--persons {found.settings.persons}: the model takes {takes} at most")
    return found


def poses_to_send(
    given: FilePoses | None,
    estimation: Estimation | None,
    definition: Callable[[], SignatureDef],
    path: str | os.PathLike,
) -> np.ndarray | None:
    """The poses ``[T, M, J, 3]`` of a file for the request; ``None`` if they only serve to find persons' boxes.

    Args:
        given: The file's poses; ``None`` without a file.
        estimation: What is estimated.
        definition: Gives the ``SignatureDef``.
        path: Path of the file, for messages.
    """
    if given is None:
        return None
    if estimation is not None and estimation.pixels is not None and not request.takes_poses(definition()):
        return None
    return clips.metres(given, path)


def _layout(joints: int) -> str:
    """The skeleton layout with this number of joints; no two layouts have the same number."""
    for name, layout in skeletons.LAYOUTS.items():
        if layout.num_joints == joints:
            return name
    raise UserError(f"the model takes poses of {joints} joints, of no skeleton that can be estimated: give --pose")
