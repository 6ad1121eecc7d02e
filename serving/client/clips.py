"""Whole clips from files: videos, poses and records."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.client.streams import VideoFrames
from serving.savedmodel import signatures
from tfrecords import schema, storage
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.reading.pipeline import Inputs


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
    """The RGB picture ``[H, W, 3]`` uint8 of the JPEG file of a frame; ``UserError`` if it is not a complete one."""
    from tfrecords.converting import crops

    try:
        return crops.decode_jpeg(jpeg)
    except ValueError as error:
        raise UserError(f"frame {number} cannot be decoded: {error}") from None


def read_video(path: str | os.PathLike) -> np.ndarray:
    """All frames of a video file, upright (a telephone's rotation mark is obeyed).

    A long video is better read frame by frame: :class:`serving.client.streams.VideoFrames`.

    Args:
        path: Any file FFmpeg's libraries read.

    Returns:
        ``[T, H, W, 3]`` uint8, RGB.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    return np.stack(list(VideoFrames(path)))


@dataclasses.dataclass(frozen=True)
class Sampled:
    """The frames of a video file that a model samples.

    Attributes:
        frames: The clip for the signature ``serving_default``, ``[T, side, side, 3]`` uint8, RGB: the centred squares
            of the sampled frames; those between them are black.
        indices: Which of ``frames`` the model sees, in their order.
        first: Number of the video's frame that ``frames`` begin with, from 0.
        count: Frames of the whole video.
    """

    frames: np.ndarray
    indices: np.ndarray
    first: int
    count: int

    @property
    def seen(self) -> np.ndarray:
        """The sampled frames, ``[T, side, side, 3]``."""
        return self.frames[self.indices]

    @property
    def window(self) -> str:
        """Which part of the video the clip is, in words; nothing if it is all of it."""
        length = len(self.frames)
        return f"frames {self.first + 1} to {self.first + length} of {self.count}" if length < self.count else ""


def read_sampled(path: str | os.PathLike, inputs: Inputs) -> Sampled:
    """The frames of a video file that a model samples, for the signature ``serving_default``.

    The predictions are those for :func:`read_video`, in less time: decoding uses all cores and ends with the last
    sampled frame, and only the centred square of sampled frames is converted to RGB.

    Args:
        path: Any file FFmpeg's libraries read.
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.

    Returns:
        A :class:`Sampled`.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    video = VideoFrames(path, threads=True)
    count = video.count or _count(video)
    clip = _sampled(video, count, inputs)
    if clip is None:  # a container may claim more frames than are shown: they are counted, in time but not in memory
        clip = _sampled(video, _count(video), inputs)
    if clip is None:
        raise UserError(f"{path}: changes while it is read, expected a whole video file")
    return clip


def _count(video: VideoFrames) -> int:
    return sum(1 for _ in video.frames())


def _sampled(video: VideoFrames, count: int, inputs: Inputs) -> Sampled | None:
    """The clip of :func:`read_sampled` from a video of ``count`` frames; ``None`` if it has fewer."""
    indices = signatures.frame_indices(count, inputs).numpy()
    first, length = 0, count
    if inputs.has_window and inputs.frames * inputs.stride <= count:
        first, length = int(indices[0]), inputs.frames * inputs.stride  # a shorter clip with the same sampled frames
    wanted, last = set(indices.tolist()), indices.max()
    side = min(video.height, video.width)
    rows, columns = (slice((size - side) // 2, (size - side) // 2 + side) for size in (video.height, video.width))
    frames = np.zeros((length, side, side, 3), np.uint8)
    for number, frame in enumerate(video.frames()):
        if number in wanted:
            frames[number - first] = frame[rows, columns]
        if number == last:
            return Sampled(frames, indices - first, first, count)
    return None


def read_poses(path: str | os.PathLike) -> np.ndarray:
    """3D poses from a file; joints that were not measured are filled as converters fill them.

    Args:
        path: A file in a format that :mod:`tfrecords.converting.pose_files` reads.

    Returns:
        ``[T, M, J, 3]`` float32; all zeros where nobody is in it.

    Raises:
        UserError: No such file, an unknown format, or a joint that was measured in no frame.
    """
    from tfrecords.converting import persons, pose_files

    try:
        poses = pose_files.read(path)
        if poses.xyz is not None:
            return np.asarray(persons.fill_gaps(poses).xyz) if poses.confidence.any() else np.zeros_like(poses.xyz)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}), expected a pose file") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    except RejectedClip as reason:
        raise UserError(f"{path}: {reason}") from None
    raise UserError(f"{path}: holds pixel coordinates only, expected joints in metres (xyz)")


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
