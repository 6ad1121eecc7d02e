"""Clips from files: videos, poses and records, whole."""

import os

import numpy as np

from tfrecords import schema, storage
from zoo.shared.errors import UserError


def encode_jpeg(picture):
    """JPEG file of an RGB picture, of the quality that records have.

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


def decode_jpeg(jpeg):
    """RGB picture ``[H, W, 3]`` uint8 of a JPEG file's bytes; ``UserError`` if it is none or not the whole of one."""
    from tfrecords.converting import crops

    try:
        return crops.decode_jpeg(jpeg)
    except ValueError as error:
        raise UserError(f"a frame cannot be decoded: {error}") from None


def read_video(path):
    """All frames of a video file, upright (a telephone's rotation mark is obeyed).

    A long video is better read frame by frame: :class:`serving.client.streams.VideoFrames`.

    Args:
        path: Any file FFmpeg's libraries read.

    Returns:
        ``[T, H, W, 3]`` uint8, RGB.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    from serving.client.streams import VideoFrames

    return np.stack(list(VideoFrames(path)))


def read_seen(path, inputs):
    """The frames of a video file that a model looks at, for the signature ``serving_default``.

    They answer as those of :func:`read_video` do, in a part of the time: decoding uses all cores and ends with the last
    frame that the model looks at, and only such frames are converted to RGB, their centred square alone. The others
    between them are black.

    Args:
        path: Any file FFmpeg's libraries read.
        inputs: What the model is fed of pictures, a :class:`tfrecords.reading.pipeline.Inputs`.

    Returns:
        ``[T, side, side, 3]`` uint8, RGB; all frames, whole, of a file that does not say how many they are.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    from serving.client.streams import VideoFrames
    from serving.savedmodel import signatures

    video = VideoFrames(path, threads=True)
    count = video.count
    if not count:
        return np.stack(list(video))
    indices = signatures.frame_indices(count, inputs).numpy()
    first, length = 0, count
    if inputs.has_window and inputs.frames * inputs.stride <= count:
        first, length = indices[0], inputs.frames * inputs.stride  # a window of its own, with the same frames
    wanted, last = set(indices.tolist()), indices.max()
    side = min(video.height, video.width)
    rows, columns = (slice((size - side) // 2, (size - side) // 2 + side) for size in (video.height, video.width))
    seen = np.zeros((length, side, side, 3), np.uint8)
    for number, frame in enumerate(video.frames()):
        if number in wanted:
            seen[number - first] = frame[rows, columns]
        if number == last:
            return seen
    return read_video(path)  # it holds fewer than it says


def read_poses(path):
    """3D poses from a file.

    Args:
        path: A file of one of the forms that :mod:`tfrecords.converting.pose_files` reads.

    Returns:
        ``[T, M, J, 3]`` float32.

    Raises:
        UserError: No such file, another format, or numbers that are not finite.
    """
    from tfrecords.converting import pose_files

    try:
        poses = pose_files.read(path).xyz
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}), expected a pose file") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    if poses is None:
        raise UserError(f"{path}: holds pixels alone, expected joints in metres (xyz)")
    if not np.isfinite(poses).all():
        raise UserError(f"{path}: holds NaN or infinity, expected metres; an absent person is all zeros")
    return poses


def read_records(path, clip_ids):
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
    found = {}
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


def _shards(path):
    from tfrecords import manifest

    if path.is_dir():
        return [path / shard["file"] for shard in manifest.shards(manifest.load(path))]
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder, expected a converted dataset or one of its shards")
    return [path]
