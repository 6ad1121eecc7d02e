"""Pose LSTM: three stacked LSTM layers over 3D poses (Das et al., AVSS 2018), by itself and as a pose backbone."""

import math
from typing import Literal, Optional

import tensorflow as tf

from zoo.checks import Layout, Rate, Size, ZooError, layout_of
from zoo.layers import AllStepsLogits, Dropout, classify
from zoo.registry import register
from zoo.skeleton_streams import SkeletonStreams, Stream, check_streams

LAYERS = 3
Loss = Literal["last_step", "all_steps"]


def pose_input(pose_steps: int, persons: int, joints: int) -> tf.Tensor:
    """The input of a pose model: ``[B, pose_steps, persons, joints, 3]``."""
    return tf.keras.Input((pose_steps, persons, joints, 3), name="pose")


def skeleton_input(pose_steps: int, persons: int, layout: str) -> tf.Tensor:
    """As :func:`pose_input`, with the joints of a named layout."""
    return pose_input(pose_steps, persons, layout_of(layout).num_joints)


def hidden_states(pose: tf.Tensor, *, units: int, dropout: float, padded: bool = False) -> tf.Tensor:
    """Hidden vectors of the last of three LSTM layers at every step.

    Args:
        pose: ``[B, tp, M, J, 3]``, or the streams made of it, ``[B, tp, M * J, 3S]``.
        units: Size of each LSTM's hidden vector.
        dropout: Dropout rate of each layer's output.
        padded: Whether steps of zeros are left out: their hidden vector is that of the step before.

    Returns:
        ``[B, tp, units]``.
    """
    tp, *values = pose.shape[1:]
    x = tf.keras.layers.Reshape((tp, math.prod(values)), name="pose_flat")(pose)  # [B, tp, M*J*3]
    if padded:
        x = tf.keras.layers.Masking(name="masking")(x)
    for number in range(1, LAYERS + 1):
        x = tf.keras.layers.LSTM(units, return_sequences=True, name=f"lstm_{number}")(x)  # [B, tp, units]
        x = Dropout(dropout, name=f"lstm_{number}_dropout")(x)
    return x


@register(
    paper="AVSS18",
    reported={
        "smarthome/cs": 42.5,
        "smarthome/cv1": 13.4,
        "smarthome/cv2": 17.2,
        "cad60/loso": 67.64,
        "cad120/loso": 63.70,
        "msr_daily/loso": 91.56,
    },
)
def pose_lstm(
    num_classes: int,
    *,
    pose_steps: Size = 20,
    persons: Size = 1,
    joints: Size = 25,
    layout: Optional[Layout] = None,
    streams: tuple[Stream, ...] = ("joint",),
    lstm_units: Size = 512,
    dropout: Rate = 0.5,
    loss: Loss = "last_step",
    padded: bool = False,
) -> tf.keras.Model:
    """Pose LSTM: three stacked LSTM layers over 3D poses.

    Das et al., AVSS 2018. PhD20 table 6.7 has 512, 128 and 128 units and a dropout of 0.5, 0.6 and 0.5 in cs, cv1 and
    cv2 of Smarthome, gradients clipped at 1. The streams of bones and motions come from the graph networks (Shi et
    al., IEEE Transactions on Image Processing 2020).
    ::

        pose [B,tp,M,J,3] ─► flatten joints ─► LSTM ─► LSTM ─► LSTM ─► h_1 .. h_tp ─► linear ─► softmax [B,C]

    Args:
        num_classes: Number of classes C.
        pose_steps: Steps tp of a pose sequence.
        persons: Persons M in a pose.
        joints: Joints J of a person.
        layout: Skeleton layout of the pose, a name in ``zoo.skeletons.LAYOUTS``; needed for ``streams`` other than
            ``joint``.
        streams: Inputs made of the pose, some of ``joint``, ``bone``, ``joint_motion`` and ``bone_motion``; several
            are concatenated.
        lstm_units: Size of each LSTM's hidden vector.
        dropout: Dropout rate of each LSTM layer's output.
        loss: ``last_step``: the last hidden vector is classified. ``all_steps``: the hidden vectors of all steps are;
            the training loss is the mean cross-entropy of all steps (PhD20 equation 3.5), and the prediction is the
            normalised geometric mean of their probabilities.
        padded: Whether steps of zeros, with which short sequences are padded, are left out of the network and of the
            loss. Needs the loss ``all_steps`` and the stream ``joint`` or ``bone``.

    Returns:
        A ``tf.keras.Model``: ``{"pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``.

    Raises:
        ZooError: A value that an option does not take, or a layout with another number of joints.

    Example:
        >>> import zoo
        >>> zoo.build("pose_lstm", num_classes=10, pose_steps=5, joints=20, lstm_units=128).output_shape
        (None, 10)
    """
    check_streams(streams)
    if padded and loss != "all_steps":
        raise ZooError(f"padded leaves steps out of the loss of all steps, but loss is {loss}: set it to all_steps")
    pose = streamed = pose_input(pose_steps, persons, joints)
    if layout is not None:
        _checked_layout(layout, joints)
    if padded and not {"joint", "bone"} & set(streams):
        raise ZooError("padded needs the stream joint or bone: motions are also zero while a person stands still")
    if tuple(streams) != ("joint",):
        streamed = SkeletonStreams(_checked_layout(layout, joints), streams, name="streams")(pose)  # [B, tp, M*J, 3S]
    hidden = hidden_states(streamed, units=lstm_units, dropout=dropout, padded=padded)  # [B, tp, units]
    if loss == "all_steps":
        logits = tf.keras.layers.Dense(num_classes, name="classifier")(hidden)  # [B, tp, C]
        logits = AllStepsLogits(name="logits")(logits)  # [B, C]
        predictions = tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(logits)
    else:
        last = tf.keras.layers.Cropping1D((pose_steps - 1, 0), name="last_step")(hidden)  # [B, 1, units]
        predictions = classify(tf.keras.layers.Flatten(name="last_hidden")(last), num_classes)
    return tf.keras.Model({"pose": pose}, predictions, name="pose_lstm")


def _checked_layout(layout, joints):
    """The layout's name; :class:`zoo.ZooError` unless the layout has ``joints`` joints."""
    if layout is None:
        raise ZooError("streams of bones or motions need layout, the name of the skeleton layout")
    known = layout_of(layout).num_joints
    if known != joints:
        raise ZooError(f"layout {layout} has {known} joints, expected {joints}, the value of option joints")
    return layout
