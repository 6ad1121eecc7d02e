"""Temporal model: segments of a clip at several granularities, weighted by poses (Das et al., WACV 2020)."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Optional

import tensorflow as tf

from zoo import backbones
from zoo.backbones import BackboneName
from zoo.checks import Constraint, Multiplier, Rate, Size, ZooError, check_minimum
from zoo.layers import (
    AttentionMap,
    Dropout,
    FramesAsBatch,
    FramesFromBatch,
    Segments,
    Unstack,
    WeightedSum,
    classify,
    is_head,
)
from zoo.models import i3d, pose_lstm
from zoo.papers import Row
from zoo.registry import register

Granularity = Annotated[int, Constraint("a whole number from 2", lambda value: value >= 2)]
GRANULARITIES = (2, 3, 4)
GranularityPooling = Literal["sum", "mean"]
FEATURE_SIZE = 7 * 1024  # of I3D on segments of 64 frames of 224 pixels


def segment_features(model: tf.keras.Model) -> tf.keras.Model:
    """A model that outputs the feature of a segment: the input of another model's classifier.

    For I3D this is its average-pooled map, flattened: 7 x 1024 values on 64 frames of 224 pixels (WACV20).

    Args:
        model: A model of this zoo for video, such as a trained ``i3d`` or ``separable_sta``.

    Returns:
        A ``tf.keras.Model`` from the same inputs to ``[B, D]``.

    Raises:
        ZooError: The model has no video input, is itself made of segments, or has two classifiers as ``sta_hands`` has.

    Example:
        >>> import zoo
        >>> segment_features(zoo.build("i3d", num_classes=10)).output_shape
        (None, 7168)
    """
    has_video = any(name.startswith("rgb") for name in model.input)
    streams = sum(is_head(layer) for layer in model.layers)
    if not has_video or "dropout" not in [layer.name for layer in model.layers] or streams > 1:
        raise ZooError(f"{model.name} gives no features of segments, expected a video model such as i3d")
    pooled = model.get_layer("dropout").input  # dropout stands between the pooled map and the classifier
    features = tf.keras.layers.Flatten(name="features_flat")(pooled)
    return tf.keras.Model(model.input, features, name=f"{model.name}_features")


def recurrent_networks(granularities: Sequence[int]) -> int:
    """Number of recurrent networks: for each granularity G one over features, G over poses, one over segments."""
    return sum(1 + g + 1 for g in granularities)


def _check(granularities, segment_attention, granularity_attention):
    if not granularities or len(set(granularities)) < len(granularities):
        raise ZooError(f"granularities is {list(granularities)}, expected one or more numbers of segments, each once")
    if granularity_attention and len(granularities) == 1:
        raise ZooError("attention over one granularity is always 1: choose granularity_attention=False or more of them")


def _cut(name, length, granularities):
    """Raises :class:`ZooError` unless a sequence of that length can be cut into equal segments."""
    multiple = math.lcm(*granularities)
    if length % multiple:
        cuts = ", ".join(map(str, granularities))
        raise ZooError(f"{name} is {length}, which cannot be cut into {cuts} equal segments: expected n * {multiple}")


def _video_features(frames, size, width, backbone, granularities, segment_frames):
    """Input ``rgb`` and the features of its segments: granularity -> ``[B, G, D]``."""
    check_minimum(8, segment_frames=segment_frames)
    rgb = i3d.video_input(frames, size)
    _cut("frames", frames, granularities)
    one = tf.keras.Input((segment_frames, size, size, 3), name="segment")
    chosen = backbones.get(backbone)
    pooled = chosen.pool(chosen.feature_map(one, width=width))
    network = tf.keras.Model(one, tf.keras.layers.Flatten(name="features_flat")(pooled), name="backbone")
    cut = [Segments(g, segment_frames, name=f"g{g}.frames")(rgb) for g in granularities]
    # [B, sum of G, F, H, W, 3]
    cut = tf.keras.layers.Concatenate(axis=1, name="segments")(cut) if len(cut) > 1 else cut[0]
    x = network(FramesAsBatch(name="segments_as_batch")(cut))  # [B * sum of G, D]
    x = FramesFromBatch(sum(granularities), name="segments_from_batch")(x)  # [B, sum of G, D]
    features, start = {}, 0
    for g in granularities:
        ends = (start, sum(granularities) - start - g)
        features[g] = tf.keras.layers.Cropping1D(ends, name=f"features_g{g}")(x)  # [B, G, D]
        start += g
    return rgb, features


def _gru(x, units, name, **options):
    """A GRU over a few steps; unrolled, because that is traced in half the time and runs as fast."""
    return tf.keras.layers.GRU(units, unroll=True, name=name, **options)(x)


def _segment_states(pose, g, units, dropout):
    """Y_G: the last output ``[B, units]`` of a GRU over the segments' vectors, each computed by its own pose GRU."""
    steps, persons, joints = pose.shape[2:5]
    flat = tf.keras.layers.Reshape((g, steps, persons * joints * 3), name=f"g{g}.pose_flat")(pose)
    vectors = []
    for number, segment in enumerate(Unstack(name=f"g{g}.pose_segments")(flat), start=1):
        x = _gru(segment, units, f"g{g}.pose_gru_{number}")
        vectors.append(Dropout(dropout, name=f"g{g}.pose_gru_{number}_dropout")(x))  # [B, units]
    x = tf.keras.layers.Concatenate(name=f"g{g}.segment_vectors")(vectors)
    x = tf.keras.layers.Reshape((g, units), name=f"g{g}.segment_sequence")(x)  # [B, G, units]
    x = _gru(x, units, f"g{g}.segment_gru")
    return Dropout(dropout, name=f"g{g}.segment_gru_dropout")(x)


