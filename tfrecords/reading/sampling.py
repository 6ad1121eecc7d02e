"""Which frames of a recording a model sees."""

from __future__ import annotations

import math

import tensorflow as tf

from tfrecords.reading import poses

WARPED = 4  # parts of a span, each with its own speed
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of the golden ratio, modulo 1, are spread evenly for any number of them


def sample_frames(
    num_frames: tf.Tensor,
    frames: int,
    stride: int,
    start: tf.Tensor,
    shift: tf.Tensor | int = 0,
    spread: tf.Tensor | float | None = None,
) -> tf.Tensor:
    """Indices of a clip's frames (PhD20 section 4.6.1): every ``stride``-th from ``start``; a short clip loops.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        frames: Frames T of the window.
        stride: Distance between two frames.
        start: First frame.
        shift: How many frames later each is taken, ``[T]`` or one for all; from 0 to ``stride - 1`` it keeps the order.
        spread: Instead of looping, a clip shorter than the window is cut into T equal parts, and the frame at this
            position in each part, in [0, 1), is taken.

    Returns:
        ``[T]`` int32.

    Example:
        >>> sample_frames(5, 4, 2, 0).numpy().tolist()
        [0, 2, 4, 1]
        >>> sample_frames(5, 4, 2, 0, spread=0.5).numpy().tolist()
        [0, 1, 3, 4]
    """
    if spread is not None:
        whole = step_frames(num_frames, step_positions(frames, spread))
        in_window = sample_frames(num_frames, frames, stride, start, shift)
        return tf.where(num_frames < frames * stride, whole, in_window)
    return tf.math.floormod(start + stride * tf.range(frames) + shift, tf.maximum(tf.cast(num_frames, tf.int32), 1))


