"""Random changes of training clips.

Each change is the same for all frames and all body parts of a clip, and a function of the given seed.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from tfrecords.reading import poses
from zoo import skeletons

_RANGES = {
    "rotation": (0, 180),
    "tilt": (0, 180),
    "full_depth": (0, 1),
    "scale": (0, 1),
    "stretch": (0, 1),
    "noise": (0, math.inf),
    "joint_offset": (0, math.inf),
    "lost_joints": (0, 1),
    "lost_poses": (0, 1),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "saturation": (0, 1),
    "hue": (0, 0.5),
    "pose_pad": (0, 10),
    "pose_missing": (0, 1),
    "time_warp": (1, 100),
}
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
# Columns: luma Y and the two chroma values I and Q of red, green and blue, as NTSC defines them.
_YIQ = ((0.299, 0.596, 0.211), (0.587, -0.274, -0.523), (0.114, -0.322, 0.312))


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training clips; each is the same for all frames of a clip.

    Attributes:
        window: Draw where a video's window starts and, for a clip shorter than the window, which frames are taken. If
            false, training takes the same window as evaluation with one window; likewise for ``crop``.
        crop: Crop videos at random, sides from :data:`tfrecords.reading.pictures.SMALLEST_CROP` to all of the picture.
        flip: Mirror every second clip: pictures, left and right joints, and the two hands' pictures.
        swap_persons: Exchange the order of the persons in every second clip, for datasets of several persons in which
            the order states neither side nor role.
        rotation: Largest rotation of poses about the vertical axis, degrees.
        scale: Largest relative change of the poses' size.
        stretch: Largest relative change of the poses' size along each axis, drawn for every axis.
        noise: Standard deviation of noise on every coordinate, in units of normalised poses.
        joint_offset: Standard deviation of an offset of each joint that stays the same over the clip, in units of
            normalised poses: no two sensors or estimators put a joint at the same point of the body.
        lost_joints: Probability that a joint is lost in a part of the clip, up to half of it. It is put on the line
            between the nearest steps in which it is known, as conversion does.
        lost_poses: Probability that all persons are lost in a part of the clip, up to half of it: zeros, as in a
            recording where an estimator finds nobody for a while.
        tilt: Largest rotation of poses about each of the two horizontal axes, degrees.
        full_depth: Fraction of the clips that are rotated and tilted at their full depth, as a camera elsewhere would
            see them. The other clips are rotated after scaling their depth by ``normalisation.depth``, which brings
            less of the error of the estimated depth into the two other axes.
        brightness: Largest relative change of all pixel values.
        contrast: Largest relative change of pixel values' distance from the clip's mean.
        saturation: Largest relative change of colours' distance from grey.
        hue: Largest rotation of the colour wheel: 0.5 is half a turn, to the complementary colour.
        temporal_jitter: Draw each frame of a window from the ``stride`` frames it represents, in order. Pose steps, and
            frames at pose steps, are always drawn like this.
        pose_crop: Smallest fraction of the clip that the steps of a pose sequence are taken from; fraction and start
            are drawn. 1: always the whole clip.
        pose_pad: Largest padding in time, as a fraction of the clip's length: before and after the clip, the first and
            the last pose stay. Some recordings are cut closer to the action than others.
        time_warp: Largest factor by which each quarter of the pose steps is made faster or slower. 1: no change.
        pose_missing: Fraction of the clips that lose their poses, for models of video and poses: all zeros, as a clip
            in which nobody's pose is known. The model then learns to classify by the video alone. It has no effect on
            models of poses alone.

    Raises:
        ValueError: A number is negative, not finite, or too large or small.

    Example:
        >>> Augmentation(flip=True, rotation=30, brightness=0.2).hue
        0.0
    """

    window: bool = True
    crop: bool = True
    flip: bool = False
    swap_persons: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    noise: float = 0.0
    joint_offset: float = 0.0
    lost_joints: float = 0.0
    lost_poses: float = 0.0
    tilt: float = 0.0
    full_depth: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    temporal_jitter: bool = False
    pose_crop: float = 1.0
    pose_pad: float = 0.0
    time_warp: float = 1.0
    pose_missing: float = 0.0

    def __post_init__(self) -> None:
        for name, (smallest, largest) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and smallest <= value <= largest):
                upper = "" if largest == math.inf else f" to {largest:g}"
                raise ValueError(f"{name} is {value:g}, expected a number from {smallest}{upper}")
        if not 0 < self.pose_crop <= 1:
            raise ValueError(f"pose_crop is {self.pose_crop:g}, expected a number above 0, to 1")

    @property
    def changes_colours(self) -> bool:
        """Whether pictures' colours are changed."""
        return bool(self.brightness or self.contrast or self.saturation or self.hue)


