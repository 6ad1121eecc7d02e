"""Whole clips from files: videos, poses and records."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.client.streams import VideoFrames
from serving.savedmodel import signatures
from tfrecords import schema, storage
from tfrecords.errors import RejectedClip
from zoo.shared import messages, processors
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.converting.persons import Poses
    from tfrecords.converting.pose_files import FilePoses
    from tfrecords.converting.video import Frame
    from tfrecords.reading.pipeline import Inputs

    Boxes = Mapping[str, np.ndarray]
    Write = Callable[[int, int, Frame], None]  # a picture's index, its frame's number, the frame

_WRITERS = max(processors.available() // 2, 1)  # threads that convert sampled frames while others are decoded
_RATES_DIFFER = 0.01  # a fraction: 29.97 and 30 per second name the same rate


def encode_jpeg(picture: np.ndarray) -> bytes:
    """The JPEG file of an RGB picture, with the quality of records.

    Args:
        picture: ``[H, W, 3]`` uint8.

    Returns:
        ``bytes``.

    Example:
        >>> encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:2]
        b'\\xff\\xd8'
    """
    from tfrecords.converting import crops

    return crops.encode_jpeg(np.ascontiguousarray(picture))


def decode_jpeg(jpeg: bytes, number: int) -> np.ndarray:
    """The RGB picture ``[H, W, 3]`` uint8 of a frame's JPEG file; ``UserError`` if the file is not complete."""
    from tfrecords.converting import crops

    try:
        return crops.decode_jpeg(jpeg)
    except ValueError as error:
        raise UserError(f"frame {number} cannot be decoded: {error}") from None


def read_video(path: str | os.PathLike) -> np.ndarray:
    """All frames of a video file, upright (the rotation that a phone stores in the file is applied).

    A long video is better read frame by frame: :class:`serving.client.streams.VideoFrames`.

    Args:
        path: Any file FFmpeg's libraries read.

    Returns:
        ``[T, H, W, 3]`` uint8, RGB.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    return np.stack(list(VideoFrames(path)))


def spread(count: int, number: int) -> list[int]:
    """Indices of at most ``number`` of ``count`` frames, evenly spread over all of them.

    Example:
        >>> spread(11, 3)
        [0, 5, 10]
    """
    return np.unique(np.linspace(0, count - 1, min(number, count)).round().astype(int)).tolist()


def read_spread(path: str | os.PathLike, number: int) -> np.ndarray:
    """At most ``number`` frames of a video file, evenly spread over all of it, ``[T, H, W, 3]`` uint8, RGB."""
    video = VideoFrames(path, threads=True)
    count = video.count or _count(video)
    wanted = set(spread(count, number))
    return np.stack([np.asarray(frame) for number, frame in enumerate(video.frames()) if number in wanted])


def read_cut(path: str | os.PathLike, boxes: Boxes, size: int) -> dict[str, np.ndarray]:
    """Part -> pictures ``[T, size, size, 3]`` cut out of all frames of a video file, as in :func:`read_sampled`."""
    length = max(map(len, boxes.values()))
    frames, write = _cut_out(length, boxes, size)
    for number, frame in zip(range(length), VideoFrames(path, threads=True).frames()):
        write(number, number, frame)
    return frames


@dataclasses.dataclass(frozen=True)
class Sampled:
    """The frames of a video file that a model samples.

    Attributes:
        frames: The clip for the signature ``serving_default``, ``[T, side, side, 3]`` uint8, RGB. Of a sampled frame it
            has the square that the model's input is made of, shrunk if large; frames that are not sampled are black.
            If pictures are cut out of boxes, a dictionary from body part to such pictures.
        indices: Indices in ``frames`` of the frames that the model sees, in order.
        first: Index in the video of the first of ``frames``, from 0.
        count: Number of frames of the whole video.
    """

    frames: np.ndarray | dict[str, np.ndarray]
    indices: np.ndarray
    first: int
    count: int

    @property
    def seen(self) -> np.ndarray:
        """The sampled frames, ``[T, side, side, 3]``, of the first body part."""
        return self._first_part[self.indices]

    @property
    def _first_part(self) -> np.ndarray:
        return next(iter(self.frames.values())) if isinstance(self.frames, dict) else self.frames

    @property
    def length(self) -> int:
        """Frames of the clip."""
        return len(self._first_part)

    @property
    def window(self) -> str:
        """Which part of the video the clip is, in words; empty if it is the whole video."""
        last = self.first + self.length
        return f"frames {self.first + 1} to {last} of {self.count}" if self.length < self.count else ""


def read_sampled(
    path: str | os.PathLike, inputs: Inputs, boxes: Mapping[str, np.ndarray] | None = None, size: int = 256
) -> Sampled:
    """The frames of a video file that a model samples, for the signature ``serving_default``.

    The predictions are the same as with :func:`read_video`, in less time: decoding uses all cores and ends with the
    last sampled frame, and only the model's square of each sampled frame is converted to RGB. A square inside the frame
    that is more than 1.25 times as large as the model's input is shrunk to the input's size here. Its pixel values are
    rounded to integers, so predictions differ slightly.

    Args:
        path: Any file FFmpeg's libraries read.
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        boxes: Part -> boxes ``[T, 4]`` that its pictures are cut out of, as
            :func:`tfrecords.converting.crops.part_boxes` gives them; default: the square that ``inputs.framing`` names.
        size: Side of pictures that are cut out of boxes, in pixels.

    Returns:
        A :class:`Sampled`.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    video = VideoFrames(path, threads=True)
    count = video.count or _count(video)
    clip = _sampled(video, count, inputs, boxes, size, all_frames=False)
    if clip is None:  # a container may claim more frames than are shown: count them, which takes time but no memory
        clip = _sampled(video, _count(video), inputs, boxes, size, all_frames=True)
    if clip is None:
        raise UserError(f"{path}: changes while it is read, expected a whole video file")
    return clip


