"""Pose CNN: convolutions over the positions, velocities and accelerations of joints (Baradel et al., BMVC 2018).

Alone, and as the pose stream of :mod:`zoo.models.sta_hands`.
"""

import tensorflow as tf

from zoo import skeletons
from zoo.checks import check_choice
from zoo.layers import Dropout, classify
from zoo.models import i3d, pose_lstm
from zoo.registry import register

# Channels of the first two convolutions: not stated in the paper. With 64 the parameters of STA-Hands come to the
# 38 million that it does state; nearly all of those of the pose stream are the third kernel's, 5 x 75 x 64 x 1024.
CHANNELS = 64
FEATURES = 1024

_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


@_serializable
class PoseTensor(tf.keras.layers.Layer):
    """The tensor that the pose CNN sees as a picture (BMVC18).

    Its height is time. Its width is the joints' coordinates: persons side by side, each person's joints in the chosen
    order, x, y and z of a joint next to each other. Its three channels are the coordinates, their velocities
    x_t - x_(t-1) and their accelerations x_t - 2 x_(t-1) + x_(t-2), per step. The paper does not say how it
    differentiates, nor what the first steps are: here a difference that would need an earlier step is zero.

    The layer computes in float32: differences of near values would be lost in half precision.

    Args:
        layout: Name of the skeleton layout.
        joint_order: One of ``zoo.skeletons.JOINT_ORDERS``.

    Call arguments:
        inputs: ``[B, tp, M, J, 3]``; a person is all zeros while absent. Absent from a whole clip, it is so in all
            channels; when it comes or goes, velocity and acceleration see a jump from or to zero.

    Returns:
        ``[B, tp, M * N * 3, 3]``, N the length of the order: 50 for the tour of ``kinect_v2_25``.

    Example:
        >>> PoseTensor("kinect_v2_25", "topological_doubles")(tf.zeros((1, 20, 2, 25, 3))).shape
        TensorShape([1, 20, 300, 3])
    """

    def __init__(self, layout, joint_order, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.layout = layout
        self.joint_order = joint_order
        self.order = skeletons.get(layout).joint_order(joint_order)

    def call(self, inputs):
        """The tensor."""
        steps, persons = inputs.shape[1:3]
        x = tf.gather(inputs, self.order, axis=3)  # [B, tp, M, N, 3]
        x = tf.reshape(x, (-1, steps, persons * len(self.order) * 3))
        velocity = x[:, 1:] - x[:, :-1]
        acceleration = x[:, 2:] - 2.0 * x[:, 1:-1] + x[:, :-2]

        def from_zero(difference, missing):
            return tf.pad(difference, ((0, 0), (min(missing, steps), 0), (0, 0)))

        return tf.stack([x, from_zero(velocity, 1), from_zero(acceleration, 2)], axis=-1)

    def compute_output_shape(self, input_shape):
        """``(B, tp, M * N * 3, 3)``."""
        batch, steps, persons = input_shape[:3]
        return (batch, steps, persons * len(self.order) * 3, 3)

    def get_config(self):
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "layout": self.layout, "joint_order": self.joint_order}


def features(pose, *, layout, joint_order, width):
    """The pose features s (BMVC18): three convolutions, each with ReLU and max pooling.

    For the 20 x 300 tensor of two persons of Kinect v2 the maps are 10 x 150, 5 x 75 and 1 x 1, as in the paper. At
    other sizes the first two are as much smaller or larger, rounded up, and the third kernel still covers all of the
    map it is applied to (the paper's 5 x 75), so that s always has one place. Pooling that one place would change
    nothing and is left out.

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
    reported={"ntu60/cs": 77.1, "ntu60/cv": 84.5, "sbu/fold": 90.5, "msr_daily/odd_even": 74.6},
)
def pose_cnn(
    num_classes,
    *,
    pose_steps=20,
    persons=2,
    layout="kinect_v2_25",
    joint_order="topological_doubles",
    width=1.0,
    dropout=0.5,
):
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
        dropout: Share of s that is dropped in training.

    Returns:
        A ``tf.keras.Model``: ``{"pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``. The layer ``pose_features`` gives s.

    Raises:
        ZooError: Unknown ``layout`` or ``joint_order``, or a size below 1.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_cnn", num_classes=10, persons=1, layout="kinect_v1_20")
        >>> tuple(model.get_layer("pose_tensor").output.shape)
        (None, 20, 120, 3)
    """
    check_choice("joint_order", joint_order, skeletons.JOINT_ORDERS)
    pose = pose_lstm.skeleton_input(pose_steps, persons, layout)
    s = features(pose, layout=layout, joint_order=joint_order, width=width)
    predictions = classify(Dropout(dropout, name="dropout")(s), num_classes)
    return tf.keras.Model({"pose": pose}, predictions, name="pose_cnn")
