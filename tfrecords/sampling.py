"""Which frames of a recording a model sees."""

import tensorflow as tf


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


def step_frames(num_frames, steps, offset):
    """Frames of a pose sequence: the clip is cut into equal sub-sequences, and each gives the frame at ``offset``.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        steps: Sub-sequences tp.
        offset: Place within each sub-sequence, in [0, 1); a scalar or ``[steps]``.

    Returns:
        ``[steps]`` int32.
    """
    position = (tf.cast(tf.range(steps), tf.float32) + offset) / steps
    count = tf.cast(num_frames, tf.float32)
    return tf.cast(tf.minimum(position * count, tf.maximum(count - 1, 0)), tf.int32)


def middle_steps(num_frames, steps):
    """Frames of an evaluated pose sequence: the middle of each of ``steps`` equal sub-sequences.

    Example:
        >>> middle_steps(10, 5).numpy().tolist()
        [1, 3, 5, 7, 9]
    """
    return step_frames(num_frames, steps, 0.5)