def _count(video: VideoFrames) -> int:
    return sum(1 for _ in video.frames())


def _sampled(
    video: VideoFrames, count: int, inputs: Inputs, boxes: Boxes | None, size: int, *, all_frames: bool
) -> Sampled | None:
    """The clip of :func:`read_sampled` from a video of ``count`` frames; ``None`` if it has fewer.

    With ``all_frames`` every frame is decoded, whether it is sampled or not.
    """
    indices = signatures.frame_indices(count, inputs).numpy()
    first, length = _span(count, indices, inputs)
    frames, write = _cut_out(length, boxes, size) if boxes else framed_pictures(length, video, inputs)
    wanted = set(indices.tolist())
    missing = set(wanted)
    writing: collections.deque[futures.Future[None]] = collections.deque()
    with futures.ThreadPoolExecutor(_WRITERS) as pool:  # FFmpeg and OpenCV convert frames without Python's lock
        for number, frame in enumerate(video.frames()) if all_frames else video.numbered(wanted):
            if number in missing:
                writing.append(pool.submit(write, number - first, number, frame))
                missing.remove(number)
            if len(writing) > 2 * _WRITERS:  # few frames are in memory
                writing.popleft().result()
            if not missing:
                break
        for written in writing:
            written.result()
    return None if missing else Sampled(frames, indices - first, first, count)


def sampled_span(video: VideoFrames, inputs: Inputs) -> tuple[int, int]:
    """The part of a video that a model samples: its first frame and how many there are."""
    count = video.count or _count(video)
    return _span(count, signatures.frame_indices(count, inputs).numpy(), inputs)


def _span(count: int, indices: np.ndarray, inputs: Inputs) -> tuple[int, int]:
    """First frame and length of a shorter clip with the same sampled frames, or of all ``count`` frames."""
    if inputs.has_window and inputs.frames * inputs.stride <= count:
        return int(indices[0]), inputs.frames * inputs.stride
    return 0, count


