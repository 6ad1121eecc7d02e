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

SIZE = 256  # side of pictures that are cut out, pixels: that of records, converters' default
LONGEST_SKIP = 0.5  # seconds of a camera without an estimate at most, however far behind
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Estimation:
    """What is to be made of a video for a model.

    Attributes:
        poses: Whether the model is fed poses that are to be estimated.
        parts: Body parts that are to be cut out of the frames; none: frames are sent whole.
        takes_video: Whether the model takes pictures.
        settings: How poses are estimated, a :class:`tfrecords.estimation.recordings.Settings`.
        size: Side of the pictures that are cut out, pixels.
        pixels: Poses that are given, whose pixels say where pictures are cut out; default: estimated ones.
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
        """What a signature needs.

        Args:
            definition: The ``SignatureDef``.
            inputs: The model's inputs, where its export has them.
            poses_given: Whether there are poses already.
            pixels: Poses of a file, of :func:`serving.client.clips.read_pose_file`, of which somebody's pixels are used
                where there are any.
            crop: Whether pictures are cut out around persons; default: where the model was trained on such.
            model: The estimator's model: ``lite``, ``full``, ``heavy`` or a file.
            persons: Persons M; default: as many as the model takes.

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
        """What to do where there is no estimator."""
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
            name: The video's, for messages.
            span: First frame and number of frames that are looked at; default: all.

        Returns:
            ``(poses, boxes)``: :class:`~tfrecords.converting.persons.Poses` of those frames; part -> ``[T, 4]``, from
            the video's first frame on.

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
                raise UserError(f"{name}: nobody is found in it, and the model takes poses alone: no prediction")
            rest = "from its pictures alone" if self.poses else "from whole frames"
            messages.warn(f"{name}: nobody is found in it, the prediction is {rest}")
        boxes = self.boxes(poses, video.height, video.width, video.known_fps or FPS)
        return poses, {part: np.concatenate([box[:1]] * first + [box]) for part, box in boxes.items()}

    def boxes(self, poses: Poses, height: int, width: int, fps: float) -> dict[str, np.ndarray]:
        """Part -> where it is cut out, ``[T, 4]``."""
        from tfrecords.converting import crops

        if not self.parts:
            return {}
        assert poses.xy is not None  # an estimator gives them
        size: dict[str, Any] = {"width": width, "height": height, "fps": fps, "layout": self.settings.skeleton}
        return crops.part_boxes(poses.xy, poses.confidence > 0, self.parts, xyz=poses.xyz, **size)

    def _boxes_of_pixels(self, height: int, width: int, fps: float, count: int = 0) -> dict[str, np.ndarray]:
        """:meth:`_boxes` of the given poses for each frame of a recording of so many; 0: a pose for each frame."""
        from tfrecords.converting.video import lengths_agree

        assert self.pixels is not None
        assert self.pixels.xy is not None
        scale = width / self.pixels.width if self.pixels.width else 1.0
        boxes = self.boxes(dataclasses.replace(self.pixels, xy=self.pixels.xy * scale), height, width, fps or FPS)
        if not count or lengths_agree(count, len(self.pixels)):
            return boxes
        poses = np.arange(count) * len(self.pixels) // count  # they last as long as the recording
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
            UserError: There is none: what to do.
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

        Every frame is estimated once, when it comes. Of a ``live`` stream, whose frames do not wait, those that come
        while the estimator is busy are not estimated, but kept: their poses are those of the frame before, and lie on
        the line to the next estimate once this is there. At least every :data:`LONGEST_SKIP` seconds a frame is
        estimated. Frames that wait for longer than :func:`~serving.client.streams.waiting_frames` are left out.

        Args:
            frames: Seconds (``None``: not known) and the picture, or its JPEG file, of each.
            fps: Frames per second.
            live: Whether frames come whether they are taken or not, as a camera's do.
            encode: Whether pictures are wanted as JPEG files.
            pose_fps: Rate of ``pixels``; default: what their file states, or there are some for each frame.

        Yields:
            Seconds and a :class:`Moment`.
        """
        skipped, longest = 0, round(LONGEST_SKIP * fps)
        # The estimator is there before the first frame of a live stream comes: loading it takes a second.
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
        poses: ``[1, M, J, ...]``, :class:`~tfrecords.converting.persons.Poses`; replaced once a later estimate shows
            them better. ``None`` where they are given for the whole stream.
        pictures: Body part -> picture, or its JPEG file.
    """

    poses: Poses | None
    pictures: dict[str, np.ndarray | bytes] = dataclasses.field(default_factory=dict)


class Boxes:
    """Where the newest frame of a stream is cut: smooth over the poses of the last half second.

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
            poses: Those of the newest frame, of somebody.
            height: Of the frame, pixels.
            width: Likewise.
        """
        self._seen.append(poses)
        boxes = self._estimation.boxes(_joined(self._seen), height, width, self._fps)
        return {part: box[-1] for part, box in boxes.items()}


class _Follower(Closing):
    """The persons of a stream, frame after frame.

    Attributes:
        boxes: Part -> where it is cut out of the newest frame, ``[4]``.
    """

    def __init__(self, estimation: Estimation, fps: float) -> None:
        self._live = estimation.live_estimator(fps)
        self._last: Poses | None = None
        self._waiting: list[Moment] = []  # frames since the last estimate
        self._boxes = Boxes(estimation, fps)
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
        if poses.confidence.any() or not self.boxes:  # where nobody is seen the last box stays
            self.boxes = self._boxes(poses, frame.shape[0], frame.shape[1])
        return Moment(poses)

    def close(self) -> None:
        """Frees what the estimator holds."""
        self._live.close()


class _Given(Closing):
    """Stands for :class:`_Follower` where poses with pixels are given for a whole stream."""

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
        """Nothing is held."""


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
    """What :func:`add_arguments` and the poses of ``--pose`` state for a signature, as :meth:`Estimation.of`.

    Raises:
        UserError: More persons are stated than the model takes; and as there.
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
    """``[T, M, J, 3]`` of a file of poses as the request has them; ``None`` where it says where persons are, no more.

    Args:
        given: The file's poses; ``None`` without a file.
        estimation: What is estimated.
        definition: Gives the ``SignatureDef``.
        path: Of the file, for messages.
    """
    if given is None:
        return None
    if estimation is not None and estimation.pixels is not None and not request.takes_poses(definition()):
        return None
    return clips.metres(given, path)


def _layout(joints: int) -> str:
    """The skeleton layout with a number of joints: no two have as many."""
    for name, layout in skeletons.LAYOUTS.items():
        if layout.num_joints == joints:
            return name
    raise UserError(f"the model takes poses of {joints} joints, of no skeleton that can be estimated: give --pose")
