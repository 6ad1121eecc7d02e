"""Which frames of a recording a model sees."""

import tensorflow as tf

from tfrecords import poses


def sample_frames(num_frames, frames, stride, start, shift=0):
    """Indices of a clip's frames (PhD20 section 4.6.1): every ``stride``-th from ``start``; a short clip loops.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        frames: Frames T wanted.
        stride: Distance of two frames.
        start: First frame.
        shift: How many frames later each is taken, ``[T]`` or one for all; from 0 to ``stride - 1`` it keeps the order.

    Returns:
        ``[T]`` int32.

    Example:
        >>> sample_frames(5, 4, 2, 0).numpy().tolist()
        [0, 2, 4, 1]
    """
    return tf.math.floormod(start + stride * tf.range(frames) + shift, tf.maximum(tf.cast(num_frames, tf.int32), 1))


def window_count(num_frames, frames, stride, clips):
    """How many evaluation windows a recording gets: ``clips``, or as many as cover it for ``"all"``."""
    if clips != "all":
        return tf.constant(clips, tf.int32)
    span = frames * stride
    return tf.maximum((tf.cast(num_frames, tf.int32) + span - 1) // span, 1)


def window_starts(num_frames, frames, stride, clips):
    """First frames of the evaluation windows: evenly spread from the first window that fits to the last.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        frames: Frames T of a window.
        stride: Distance of two frames.
        clips: Number of windows, or ``"all"`` for as many as cover the recording.

    Returns:
        ``[windows]`` int32; one window is centred.

    Example:
        >>> window_starts(100, 16, 2, "all").numpy().tolist()
        [0, 22, 45, 68]
        >>> window_starts(100, 16, 2, 1).numpy().tolist()
        [34]
    """
    count = window_count(num_frames, frames, stride, clips)
    room = tf.maximum(tf.cast(num_frames, tf.int32) - frames * stride, 0)
    return tf.cond(
        count > 1,
        lambda: tf.range(count) * room // tf.maximum(count - 1, 1),
        lambda: tf.fill([1], room // 2),
    )


def step_frames(num_frames, steps, offset, part=(0.0, 1.0)):
    """Frames of a pose sequence: the clip is cut into equal sub-sequences, and each gives the frame at ``offset``.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        steps: Sub-sequences tp.
        offset: Place within each sub-sequence, in [0, 1); a scalar or ``[steps]``.
        part: What of the clip is cut: where it begins and how long it is, shares of the clip.

    Returns:
        ``[steps]`` int32.

    Example:
        >>> step_frames(20, 5, 0.5, part=(0.5, 0.5)).numpy().tolist()
        [11, 13, 15, 17, 19]
    """
    count = tf.cast(num_frames, tf.float32)
    return tf.cast(tf.minimum(_positions(steps, offset, part) * count, tf.maximum(count - 1, 0)), tf.int32)


def _positions(steps, offset, part):
    """Places of the steps in the clip, ``[steps]`` in [0, 1)."""
    start, share = part
    return start + share * (tf.cast(tf.range(steps), tf.float32) + offset) / steps


def middle_steps(num_frames, steps):
    """Frames of an evaluated pose sequence: the middle of each of ``steps`` equal sub-sequences.

    Example:
        >>> middle_steps(10, 5).numpy().tolist()
        [1, 3, 5, 7, 9]
    """
    return step_frames(num_frames, steps, 0.5)


def random_part(smallest, seed):
    """A part of a clip, drawn: ``(start, share)``, the share from ``smallest`` to 1.

    Args:
        smallest: Smallest share.
        seed: ``[2]`` int64.
    """
    share, place = tf.unstack(tf.random.stateless_uniform([2], seed))
    share = smallest + (1.0 - smallest) * share
    return place * (1.0 - share), share


def interpolated_steps(xyz, steps, offset, part=(0.0, 1.0)):
    """A pose sequence between the frames: as :func:`step_frames`, but with linear interpolation in time.

    A frame shows the middle of its time; before the first and after the last middle the pose stays. Where a person is
    absent from one of two frames, the nearer one is taken.

    Args:
        xyz: ``[frames in the recording, M, J, 3]``; an absent person is all zeros.
        steps: Sub-sequences tp.
        offset: Place within each sub-sequence, in [0, 1); a scalar or ``[steps]``.
        part: As for :func:`step_frames`.

    Returns:
        ``[steps, M, J, 3]``.

    Example:
        >>> line = tf.reshape(tf.range(1.0, 4.0), (3, 1, 1, 1))
        >>> interpolated_steps(line, 6, 0.5).numpy().ravel().tolist()
        [1.0, 1.25, 1.75, 2.25, 2.75, 3.0]
    """
    last = tf.shape(xyz)[0] - 1
    place = _positions(steps, offset, part) * tf.cast(last + 1, tf.float32) - 0.5
    place = tf.clip_by_value(place, 0.0, tf.cast(last, tf.float32))
    before = tf.cast(place, tf.int32)
    weight = (place - tf.cast(before, tf.float32))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    first, second = tf.gather(xyz, before), tf.gather(xyz, tf.minimum(before + 1, last))
    both = tf.logical_and(poses.present(first), poses.present(second))[..., tf.newaxis, tf.newaxis]
    return tf.where(both, (1.0 - weight) * first + weight * second, tf.where(weight < 0.5, first, second))