def framed_pictures(length: int, video: VideoFrames, inputs: Inputs) -> tuple[np.ndarray, Write]:
    """Black pictures ``[length, side, side, 3]``, and a function that writes the model's square of a frame into one.

    A square inside the frame that is much larger than the model's input is shrunk to the input's size.
    """
    from tfrecords.converting.video import Shrinker
    from tfrecords.reading import pictures

    top, left, side, _ = pictures.framed(inputs.framing)(video.height, video.width).numpy()
    rows, columns = (slice(max(low, 0), low + side) for low in (top, left))
    is_inside = min(top, left) >= 0 and top + side <= video.height and left + side <= video.width
    if is_inside and side > pictures.ANTIALIAS_ABOVE * inputs.size:
        shrunk, shrink = np.zeros((length, inputs.size, inputs.size, 3), np.uint8), Shrinker(inputs.size)

        def write_shrunk(index: int, _: int, frame: Frame) -> None:
            shrunk[index] = shrink(frame, rows, columns)

        return shrunk, write_shrunk
    frames = np.zeros((length, side, side, 3), np.uint8)
    within = frames[:, max(-top, 0) : video.height - top, max(-left, 0) : video.width - left]

    def write(index: int, _: int, frame: Frame) -> None:
        within[index] = frame[rows, columns]

    return frames, write


def _cut_out(length: int, boxes: Boxes, size: int) -> tuple[dict[str, np.ndarray], Write]:
    """Part -> black pictures ``[length, size, size, 3]``, and a function that writes a frame's crops into them.

    A part whose boxes are not square (the full image) has pictures of the boxes' proportions.
    """
    from tfrecords.converting import crops

    frames = {part: np.zeros((length, *crops.cut_size(box[0], size), 3), np.uint8) for part, box in boxes.items()}

    def write(index: int, number: int, frame: Frame) -> None:
        for part, box in boxes.items():
            frames[part][index] = crops.cut(np.asarray(frame), box[min(number, len(box) - 1)], size)

    return frames, write


def read_poses(path: str | os.PathLike) -> np.ndarray:
    """3D poses from a file; joints that were not measured are filled as converters fill them.

    Args:
        path: A file in a format that :mod:`tfrecords.converting.pose_files` reads.

    Returns:
        ``[T, M, J, 3]`` float32; all zeros where nobody is in it.

    Raises:
        UserError: No such file, an unknown format, pixels alone, or a joint that was measured in no frame.
    """
    return metres(read_pose_file(path), path)


def metres(poses: Poses, path: str | os.PathLike) -> np.ndarray:
    """The joints in metres, ``xyz``, of a pose file; ``UserError`` if it has pixel coordinates only."""
    if poses.xyz is None:
        raise UserError(f"{path}: holds pixel coordinates only, expected joints in metres (xyz)")
    return poses.xyz


def read_pose_file(path: str | os.PathLike) -> FilePoses:
    """The whole content of a pose file; joints that were not measured are filled as converters fill them.

    Args:
        path: A file in a format that :mod:`tfrecords.converting.pose_files` reads, or NTU RGB+D's ``.skeleton``.

    Returns:
        :class:`~tfrecords.converting.pose_files.FilePoses`; all zeros where nobody is in it.

    Raises:
        UserError: No such file, an unknown format, or a joint that was measured in no frame.
    """
    from tfrecords.converting import persons, pose_files
    from tfrecords.datasets import ntu

    try:
        poses = ntu.read_skeleton(pathlib.Path(path)) if str(path).endswith(".skeleton") else pose_files.read(path)
        seen = np.flatnonzero(poses.confidence.any(axis=(0, 2)))
        if not seen.size:
            nobody = {n: np.zeros_like(v) for n in ("xyz", "xy") if (v := getattr(poses, n)) is not None}
            return dataclasses.replace(poses, **nobody)
        if poses.layout:  # from a dataset or an estimator, whose arrays may have persons who are absent
            poses = _with(poses, persons.of_count(poses, seen[-1] + 1))
        return _with(poses, persons.fill_gaps(poses, fps=poses.fps or persons.FPS))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}), expected a pose file") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    except RejectedClip as reason:
        raise UserError(f"{path}: {reason}") from None


