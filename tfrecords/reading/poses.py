"""Pose normalisation in a TensorFlow graph: the one implementation for training, evaluation and serving.

PhD20 section 3.3.1: the origin moves to the hip centre, the X axis runs along right hip -> left hip, the Y axis along
spine base -> spine, and the length spine base -> spine becomes 1. Which frame defines the coordinate system, and
whether axes and scale change at all, are options; the original papers only translated poses.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zoo import skeletons
from zoo.shared import messages

if TYPE_CHECKING:  # TensorFlow takes seconds to import, and not every user of this module computes
    import tensorflow as tf

REFERENCES = ("clip", "mean", "frame")
AXES = ("camera", "vertical", "body")
ORIGINS = ("hip_centre", "root", "spine", "persons")


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """How poses in metres become the input of a model.

    Attributes:
        origin: Point that becomes the origin: ``hip_centre``, ``root`` (the layout's) or ``spine`` (BMVC18), of the
            first person present. ``persons``: the middle between the hip centres of all persons present; the unit is
            then their spines' mean length. The order of the persons must have no effect, so axes are the camera's.
        reference: ``clip``: origin, axes and scale come from the first frame with a person and hold for the whole
            clip, so that the way a person walks is kept. ``mean``: likewise, but they come from the means over all
            frames with a person, because a single frame, especially the first, may be badly measured. ``frame``:
            every frame has its own.
        axes: ``camera``: not rotated. ``vertical``: rotated about the sensor's vertical axis until the hips' line
            lies in the X-Y plane, so that falling still looks different from standing. ``body``: X along
            right hip -> left hip and Y along the spine (PhD20).
        scale: Divide by the length spine base -> spine.
        depth: Factor of Z: 1 for a sensor's poses. Estimates from pictures are much less sure of the direction towards
            the camera than of the two others; with ``camera`` axes a factor below 1 reduces its weight.

    Raises:
        ValueError: A name is unknown, or ``depth`` is not from 0 to 1.
    """

    origin: str = "hip_centre"
    reference: str = "clip"
    axes: str = "body"
    scale: bool = True
    depth: float = 1.0

    def __post_init__(self) -> None:
        for field, valid in (("origin", ORIGINS), ("reference", REFERENCES), ("axes", AXES)):
            value = getattr(self, field)
            if value not in valid:
                raise ValueError(f"pose {field} {value!r} is unknown{messages.nearest(value, valid)}")
        if not 0 <= self.depth <= 1:
            raise ValueError(f"pose depth is {self.depth:g}, expected a number from 0 to 1")
        if self.origin == "persons" and self.axes != "camera":
            raise ValueError(f"pose axes {self.axes!r} are one person's: with origin persons expected 'camera'")


def present(xyz: tf.Tensor) -> tf.Tensor:
    """Which persons are present: ``[..., M]`` bool from poses ``[..., M, J, 3]`` (an absent person is all zeros)."""
    import tensorflow as tf

    return tf.reduce_any(tf.not_equal(xyz, 0.0), axis=[-2, -1])


def map_joints(values: tf.Tensor, source: str, target: str) -> tf.Tensor:
    """:func:`zoo.skeletons.map_joints` in a TensorFlow graph.

    Args:
        values: ``[..., J, D]``; a joint of zeros was not measured, and all joints computed from it are zeros too. A
            joint that is not finite spoils only the joints computed from it.
        source: Name of the layout of ``values``.
        target: Name of the layout wanted.

    Returns:
        ``[..., J', D]``.

    Raises:
        ValueError: There is no map between the two.

    Example:
        >>> import tensorflow as tf
        >>> map_joints(tf.ones((8, 1, 33, 3)), "blazepose_33", "coco_17").shape
        TensorShape([8, 1, 17, 3])
    """
    import tensorflow as tf

    if source == target:
        return values
    weights = skeletons.map_weights(source, target)  # [J', J]
    count = np.count_nonzero(weights, axis=1).max()
    joints = np.argsort(weights == 0, axis=1, kind="stable")[:, :count]  # [J', K]: first those that are used
    used = np.take_along_axis(weights, joints, axis=1)[..., np.newaxis]  # [J', K, 1]
    parts = tf.gather(values, joints, axis=-2)  # [..., J', K, D]
    lost = tf.reduce_all(tf.equal(parts, 0.0), axis=-1, keepdims=True) & (used != 0)
    sums = tf.reduce_sum(tf.where(used == 0, tf.zeros_like(parts), parts * used), axis=-2)  # [..., J', D]
    return tf.where(tf.reduce_any(lost, axis=-2), tf.zeros_like(sums), sums)


def fill_lost_joints(xyz: tf.Tensor) -> tf.Tensor:
    """Interpolates zero joints of persons who are present linearly between the nearest frames where they are not zero.

    The part of :func:`tfrecords.converting.persons.fill_gaps` that needs no frame rate, for requests in which a joint
    that was not measured comes as zero. A person who is absent from a frame stays absent, and a joint that is zero in
    all frames stays zero.

    Args:
        xyz: ``[T, M, J, 3]`` float32, metres.

    Returns:
        The same shape and type; before the first and after the last measurement of a joint, the nearest is used.

    Example:
        >>> import numpy as np
        >>> xyz = np.ones((3, 1, 2, 3), np.float32)
        >>> xyz[:, 0, 0, 0] = 1, 0, 3
        >>> xyz[1, 0, 0, 1:] = 0  # joint 0 is lost in frame 1
        >>> fill_lost_joints(xyz)[1, 0, 0].numpy()
        array([2., 1., 1.], dtype=float32)
    """
    import tensorflow as tf

    xyz = tf.convert_to_tensor(xyz, tf.float32)
    frames = tf.shape(xyz)[0]
    known = tf.reduce_any(tf.not_equal(xyz, 0.0), axis=-1)  # [T, M, J]
    measured = tf.cast(tf.transpose(known, [1, 2, 0]), tf.int32)  # [M, J, T]
    count = tf.reduce_sum(measured, axis=-1, keepdims=True)  # [M, J, 1]
    # The frames in which a joint was measured, in order, before those in which it was not.
    order = tf.argsort(1 - measured, axis=-1, stable=True)  # [M, J, T]
    until = tf.cumsum(measured, axis=-1)  # [M, J, T]: measurements up to each frame
    before = tf.gather(order, tf.maximum(until - 1, 0), batch_dims=2)  # [M, J, T]: frame of the last one up to here
    after = tf.gather(order, tf.minimum(until, tf.maximum(count - 1, 0)), batch_dims=2)  # ... and of the next one
    here = tf.broadcast_to(tf.range(frames), tf.shape(before))
    passed = tf.cast(here - before, tf.float64) / tf.cast(tf.maximum(after - before, 1), tf.float64)
    passed = tf.clip_by_value(passed, 0.0, 1.0)[..., tf.newaxis]  # [M, J, T, 1]
    tracks = tf.cast(tf.transpose(xyz, [1, 2, 0, 3]), tf.float64)  # [M, J, T, 3]
    start, end = (tf.gather(tracks, index, axis=2, batch_dims=2) for index in (before, after))
    line = tf.transpose(tf.cast(start + passed * (end - start), tf.float32), [2, 0, 1, 3])
    lost = present(xyz)[..., tf.newaxis] & ~known & tf.transpose(count > 0, [2, 0, 1])  # [T, M, J]
    return tf.where(lost[..., tf.newaxis], line, xyz)


def normalise(xyz: tf.Tensor, layout: str, normalisation: Normalisation | None = None) -> tf.Tensor:
    """Normalises the poses of one clip.

    Args:
        xyz: ``[T, M, J, 3]`` float32, metres; an absent person is all zeros, and stays so.
        layout: Name of the skeleton layout.
        normalisation: A :class:`Normalisation`; default: PhD20's.

    Returns:
        ``[T, M, J, 3]`` float32. All persons of a frame have one coordinate system, so the distance between them is
        kept.

    Example:
        >>> import numpy as np
        >>> poses = np.random.default_rng(0).normal(size=(8, 1, 20, 3)).astype("float32")
        >>> normalise(poses, "kinect_v1_20").shape
        TensorShape([8, 1, 20, 3])
    """
    import tensorflow as tf

    normalisation = normalisation or Normalisation()
    skeleton = skeletons.get(layout)
    xyz = tf.convert_to_tensor(xyz, tf.float32)
    there = present(xyz)  # [T, M]
    bodies, counted = _reference_bodies(xyz, there, normalisation)  # [T or 1, N, J, 3], [T or 1, N]

    def mean(values):
        """Mean over the bodies, and over the frames where the whole clip is the reference."""
        axes = [0, 1] if normalisation.reference == "mean" else [1]
        weights = tf.cast(counted, tf.float32)[..., tf.newaxis]
        total, count = (tf.reduce_sum(each, axes) for each in (values * weights, weights))
        return tf.reshape(tf.math.divide_no_nan(total, count), [-1, values.shape[-1]])  # [T or 1, 3]

    def point(joints):
        return tf.reduce_mean(tf.gather(bodies, joints, axis=2), axis=2)  # [T or 1, N, 3]

    spine_base, spine, hip_centre = (point(at) for at in (skeleton.spine_base, skeleton.spine, skeleton.hip_centre))
    origins = {"root": point((skeleton.root,)), "spine": spine}
    out = xyz - mean(origins.get(normalisation.origin, hip_centre))[:, tf.newaxis, tf.newaxis]
    if normalisation.axes != "camera":
        across = mean(point((skeleton.left_hip,)) - point((skeleton.right_hip,)))
        up = mean(spine - spine_base) if normalisation.axes == "body" else tf.constant([[0.0, 1.0, 0.0]])
        rotation = _axes(across, up, keep_up=normalisation.axes == "vertical")  # [T or 1, 3, 3], rows X, Y, Z
        rotation = tf.broadcast_to(rotation, [tf.shape(out)[0], 3, 3])
        flat = tf.reshape(out, [tf.shape(out)[0], -1, 3])  # [T, M * J, 3]
        out = tf.reshape(tf.matmul(flat, rotation, transpose_b=True), tf.shape(out))
    if normalisation.scale:
        length = mean(tf.norm(spine - spine_base, axis=-1, keepdims=True))  # [T or 1, 1]
        out = tf.math.divide_no_nan(out, length[:, :, tf.newaxis, tf.newaxis])
    if normalisation.depth != 1:
        out = out * tf.constant([1.0, 1.0, normalisation.depth])
    return tf.where(there[:, :, tf.newaxis, tf.newaxis], out, tf.zeros_like(out))


def _reference_bodies(xyz, there, normalisation):
    """Bodies ``[T or 1, N, J, 3]`` that define the coordinate systems, and which count, ``[T or 1, N]`` bool."""
    import tensorflow as tf

    bodies, counted = xyz, there
    if normalisation.origin != "persons":
        person = tf.argmax(tf.cast(there, tf.int32), axis=1)  # [T]: the first one present in each frame
        bodies = tf.gather(xyz, person, axis=1, batch_dims=1)[:, tf.newaxis]  # [T, 1, J, 3]
        counted = tf.reduce_any(there, axis=1, keepdims=True)
    if normalisation.reference != "clip":
        return bodies, counted
    first = tf.argmax(tf.cast(tf.reduce_any(there, axis=1), tf.int32))  # first frame with a person
    return bodies[first][tf.newaxis], counted[first][tf.newaxis]  # broadcast over the frames


def _axes(across, up, *, keep_up):
    """Orthonormal axes ``[T, 3, 3]`` (rows X, Y, Z) from the hips' line and an upward direction, each ``[T, 3]``.

    The two directions are seldom at right angles, so one is kept and the other made orthogonal to it.
    """
    import tensorflow as tf

    def unit(vector):
        return tf.math.divide_no_nan(vector, tf.norm(vector, axis=-1, keepdims=True))

    def without(vector, direction):
        return vector - tf.reduce_sum(vector * direction, axis=-1, keepdims=True) * direction

    if keep_up:
        y = tf.broadcast_to(unit(up), tf.shape(across))
        x = unit(without(across, y))
    else:
        x = unit(across)
        y = unit(without(up, x))
    return tf.stack([x, y, tf.linalg.cross(x, y)], axis=1)
