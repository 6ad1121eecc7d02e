"""Separable STA: separable spatio-temporal attention driven by poses (Das et al., ICCV 2019)."""

from typing import Literal

import tensorflow as tf

from zoo.checks import Exponent, Multiplier, Rate, Size, Weight
from zoo.layers import AttentionMap, Dropout, FittedMap, PoseScores, classify, power_normalised
from zoo.models import i3d, pose_lstm
from zoo.papers import Row
from zoo.registry import register

Attention = Literal["none", "sa", "ta", "sa_ta", "ta_sa", "joint", "separable"]


def _modulate(features, attention, shape, name):
    """g * attention; the map is broadcast over the axes of size 1 in ``shape``, and resized if g is of any size."""
    attention = tf.keras.layers.Reshape(shape, name=f"{name}_broadcast")(attention)
    if features.shape[2] is None and shape[1] > 1:
        attention = FittedMap(name=f"{name}_fitted")([attention, features])
    return tf.keras.layers.Multiply(name=name)([features, attention])


@register(
    paper="ICCV19",
    reported=[
        Row({"smarthome/cs": 54.2, "smarthome/cv1": 35.2, "smarthome/cv2": 50.3, "ntu60/cs": 92.2, "ntu60/cv": 94.6}),
        Row({"ntu120/cs1": 83.8, "ntu120/cs2": 82.5}, of="rerun", source="ECCV20"),
        Row({"nucla/v3_12": 92.4}, of="after NTU-60"),
    ],
    renamed={"strategy": "attention"},
)
def separable_sta(
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
    attention: Attention = "separable",
    spatial_regularization: Weight = 1e-5,
    temporal_regularization: Weight = 1e-5,
    dropout: Rate = 0.3,
    feature_power: Exponent = 1.0,
    fully_convolutional: bool = False,
) -> tf.keras.Model:
    """Separable STA: I3D features weighted in space and, separately, in time by attention from the pose.

    Das et al., ICCV 2019, equations 1 to 4.
    ::

        rgb  [B,T,H,W,3] ─► I3D ─► g [B,t,m,n,c] ──┬─► alpha * g ─► mean ──┐
                                                   └─► beta * g ─► mean ──┴─► concatenate ─► linear ─► softmax [B,C]
        pose [B,tp,M,J,3] ─► LSTMs ─► h* ──┬─► alpha [B,m,n] (sigmoid) ──┘
                                           └─► beta [B,t] (softmax)

    With h* the hidden vectors of all pose steps, alpha = sigmoid(W tanh(W h* + b) + b) and
    beta = softmax(W tanh(W h* + b) + b), each with weights of its own.
    All attention weights start equal, and are equal for a clip without a pose (all zeros).
    The training loss gains ``spatial_regularization`` * sum alpha^2 + ``temporal_regularization`` * sum (1 - beta)^2.

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
        attention: ``none``; ``sa`` spatial only; ``ta`` temporal only; ``sa_ta``, ``ta_sa`` one after the other on one
            map; ``joint`` one weight for each position and step; ``separable`` (ICCV19 table 5). Both maps come from
            the pose, so ``sa_ta`` and ``ta_sa`` compute the same function; they differ when a recipe trains the first
            attention before the second (``separable_sta_sa_ta_smarthome``, ``separable_sta_ta_sa_smarthome``).
        spatial_regularization: Weight of the penalty on alpha (and on the joint map).
        temporal_regularization: Weight of the penalty on beta.
        dropout: Dropout rate of the pooled features (PhD20 section 4.6.1).
        feature_power: Exponent of the pooled features; with 0.5, power normalisation, a classifier trained on frozen
            features is better (see :func:`zoo.models.i3d.i3d`).
        fully_convolutional: Take pictures of any height and width; alpha, made for the square of ``size``, is resized
            to the feature map. See :func:`zoo.fully_convolutional`.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3], "pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``. Its
        attention layers are ``spatial_attention``, ``temporal_attention`` or ``spatio_temporal_attention``. ``none``
        has no pose input.

    Raises:
        ZooError: A value that an option does not take, or a size that is too small.

    Example:
        >>> import zoo
        >>> model = zoo.build("separable_sta", num_classes=10, frames=16, size=64, width=0.25, pose_steps=5, joints=20)
        >>> model.output_shape
        (None, 10)
    """
    rgb = i3d.video_input(frames, size, any_size=fully_convolutional)
    g = i3d.feature_map(rgb, width=width)  # [B, t, m, n, c]
    t, m, n = g.shape[1], i3d.grid_side(size), i3d.grid_side(size)
    inputs = {"rgb": rgb}
    if attention != "none":
        inputs["pose"] = pose_lstm.pose_input(pose_steps, persons, joints)
        states = pose_lstm.hidden_states(inputs["pose"], units=lstm_units, dropout=lstm_dropout)
        h = tf.keras.layers.Flatten(name="pose_features")(states)  # h*: [B, tp * units]

    def spatially(x):
        alpha = PoseScores(m * n, attention_units, name="spatial_scores")(h)
        alpha = AttentionMap((m, n), "sigmoid", spatial_regularization, name="spatial_attention")(
            [alpha, inputs["pose"]]
        )
        return _modulate(x, alpha, (1, m, n, 1), "spatially_attended")

    def temporally(x):
        beta = PoseScores(t, attention_units, name="temporal_scores")(h)
        beta = AttentionMap((t,), "softmax", temporal_regularization, name="temporal_attention")([beta, inputs["pose"]])
        return _modulate(x, beta, (t, 1, 1, 1), "temporally_attended")

    def jointly(x):
        alpha = PoseScores(t * m * n, attention_units, name="spatio_temporal_scores")(h)
        alpha = AttentionMap((t, m, n), "sigmoid", spatial_regularization, name="spatio_temporal_attention")(
            [alpha, inputs["pose"]]
        )
        return _modulate(x, alpha, (t, m, n, 1), "jointly_attended")

    maps = {
        "none": lambda: [g],
        "sa": lambda: [spatially(g)],
        "ta": lambda: [temporally(g)],
        "sa_ta": lambda: [temporally(spatially(g))],
        "ta_sa": lambda: [spatially(temporally(g))],
        "joint": lambda: [jointly(g)],
        "separable": lambda: [spatially(g), temporally(g)],
    }[attention]()
    pooled = [tf.keras.layers.GlobalAveragePooling3D(name=f"pooled_{i}")(x) for i, x in enumerate(maps)]
    x = tf.keras.layers.Concatenate(name="features")(pooled) if len(pooled) > 1 else pooled[0]  # [B, 2c] or [B, c]
    x = Dropout(dropout, name="dropout")(power_normalised(x, feature_power))
    predictions = classify(x, num_classes)
    return tf.keras.Model(inputs, predictions, name="separable_sta")