def _with(poses: FilePoses, changed: Poses) -> FilePoses:
    """``poses`` with the arrays of ``changed``; all else that the file states stays."""
    return dataclasses.replace(poses, xyz=changed.xyz, confidence=changed.confidence, xy=changed.xy)


def pose_rate(given: FilePoses | None, fps: float) -> float | None:
    """Poses per second of a pose file, if this rate differs from the frame rate.

    Args:
        given: The file's content; ``None`` without a file.
        fps: Frames per second.

    Returns:
        ``None`` if the file states no rate, or the frame rate: then a pose belongs to the frame of the same number,
        whatever the frame's time stamp.
    """
    if given is None or not given.fps or abs(given.fps - fps) <= _RATES_DIFFER * fps:
        return None
    return given.fps


def warn_of_lengths(
    path: str | os.PathLike, given: FilePoses, video: VideoFrames, pose_fps: float | None = None
) -> None:
    """Warns if the durations of poses and video differ by so much that a converter would reject them.

    Args:
        path: Path of the pose file.
        given: The file's content.
        video: The video.
        pose_fps: Poses per second; default: the rate that the file states, or one pose for each frame.
    """
    from tfrecords.converting.video import lengths_agree

    count, fps = video.count, video.known_fps
    rate = pose_fps or given.fps or fps
    if count and fps and not lengths_agree(count, len(given) * fps / rate):
        messages.warn(
            f"{path}: poses of {len(given) / rate:.2f} s for a video of {count / fps:.2f} s: check that both "
            "are of the same recording, and the rate of the poses"
        )


def read_records(path: str | os.PathLike, clip_ids: Sequence[str]) -> list[schema.Clip]:
    """Clips of a converted dataset.

    Args:
        path: The dataset's folder or address, or one of its shards.
        clip_ids: Ids of the clips.

    Returns:
        The :class:`tfrecords.schema.Clip` of each id, in their order.

    Raises:
        UserError: No such dataset, shard or clip, or a damaged shard.
    """
    import tensorflow as tf

    wanted = {clip_id.encode() for clip_id in clip_ids}
    found: dict[str, schema.Clip] = {}
    for shard in _shards(storage.location(path)):
        try:
            for record in tf.data.TFRecordDataset(os.fspath(shard)).as_numpy_iterator():
                if any(clip_id in record for clip_id in wanted):  # cheap; most records need not be decoded
                    clip = schema.decode(record)
                    found.setdefault(clip.info.id, clip)
        except (tf.errors.DataLossError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{shard}: no readable shard of a converted dataset ({reason})") from error
        if found.keys() >= set(clip_ids):
            break
    missing = [clip_id for clip_id in clip_ids if clip_id not in found]
    if missing:
        raise UserError(f"{path} has no clip {missing[0]}: `python -m tfrecords.inspect` shows what it holds")
    return [found[clip_id] for clip_id in clip_ids]


def _shards(path: Any) -> list[Any]:
    from tfrecords import manifest

    if path.is_dir():
        return [path / shard["file"] for shard in manifest.shards(manifest.load(path))]
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder, expected a converted dataset or one of its shards")
    return [path]


def add_arguments(group: Any) -> None:
    """Adds ``--video``, ``--pose``, ``--record`` and ``--clip``."""
    group.add_argument("--video", metavar="FILE", help="video file")
    group.add_argument(
        "--pose",
        metavar="FILE",
        help="poses in metres, and perhaps in pixels: .npy, .npz, .json, .csv or NTU's .skeleton",
    )
    group.add_argument("--record", metavar="PATH", help="converted dataset, or a shard of it, instead of files")
    group.add_argument("--clip", metavar="ID", help="id of the clip in --record")