def _attention(states, poses, values, name):
    """Softmax of a linear layer that starts at zero: all weights start equal. ``[B, values]``.

    They are equal for a clip whose ``poses``, a list, are all zeros.
    """
    zero = {"kernel_initializer": "zeros", "bias_initializer": "zeros", "dtype": "float32"}
    scores = tf.keras.layers.Dense(values, name=f"{name}_scores", **zero)(states)
    return AttentionMap((values,), "softmax", 0.0, name=f"{name}_attention")([scores, *poses])


def _average(vectors, attention, name):
    """The vectors ``[B, N, D]`` weighted by attention ``[B, N]``, or equally without it."""
    if attention is None:
        return tf.keras.layers.GlobalAveragePooling1D(name=name)(vectors)
    return WeightedSum(name=name)([vectors, attention])


@register(
    paper="WACV20",
    reported=[
        Row(
            {
                "smarthome/cs": 55.4,
                "smarthome/cv2": 52.8,
                "ntu60/cs": 90.6,
                "ntu60/cv": 92.8,
                "ntu120/cs1": 85.2,
                "ntu120/cs2": 86.5,
                "nucla/v3_12": 89.5,
            },
            of="features of I3D",
            when={"base_model": "i3d"},
        ),
        Row(
            {"ntu60/cs": 92.4, "ntu60/cv": 95.2, "nucla/v3_12": 88.6},
            of="features of P-I3D",
            when={"base_model": "pi3d"},
        ),
        Row(
            {
                "smarthome/cs": 56.6,
                "smarthome/cv2": 49.5,
                "ntu60/cs": 91.1,
                "ntu60/cv": 93.0,
                "ntu120/cs1": 85.7,
                "ntu120/cs2": 87.1,
                "nucla/v3_12": 90.8,
            },
            of="features of Separable STA",
            when={"base_model": "separable_sta"},
        ),
        Row(
            {
                "smarthome/cs": 60.4,
                "smarthome/cv2": 49.9,
                "ntu60/cs": 92.5,
                "ntu60/cv": 96.2,
                "ntu120/cs1": 85.5,
                "ntu120/cs2": 87.1,
                "nucla/v3_12": 91.4,
            },
            of="features of VPN",
            when={"base_model": "vpn"},
        ),
        Row({"ntu60/cv": 95.5}, of="features of VPN, another table", when={"base_model": "vpn"}, source="PhD20"),
    ],
    unstated={"granularity_pooling": "mean"},
)
def temporal(
    num_classes: int,
    *,
    granularities: tuple[Granularity, ...] = GRANULARITIES,
    feature_size: Size = FEATURE_SIZE,
    segment_steps: Size = 5,
    persons: Size = 1,
    joints: Size = 25,
    gru_units: Size = 512,
    pose_units: Size = 150,
    segment_attention: bool = True,
    granularity_attention: bool = True,
    granularity_pooling: GranularityPooling = "sum",
    dropout: Rate = 0.6,
    backbone: Optional[BackboneName] = None,
    frames: Size = 96,
    segment_frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    pose_steps: Size = 60,
) -> tf.keras.Model:
    """Temporal model: the order of a clip's segments at several granularities, weighted by attention from the pose.

    Das, Bremond and Thonnat, WACV 2020; PhD20 chapter 5. For each granularity G:
    ::

        features_gG [B,G,D] ─► GRU ─► U_1 .. U_G ───────────────────────────────┐
        pose_gG [B,G,S,M,J,3] ─► a GRU per segment ─► GRU ─► Y_G ─► alpha [B,G] ┴► v_G = sum of alpha_j U_j
                                                              │
        all Y_G ─► beta [B,K] (softmax) ──────────────────────┴──► sum of beta_G v_G ─► linear ─► softmax [B,C]

    Both attentions are a softmax of a linear layer and start equal; they are equal for a clip without a pose (all
    zeros). Granularities (2, 3, 4) need the sum of (1 + G + 1) = 15 recurrent networks. Recurrent layers' outputs go
    through dropout as in the authors' public code. Without segment attention v_G is the mean of the U_j; without
    granularity attention the v_G are added up (PhD20 table 5.1).

    Features are those of :func:`zoo.models.temporal.segment_features`. With ``backbone`` the model computes them from
    frames: it cuts the clip into G equal segments, takes ``segment_frames`` frames of each, evenly spread, and runs one
    backbone (the layer ``backbone``) on all segments; it cuts poses in the same way. The other layers are the same.

    Args:
        num_classes: Number of classes C.
        granularities: Numbers G of segments that a clip is cut into, each at least 2.
        feature_size: Values D of a segment's feature; with ``backbone`` it follows from the backbone.
        segment_steps: Pose steps S of a segment; 5 on NTU RGB+D, 4 on Northwestern-UCLA.
        persons: Persons M in a pose.
        joints: Joints J of a person.
        gru_units: Size of the hidden vector of the GRUs over features.
        pose_units: Size of the hidden vector of the GRUs over poses and over segments.
        segment_attention: Whether segments are weighted by attention; without it, equally.
        granularity_attention: Whether granularities are weighted by attention. Without either attention there is no
            pose input.
        granularity_pooling: How granularities are joined without attention: ``sum``, or ``mean`` as in models that
            earlier versions saved.
        dropout: Dropout rate of each GRU's output.
        backbone: Network for features of frames: ``i3d`` or ``resnext3d101``; ``None``: features are the input.
        frames: Frames T of a clip, a multiple of every granularity. This and the options below need ``backbone``.
        segment_frames: Frames of a segment for the backbone, at least 8; a shorter segment gives some frames twice.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the backbone's number of filters; 1 is the published network.
        pose_steps: Steps tp of the pose sequence of a whole clip, a multiple of every granularity.

    Returns:
        A ``tf.keras.Model``: ``{"features_g2": [B, 2, D], "pose_g2": [B, 2, S, M, J, 3], ...}``, or with ``backbone``
        ``{"rgb": [B, T, H, W, 3], "pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``. Its attention layers are
        ``g2.segment_attention`` [B, 2], ... and ``granularity_attention`` [B, K].

    Raises:
        ZooError: No or a repeated granularity, attention over a single one, an unknown backbone, a size that is too
            small, or frames or pose steps that cannot be cut into equal segments.

    Example:
        >>> import zoo
        >>> model = zoo.build("temporal", num_classes=10, granularities=(2, 3), joints=20)
        >>> sorted(model.input)
        ['features_g2', 'features_g3', 'pose_g2', 'pose_g3']
    """
    _check(granularities, segment_attention, granularity_attention)
    inputs, features, poses = {}, {}, {}
    if backbone is None:
        features = {g: tf.keras.Input((g, feature_size), name=f"features_g{g}") for g in granularities}
        inputs.update({x.name: x for x in features.values()})
    else:
        inputs["rgb"], features = _video_features(frames, size, width, backbone, granularities, segment_frames)
    if segment_attention or granularity_attention:
        if backbone is None:
            shape = (segment_steps, persons, joints, 3)
            poses = {g: tf.keras.Input((g, *shape), name=f"pose_g{g}") for g in granularities}
            inputs.update({x.name: x for x in poses.values()})
        else:
            inputs["pose"] = pose_lstm.pose_input(pose_steps, persons, joints)
            _cut("pose_steps", pose_steps, granularities)
            poses = {g: Segments(g, segment_steps, name=f"pose_g{g}")(inputs["pose"]) for g in granularities}

    states = {g: _segment_states(pose, g, pose_units, dropout) for g, pose in poses.items()}  # Y_G: [B, pose_units]
    vectors = []
    for g in granularities:
        u = _gru(features[g], gru_units, f"g{g}.gru", return_sequences=True)  # U_G: [B, G, units]
        u = Dropout(dropout, name=f"g{g}.gru_dropout")(u)
        alpha = _attention(states[g], [poses[g]], g, f"g{g}.segment") if segment_attention else None  # [B, G]
        vectors.append(_average(u, alpha, f"g{g}.vector"))  # v_G: [B, units]
    beta = None
    if granularity_attention:
        joined = tf.keras.layers.Concatenate(name="granularity_states")(list(states.values()))
        beta = _attention(joined, list(poses.values()), len(granularities), "granularity")  # [B, K]
    if beta is None and granularity_pooling == "sum" and len(vectors) > 1:
        x = tf.keras.layers.Add(name="features")(vectors)  # [B, units]
    else:
        x = tf.keras.layers.Concatenate(name="granularity_vectors")(vectors) if len(vectors) > 1 else vectors[0]
        x = tf.keras.layers.Reshape((len(granularities), gru_units), name="granularities")(x)  # [B, K, units]
        x = _average(x, beta, "features")
    predictions = classify(x, num_classes)
    return tf.keras.Model(inputs, predictions, name="temporal")
