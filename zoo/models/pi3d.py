"""P-I3D: I3D towers for body parts, weighted by attention from the pose (Das et al., WACV 2019)."""

from typing import Literal

import tensorflow as tf

from zoo.checks import Exponent, Multiplier, Rate, Size, Weight, ZooError
from zoo.layers import AttentionMap, L2Norm, PartAggregation, PoseScores
from zoo.models import i3d, pose_lstm
from zoo.papers import Row
from zoo.registry import register
from zoo.skeletons import PARTS, Part

BODY: tuple[Part, ...] = ("full_body", "left_hand", "right_hand")

Aggregation = Literal["sum", "concat"]


def _check(parts, attention):
    if not parts or len(set(parts)) < len(parts):
        raise ZooError(f"parts is {list(parts)}, expected one or more of {', '.join(PARTS)}, each once")
    if attention and len(parts) == 1:
        raise ZooError("attention over one part is always 1: choose attention=False or more parts")


@register(
    paper="WACV19",
    reported=[
        Row({"smarthome/cs": 54.2, "smarthome/cv1": 35.1, "smarthome/cv2": 50.3, "ntu60/cs": 93.0, "ntu60/cv": 95.4}),
        Row({"smarthome/cs": 54.0, "smarthome/cv2": 48.7}, source="PhD20"),
        Row({"nucla/v3_12": 87.5}, of="without NTU-60", when={"pretrained_on": None}),
        Row({"nucla/v3_12": 93.1}, of="after NTU-60", when={"pretrained_on": "ntu60"}),
    ],
)
def pi3d(
    num_classes: int,
    *,
    frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    pose_steps: Size = 20,
    persons: Size = 1,
    joints: Size = 25,
    lstm_units: Size = 512,
    lstm_dropout: Rate = 0.5,
    attention_units: Size = 256,
    parts: tuple[Part, ...] = BODY,
    aggregation: Aggregation = "sum",
    aggregate_after: Literal[0, 1, 2] = 0,
    attention: bool = True,
    attention_regularization: Weight = 1e-5,
    weight_regularization: Weight = 1e-3,
    dropout: Rate = 0.3,
    feature_power: Exponent = 1.0,
) -> tf.keras.Model:
    """P-I3D: one I3D per body part, their feature maps weighted by attention from the pose.

    Das et al., WACV 2019, equations 1 to 5.
    ::

        rgb            ─► I3D ─► g_1 ──┐
        rgb_left_hand  ─► I3D ─► g_2 ──┼─► sum of alpha_k g_k [B,t,m,n,c] ─► head of I3D ─► softmax [B,C]
        rgb_right_hand ─► I3D ─► g_3 ──┤
        pose ─► LSTMs ─► h* ─► alpha [B,K] (softmax, starts equal; equal for a clip without a pose)

    The training loss gains ``attention_regularization`` * sum (1 - alpha_k)^2 + ``weight_regularization`` * ||W||_2,
    W the classifier's weights.

    Args:
        num_classes: Number of classes C.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of I3D's number of filters; 1 is the published network.
        pose_steps: Steps tp of a pose sequence.
        persons: Persons M in a pose.
        joints: Joints J of a person.
        lstm_units: Size of each LSTM's hidden vector.
        lstm_dropout: Dropout rate of each LSTM layer's output.
        attention_units: Size of the attention's hidden layer (not stated in the paper).
        parts: Body parts, some of ``full_body``, ``left_hand``, ``right_hand`` and ``full_image``, the whole image; one
            tower each (WACV19 tables 1 and 2).
        aggregation: ``sum`` or ``concat`` of the weighted maps (WACV19 table 1).
        aggregate_after: Number of Inception blocks, 0, 1 or 2, that come after the aggregation: they run once, on the
            joined map (WACV19 table 1).
        attention: Whether the maps are weighted by part attention; without it there is no pose input.
        attention_regularization: Weight of the penalty on alpha; 1e-5 on NTU RGB+D, 1e-4 on Northwestern-UCLA.
        weight_regularization: Weight of the penalty on the classifier's weights.
        dropout: Dropout rate of the pooled features (PhD20 section 4.6.1).
        feature_power: Exponent of the pooled features; with 0.5, power normalisation, a classifier trained on frozen
            features is better (see :func:`zoo.models.i3d.i3d`).

    Returns:
        A ``tf.keras.Model``: ``{"rgb", "rgb_left_hand", "rgb_right_hand": [B, T, H, W, 3], "pose": [B, tp, M, J, 3]}``
        -> softmax ``[B, C]``. Layers of the towers begin with the part's name; those after the aggregation with
        ``joined``. The attention layer is ``part_attention`` [B, K].

    Raises:
        ZooError: Unknown part or aggregation, attention over a single part, or a size that is too small.

    Example:
        >>> import zoo
        >>> model = zoo.build("pi3d", num_classes=10, frames=16, size=64, width=0.125, pose_steps=5, joints=20)
        >>> sorted(model.input)
        ['pose', 'rgb', 'rgb_left_hand', 'rgb_right_hand']
    """
    _check(parts, attention)
    videos = [i3d.video_input(frames, size, part) for part in parts]
    inputs = {video.name: video for video in videos}
    joined = [
        i3d.feature_map(video, width=width, prefix=f"{part}.", without=aggregate_after)
        for part, video in zip(parts, videos)
    ]  # K times [B, t, m, n, c]
    if attention:
        inputs["pose"] = pose_lstm.pose_input(pose_steps, persons, joints)
        states = pose_lstm.hidden_states(inputs["pose"], units=lstm_units, dropout=lstm_dropout)
        h = tf.keras.layers.Flatten(name="pose_features")(states)  # h*: [B, tp * units]
        scores = PoseScores(len(parts), attention_units, name="part_scores")(h)
        alpha = AttentionMap((len(parts),), "softmax", attention_regularization, name="part_attention")(
            [scores, inputs["pose"]]
        )
        joined.append(alpha)
    features = joined[0]
    if len(parts) > 1:
        features = PartAggregation(aggregation, len(parts), name="aggregation")(joined)
    features = i3d.last_blocks(features, aggregate_after, width=width, prefix="joined.")
    predictions = i3d.head(features, num_classes, dropout, L2Norm(weight_regularization), feature_power=feature_power)
    return tf.keras.Model(inputs, predictions, name="pi3d")
