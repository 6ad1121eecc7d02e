"""Pose CNN: convolutions over the positions, velocities and accelerations of joints (Baradel et al., BMVC 2018).

Alone, and as the pose stream of :mod:`zoo.models.sta_hands`.
"""

from typing import Any

import tensorflow as tf

from zoo import skeletons
from zoo.checks import Layout, Multiplier, Rate, Size
from zoo.layers import Dropout, classify
from zoo.models import i3d, pose_lstm
from zoo.papers import Row
from zoo.registry import register
from zoo.skeletons import JointOrder

# Channels of the first two convolutions: not stated in the paper. With 64, STA-Hands has the 38 million parameters that
# the paper states; nearly all parameters of the pose stream are in the third kernel, 5 x 75 x 64 x 1024.
CHANNELS = 64
FEATURES = 1024

_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


@_serializable
class PoseTensor(tf.keras.layers.Layer):
    """The pose as a picture, the input of the pose CNN (BMVC18).

    Its height is time. Its width is the joints' coordinates: persons side by side, each person's joints in the chosen
    order, x, y and z of a joint next to each other. Its three channels are the coordinates, their velocities
    x_t - x_(t-1) and their accelerations x_t - 2 x_(t-1) + x_(t-2), per step. The paper states neither how it
    differentiates nor what the first steps are: here a difference that needs a step before the first is zero.

    The layer computes in float32: differences of nearly equal values would be lost in half precision.

    Args:
        layout: Name of the skeleton layout.
        joint_order: One of ``zoo.skeletons.JOINT_ORDERS``.

    Call arguments:
        inputs: ``[B, tp, M, J, 3]``; an absent person is all zeros. When a person appears or disappears, velocity and
            acceleration jump.

    Returns:
        ``[B, tp, M * N * 3, 3]``, N the length of the order: 50 for the tour of ``kinect_v2_25``.

    Example:
        >>> PoseTensor("kinect_v2_25", "topological_doubles")(tf.zeros((1, 20, 2, 25, 3))).shape
        TensorShape([1, 20, 300, 3])
    """

    def __init__(self, layout: str, joint_order: str, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.layout = layout
        self.joint_order = joint_order
        self.order = skeletons.get(layout).joint_order(joint_order)

    def call(self, inputs: Any) -> Any:
        """The tensor."""
        steps, persons = inputs.shape[1:3]
        x = tf.gather(inputs, self.order, axis=3)  # [B, tp, M, N, 3]
        x = tf.reshape(x, (-1, steps, persons * len(self.order) * 3))
        velocity = x[:, 1:] - x[:, :-1]
        acceleration = x[:, 2:] - 2.0 * x[:, 1:-1] + x[:, :-2]

        def from_zero(difference, missing):
            return tf.pad(difference, ((0, 0), (min(missing, steps), 0), (0, 0)))

        return tf.stack([x, from_zero(velocity, 1), from_zero(acceleration, 2)], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, tp, M * N * 3, 3)``."""
        batch, steps, persons = input_shape[:3]
        return (batch, steps, persons * len(self.order) * 3, 3)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "layout": self.layout, "joint_order": self.joint_order}


def features(pose: tf.Tensor, *, layout: str, joint_order: str, width: float) -> tf.Tensor:
    """The pose features s (BMVC18): three convolutions, each with ReLU and max pooling.

    For the 20 x 300 tensor of two persons of Kinect v2 the maps are 10 x 150, 5 x 75 and 1 x 1, as in the paper. At
    other sizes the first two scale with the tensor, rounded up, and the third kernel still covers the whole map (the
    paper's 5 x 75), so that s is always 1 x 1 and needs no pooling.

    Args:
        pose: ``[B, tp, M, J, 3]``.
        layout: Name of the skeleton layout.
        joint_order: One of ``zoo.skeletons.JOINT_ORDERS``.
        width: Multiplier of the number of channels.

    Returns:
        ``[B, 1024 * width]``.
    """
    x = PoseTensor(layout, joint_order, name="pose_tensor")(pose)  # [B, tp, M*N*3, 3]
    for number in (1, 2):
        name = f"pose_conv_{number}"
        x = tf.keras.layers.Conv2D(i3d.scaled(CHANNELS, width), (8, 3), padding="same", name=name)(x)
        x = tf.keras.layers.Activation("relu", name=f"{name}.relu")(x)
        x = tf.keras.layers.MaxPooling2D(2, padding="same", name=f"pose_pool_{number}")(x)
    x = tf.keras.layers.Conv2D(i3d.scaled(FEATURES, width), tuple(x.shape[1:3]), name="pose_conv_3")(
        x
    )  # [B, 1, 1, 1024]
    x = tf.keras.layers.Activation("relu", name="pose_conv_3.relu")(x)
    return tf.keras.layers.Flatten(name="pose_features")(x)


@register(
    paper="BMVC18",
    reported=[
        Row({"ntu60/cs": 77.1, "ntu60/cv": 84.5}),
        Row({"sbu/fold": 90.5, "msr_daily/odd_even": 74.6}, of="after NTU-60"),
    ],
)
def pose_cnn(
    num_classes: int,
    *,
    pose_steps: Size = 20,
    persons: Size = 2,
    layout: Layout = "kinect_v2_25",
    joint_order: JointOrder = "topological_doubles",
    width: Multiplier = 1.0,
    dropout: Rate = 0.5,
) -> tf.keras.Model:
    """Pose CNN: convolutions over joints in a topological order, with their velocities and accelerations.

    Baradel, Wolf and Mille, BMVC 2018: the pose stream of STA-Hands, alone.
    ::

        pose [B,tp,M,J,3] ─► tour of the joints, velocities, accelerations ─► X [B,tp,M*N*3,3]
            ─► conv 8x3 ─► pool ─► conv 8x3 ─► pool ─► conv over all of the map ─► s [B,1024] ─► linear ─► softmax [B,C]

    Args:
        num_classes: Number of classes C.
        pose_steps: Steps tp of a pose sequence.
        persons: Persons M in a pose.
        layout: Skeleton layout of the pose, a name in ``zoo.skeletons.LAYOUTS``.
        joint_order: Order of the joints in X (BMVC18 table 3): ``topological_doubles``, a closed walk along the bones;
            ``topological``, the same without repetitions; ``random``.
        width: Multiplier of the number of channels; 1 is the published network.
        dropout: Dropout rate of s.

    Returns:
        A ``tf.keras.Model``: ``{"pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``. The layer ``pose_features`` gives s.

    Raises:
        ZooError: A value that an option does not take.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_cnn", num_classes=10, persons=1, layout="kinect_v1_20")
        >>> tuple(model.get_layer("pose_tensor").output.shape)
        (None, 20, 120, 3)
    """
    pose = pose_lstm.skeleton_input(pose_steps, persons, layout)
    s = features(pose, layout=layout, joint_order=joint_order, width=width)
    predictions = classify(Dropout(dropout, name="dropout")(s), num_classes)
    return tf.keras.Model({"pose": pose}, predictions, name="pose_cnn")
