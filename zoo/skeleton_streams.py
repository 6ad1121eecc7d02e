"""Input streams of a skeleton network: joints, bones and the motions of both.

Shi et al., IEEE Transactions on Image Processing 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import tensorflow as tf

from zoo import skeletons
from zoo.checks import ZooError

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]
STREAMS: tuple[str, ...] = get_args(Stream)


def check_streams(streams: Sequence[str]) -> None:
    """Raises :class:`zoo.ZooError` unless there is at least one stream, each once."""
    if not streams or len(set(streams)) < len(streams):
        raise ZooError(f"streams is {tuple(streams)}, expected at least one of {', '.join(STREAMS)}, each once")


@tf.keras.utils.register_keras_serializable(package="adl_zoo")
class SkeletonStreams(tf.keras.layers.Layer):
    """Joints, bones, and the motions of both.

    A bone is the vector from a joint's parent to the joint; the root's bone is zero. A motion is the change to the next
    step; the last step's motion is zero.

    The layer computes in float32: differences of nearly equal values would be lost in half precision.

    Args:
        layout: Name of the skeleton layout.
        streams: Some of :data:`STREAMS`.

    Call arguments:
        inputs: ``[B, tp, M, J, 3]``; an absent person is all zeros, and so are its bones. When a person appears or
            disappears, the motions are a jump from or to zero.

    Returns:
        ``[B, tp, M * J, 3 * S]``, S the number of streams.

    Example:
        >>> SkeletonStreams("kinect_v2_25", ("bone", "bone_motion"))(tf.zeros((1, 20, 2, 25, 3))).shape
        TensorShape([1, 20, 50, 6])
    """

    def __init__(self, layout: str, streams: Sequence[str], **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.layout = layout
        self.streams = tuple(streams)
        parents = list(range(skeletons.get(layout).num_joints))
        for parent, child in skeletons.get(layout).bones:
            parents[child] = parent
        self.parents = parents

    def call(self, inputs: Any) -> Any:
        """The streams, their coordinates side by side."""
        bones = inputs - tf.gather(inputs, self.parents, axis=3)
        found = []
        for stream in self.streams:
            x = bones if stream.startswith("bone") else inputs
            found.append(_motion(x) if stream.endswith("motion") else x)
        steps, persons, joints = inputs.shape[1:4]
        return tf.reshape(tf.concat(found, axis=-1), (-1, steps, persons * joints, 3 * len(found)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, tp, M * J, 3 * S)``."""
        batch, steps, persons, joints, _ = input_shape
        return (batch, steps, persons * joints, 3 * len(self.streams))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "layout": self.layout, "streams": self.streams}


def _motion(x):
    """Change of ``[B, tp, ...]`` to the next step, zero at the last."""
    return tf.concat([x[:, 1:] - x[:, :-1], tf.zeros_like(x[:, :1])], axis=1)