def window_count(num_frames: tf.Tensor, frames: int, stride: int, clips: int | str) -> tf.Tensor:
    """How many evaluation windows a recording gets: ``clips``, or as many as cover it for ``"all"``."""
    if clips != "all":
        return tf.constant(clips, tf.int32)
    span = frames * stride
    return tf.maximum((tf.cast(num_frames, tf.int32) + span - 1) // span, 1)


def window_starts(num_frames: tf.Tensor, frames: int, stride: int, clips: int | str) -> tf.Tensor:
    """First frames of the evaluation windows: evenly spread from the first window that fits to the last.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        frames: Frames T of a window.
        stride: Distance between two frames.
        clips: Number of windows, or ``"all"`` for as many as cover the recording.

    Returns:
        ``[windows]`` int32; one window is centred.

    Example:
        >>> window_starts(100, 16, 2, "all").numpy().tolist()
        [0, 22, 45, 68]
        >>> window_starts(100, 16, 2, 1).numpy().tolist()
        [34]
    """
    # The product of both exceeds int32 in hours of video.
    count = tf.cast(window_count(num_frames, frames, stride, clips), tf.int64)
    room = tf.maximum(tf.cast(num_frames, tf.int64) - frames * stride, 0)
    starts = tf.cond(
        count > 1, lambda: tf.range(count) * room // tf.maximum(count - 1, 1), lambda: tf.fill([1], room // 2)
    )
    return tf.cast(starts, tf.int32)


def step_positions(steps: int, offset: tf.Tensor | float) -> tf.Tensor:
    """Positions of the steps of a pose sequence: the clip is cut into equal sub-sequences, one position in each.

    Args:
        steps: Sub-sequences tp.
        offset: Position within each sub-sequence, in [0, 1); a scalar or ``[steps]``.

    Returns:
        ``[steps]`` float32 in [0, 1): 0 is the clip's start, 1 its end.

    Example:
        >>> step_positions(4, 0.5).numpy().tolist()
        [0.125, 0.375, 0.625, 0.875]
    """
    return (tf.cast(tf.range(steps), tf.float32) + offset) / steps


def step_frames(num_frames: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Frames of a pose sequence.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        positions: ``[steps]``: 0 is the clip's start, 1 its end; outside of it: its first and last frame.

    Returns:
        ``[steps]`` int32.

    Example:
        >>> step_frames(20, [-0.1, 0.5, 0.99, 1.2]).numpy().tolist()
        [0, 10, 19, 19]
    """
    count = tf.cast(num_frames, tf.float32)
    return tf.cast(tf.clip_by_value(positions * count, 0.0, tf.maximum(count - 1, 0.0)), tf.int32)


def middle_steps(num_frames: tf.Tensor, steps: int) -> tf.Tensor:
    """Frames of an evaluated pose sequence: the middle of each of ``steps`` equal sub-sequences.

    Example:
        >>> middle_steps(10, 5).numpy().tolist()
        [1, 3, 5, 7, 9]
    """
    return step_frames(num_frames, step_positions(steps, 0.5))


def random_span(smallest: float, largest: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws a span of time: a part of a clip, or all of it with time before and after.

    Args:
        smallest: Smallest length, a fraction of the clip; at most 1.
        largest: Largest length; at least 1.
        seed: ``[2]`` int64.

    Returns:
        ``(start, length)``, fractions of the clip. A shorter span lies within the clip, a longer one contains it.
    """
    length, start = tf.unstack(tf.random.stateless_uniform([2], seed))
    length = smallest + (largest - smallest) * length
    return start * (1.0 - length), length


def spread_span(number: tf.Tensor, count: tf.Tensor, smallest: float) -> tuple[tf.Tensor, tf.Tensor]:
    """One of the parts of a clip that an evaluation sees; their lengths and their starts are spread evenly.

    Args:
        number: Number of the part, from 0; an integer tensor.
        count: Number of parts.
        smallest: Smallest length, a fraction of the clip.

    Returns:
        ``(start, length)``, fractions of the clip.

    Example:
        >>> start, length = spread_span(1, 2, smallest=0.6)
        >>> round(float(length), 2), 0 <= float(start) <= 1 - float(length)
        (0.9, True)
    """
    middle = tf.cast(number, tf.float32) + 0.5
    length = smallest + (1.0 - smallest) * middle / tf.cast(count, tf.float32)
    return tf.math.floormod(middle * GOLDEN, 1.0) * (1.0 - length), length


def warp_time(positions: tf.Tensor, largest: float, seed: tf.Tensor) -> tf.Tensor:
    """Changes the speed of each of :data:`WARPED` equal parts by a factor of its own.

    Args:
        positions: ``[steps]`` in [0, 1].
        largest: Largest factor, at least 1; the smallest is its inverse, and the whole keeps its length.
        seed: ``[2]`` int64.

    Returns:
        ``[steps]`` in [0, 1], in the same order.
    """
    limit = math.log(largest)
    lengths = tf.exp(tf.random.stateless_uniform([WARPED], seed, -limit, limit))
    ends = tf.concat([[0.0], tf.cumsum(lengths) / tf.reduce_sum(lengths)], axis=0)  # [WARPED + 1]
    part = tf.minimum(tf.cast(positions * WARPED, tf.int32), WARPED - 1)
    within = positions * WARPED - tf.cast(part, tf.float32)
    return (1.0 - within) * tf.gather(ends, part) + within * tf.gather(ends, part + 1)


def interpolated_steps(xyz: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """A pose sequence as by :func:`step_frames`, but linearly interpolated between frames.

    A frame counts for the middle of its duration; before the first and after the last middle the pose stays. Where a
    person is absent from one of two frames, the nearer frame is taken.

    Args:
        xyz: ``[frames in the recording, M, J, 3]``; an absent person is all zeros.
        positions: As for :func:`step_frames`.

    Returns:
        ``[steps, M, J, 3]``.

    Example:
        >>> line = tf.reshape(tf.range(1.0, 4.0), (3, 1, 1, 1))
        >>> interpolated_steps(line, step_positions(6, 0.5)).numpy().ravel().tolist()
        [1.0, 1.25, 1.75, 2.25, 2.75, 3.0]
    """
    last = tf.shape(xyz)[0] - 1
    index = positions * tf.cast(last + 1, tf.float32) - 0.5
    index = tf.clip_by_value(index, 0.0, tf.cast(last, tf.float32))
    before = tf.cast(index, tf.int32)
    weight = (index - tf.cast(before, tf.float32))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    first, second = tf.gather(xyz, before), tf.gather(xyz, tf.minimum(before + 1, last))
    both = tf.logical_and(poses.present(first), poses.present(second))[..., tf.newaxis, tf.newaxis]
    return tf.where(both, (1.0 - weight) * first + weight * second, tf.where(weight < 0.5, first, second))