# --------------------------------------------------------------------------------------------------------- poses


def _rotate(pose, axis, angle):
    """Rotates ``[..., 3]`` about an axis (0 X, 1 Y, 2 Z) by an angle in radians."""
    values = tf.unstack(pose, axis=-1)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = tf.cos(angle), tf.sin(angle)
    values[first], values[second] = (
        cos * values[first] - sin * values[second],
        sin * values[first] + cos * values[second],
    )
    return tf.stack(values, axis=-1)


def _lose_joints(pose, there, rate, seed):
    """Puts joints of ``[tp, M, J, 3]`` on lines between the ends of random spans in which they are lost.

    ``there``: ``[tp, M]``; a joint is not lost where the person is absent at an end of the span.
    """
    steps, persons, joints = tf.unstack(tf.shape(pose)[:3])
    random = tf.random.stateless_uniform([3, persons, joints, 1], seed)
    start = tf.cast(random[1] * tf.cast(steps, tf.float32), tf.int32)  # [M, J, 1]
    end = start + 1 + tf.cast(random[2] * tf.cast(steps // 2, tf.float32), tf.int32)
    before, after = tf.where(start > 0, start - 1, end), tf.where(end < steps, end, start - 1)
    before, after = (tf.clip_by_value(step, 0, steps - 1) for step in (before, after))
    step = tf.range(steps)  # [tp]
    passed = tf.cast(step - before, tf.float32) / tf.cast(tf.maximum(after - before, 1), tf.float32)  # [M, J, tp]
    passed = tf.clip_by_value(passed, 0.0, 1.0)[..., tf.newaxis]
    tracks = tf.transpose(pose, [1, 2, 0, 3])  # [M, J, tp, 3]
    first, last = (tf.gather(tracks, step, axis=2, batch_dims=2) for step in (before, after))  # [M, J, 1, 3]
    line = tf.transpose(first + passed * (last - first), [2, 0, 1, 3])
    known = tf.repeat(tf.transpose(there)[:, tf.newaxis], joints, axis=1)  # [M, J, tp]
    known = tf.gather(known, before, axis=2, batch_dims=2) & tf.gather(known, after, axis=2, batch_dims=2)
    lost = (random[0] < rate) & known & (step >= start) & (step < end)  # [M, J, tp]
    return tf.where(tf.transpose(lost, [2, 0, 1])[..., tf.newaxis], line, pose)


def _lose_poses(pose, rate, seed):
    """Zeros in a random span of the steps of ``[tp, M, J, 3]``; never in all steps that show a person."""
    steps = tf.shape(pose)[0]
    random = tf.random.stateless_uniform([3], seed)
    start = tf.cast(random[1] * tf.cast(steps, tf.float32), tf.int32)
    end = start + 1 + tf.cast(random[2] * tf.cast(steps // 2, tf.float32), tf.int32)
    kept = (tf.range(steps) < start) | (tf.range(steps) >= end)
    left = tf.where(kept[:, tf.newaxis, tf.newaxis, tf.newaxis], pose, tf.zeros_like(pose))
    return tf.cond((random[0] < rate) & tf.reduce_any(tf.not_equal(left, 0.0)), lambda: left, lambda: pose)


def change_pose(pose: tf.Tensor, augment: Augmentation, seed: tf.Tensor, depth: float = 1.0) -> tf.Tensor:
    """Random rotation, scale, stretch and noise of a normalised pose sequence; lost poses, lost or displaced joints.

    Args:
        pose: ``[tp, M, J, 3]`` float32.
        augment: An :class:`Augmentation`.
        seed: ``[2]`` int64.
        depth: Factor by which the poses' Z was scaled.

    Returns:
        The same shape; absent persons stay zero.
    """
    there = poses.present(pose)[..., tf.newaxis, tf.newaxis]  # [tp, M, 1, 1]
    random = tf.random.stateless_uniform([2], seed, -1.0, 1.0)
    full = None
    if augment.full_depth and 0 < depth < 1:
        is_full = tf.random.stateless_uniform([], seed + 7) < augment.full_depth
        full = tf.stack([1.0, 1.0, tf.where(is_full, depth, 1.0)])  # divisor of the coordinates during the rotation
        pose = pose / full
    if augment.rotation:
        pose = _rotate(pose, 1, random[0] * math.radians(augment.rotation))
    if augment.tilt:
        angles = tf.random.stateless_uniform([2], seed + 2, -1.0, 1.0) * math.radians(augment.tilt)
        pose = _rotate(_rotate(pose, 0, angles[0]), 2, angles[1])
    if full is not None:
        pose = pose * full
    if augment.scale:
        pose = pose * (1.0 + augment.scale * random[1])
    if augment.stretch:
        pose = pose * (1.0 + augment.stretch * tf.random.stateless_uniform([3], seed + 3, -1.0, 1.0))
    if augment.lost_joints:
        pose = _lose_joints(pose, there[..., 0, 0], augment.lost_joints, seed + 4)
    if augment.joint_offset:
        pose = pose + augment.joint_offset * tf.random.stateless_normal(tf.shape(pose)[1:], seed + 5)
    if augment.noise:
        pose = pose + augment.noise * tf.random.stateless_normal(tf.shape(pose), seed + 1)
    pose = tf.where(there, pose, tf.zeros_like(pose))
    return _lose_poses(pose, augment.lost_poses, seed + 6) if augment.lost_poses else pose


def mirror_pixels(xy: tf.Tensor, layout: str, size: int) -> tf.Tensor:
    """Joints' pixel coordinates ``[..., J, 2]`` in the mirrored pictures; left and right joints are exchanged."""
    x, y = tf.unstack(tf.gather(xy, skeletons.get(layout).mirrored, axis=-2), axis=-1)
    return tf.stack([size - 1 - x, y], axis=-1)


def mirror_pose(pose: tf.Tensor, layout: str) -> tf.Tensor:
    """The poses a mirror would show: left and right joints are exchanged, X changes its sign. ``[..., J, 3]``."""
    return tf.gather(pose, skeletons.get(layout).mirrored, axis=-2) * tf.constant([-1.0, 1.0, 1.0])


# ------------------------------------------------------------------------------------------------------ pictures


def change_colours(images: tf.Tensor, augment: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Random brightness, contrast, saturation and hue of a clip.

    All four are linear in a pixel's values, so together they are one matrix product and one sum: brightness multiplies
    the values (black is 0), contrast their distance from the clip's mean, saturation their distance from grey; hue
    turns the chroma plane of YIQ.

    Args:
        images: ``[T, H, W, 3]`` float32 in [-1, 1].
        augment: An :class:`Augmentation`.
        seed: ``[2]`` int64; the same for all body parts of a clip, which then change alike.

    Returns:
        The same shape, in [-1, 1].
    """
    largest = tf.constant([augment.brightness, augment.contrast, augment.saturation, augment.hue])
    change = largest * tf.random.stateless_uniform([4], seed, -1.0, 1.0)
    brightness, contrast, saturation = tf.unstack(1.0 + change[:3])
    colours = brightness * _saturation(saturation) @ _hue(2 * math.pi * change[3])  # [3, 3], of row vectors
    pixels = (tf.reshape(images, [-1, 3]) + 1.0) / 2.0  # [T * H * W, 3] in [0, 1]
    mean = tf.reduce_mean(pixels, axis=0, keepdims=True) @ colours  # of the changed colours, as they are linear
    pixels = pixels @ (contrast * colours) + (1.0 - contrast) * mean
    return tf.reshape(tf.clip_by_value(2.0 * pixels - 1.0, -1.0, 1.0), tf.shape(images))


def _saturation(factor):
    """``[3, 3]``: multiplies the distance from grey of row vectors."""
    grey = tf.tile(tf.constant(_GREY)[:, tf.newaxis], [1, 3])
    return factor * tf.eye(3) + (1.0 - factor) * grey


def _hue(angle):
    """``[3, 3]``: rotates the colours of row vectors about the axis of grey."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    turn = tf.stack([[1.0, 0.0, 0.0], tf.stack([0.0, cos, sin]), tf.stack([0.0, -sin, cos])])
    yiq = tf.constant(_YIQ)
    return yiq @ turn @ tf.linalg.inv(yiq)
