"""Global model: a temporal model and a base model, fused by their scores (Das et al., WACV 2020)."""

from typing import Literal, Optional, get_args

import tensorflow as tf

from zoo import registry, score_product, skeletons
from zoo.backbones import BackboneName
from zoo.checks import Layout, Multiplier, Rate, Size
from zoo.models.temporal import FEATURE_SIZE, GRANULARITIES, Granularity, GranularityPooling
from zoo.papers import Row
from zoo.registry import register

BaseModel = Literal["i3d", "pi3d", "separable_sta", "vpn"]
for _name in get_args(BaseModel):
    registry.get(_name)  # registers the layers of all base models: a saved global model contains those of one


@register(
    paper="WACV20",
    reported=[
        Row(
            {
                "smarthome/cs": 58.5,
                "smarthome/cv2": 54.3,
                "ntu60/cs": 92.5,
                "ntu60/cv": 94.0,
                "ntu120/cs1": 85.9,
                "ntu120/cs2": 87.3,
                "nucla/v3_12": 91.0,
            },
            of="with I3D",
            when={"base_model": "i3d"},
        ),
        Row(
            {"ntu60/cs": 93.9, "ntu60/cv": 96.1, "nucla/v3_12": 93.5},
            of="with P-I3D",
            when={"base_model": "pi3d"},
        ),
        Row(
            {
                "smarthome/cs": 60.0,
                "smarthome/cv2": 54.6,
                "ntu60/cs": 93.6,
                "ntu60/cv": 95.4,
                "ntu120/cs1": 87.0,
                "ntu120/cs2": 88.1,
                "nucla/v3_12": 92.8,
            },
            of="with Separable STA",
            when={"base_model": "separable_sta"},
        ),
        Row(
            {
                "smarthome/cs": 62.6,
                "smarthome/cv2": 55.5,
                "ntu60/cs": 94.1,
                "ntu60/cv": 96.5,
                "ntu120/cs1": 87.5,
                "ntu120/cs2": 89.0,
                "nucla/v3_12": 93.7,
            },
            of="with VPN",
            when={"base_model": "vpn"},
        ),
    ],
    renamed={"basic": "base_model", "basic_options": "base_model_options"},
    unstated={"granularity_pooling": "mean"},
)
def global_model(
    num_classes: int,
    *,
    base_model: BaseModel = "vpn",
    base_model_options: Optional[dict] = None,
    frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    pose_steps: Size = 20,
    persons: Size = 1,
    layout: Layout = "kinect_v2_25",
    lstm_units: Size = 512,
    granularities: tuple[Granularity, ...] = GRANULARITIES,
    feature_size: Size = FEATURE_SIZE,
    segment_steps: Size = 5,
    gru_units: Size = 512,
    pose_units: Size = 150,
    segment_attention: bool = True,
    granularity_attention: bool = True,
    granularity_pooling: GranularityPooling = "sum",
    backbone: Optional[BackboneName] = None,
    segment_frames: Size = 64,
    dropout: Rate = 0.0,
) -> tf.keras.Model:
    """Global model: the product of the scores of a temporal model and of its base model.

    Das, Bremond and Thonnat, WACV 2020. The accuracies depend on the base model (``python -m zoo global``).
    ::

        rgb, pose             ─► base model     ─► logits ──┐
                                                            ├─► sum ─► softmax [B,C]
        features_gG, pose_gG  ─► temporal model ─► logits ──┘

    The softmax of the sum of the logits is the product of the two softmaxes, divided by its sum over the classes. Both
    models are trained first, separately. In the global model, each is a layer that has its name (``vpn``,
    ``temporal``); :func:`zoo.transfer_weights` copies the trained model into it, classifier included.

    Args:
        num_classes: Number of classes C.
        base_model: The base model: ``i3d``, ``pi3d``, ``separable_sta`` or ``vpn``.
        base_model_options: Options of the base model that are not listed below, as a dictionary.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the backbones' number of filters; 1 is the published network.
        pose_steps: Steps tp of the base model's pose sequence.
        persons: Persons M in a pose.
        layout: Skeleton layout of the poses, a name in ``zoo.skeletons.LAYOUTS``.
        lstm_units: Size of the hidden vector of the base model's LSTMs.
        granularities: Numbers of segments. This and the options down to ``segment_frames`` are those of ``temporal``.
        feature_size: Values D of a segment's feature.
        segment_steps: Pose steps S of a segment.
        gru_units: Size of the hidden vector of the GRUs over features.
        pose_units: Size of the hidden vector of the GRUs over poses and over segments.
        segment_attention: Whether segments are weighted by attention.
        granularity_attention: Whether granularities are weighted by attention.
        granularity_pooling: How granularities are joined without attention.
        backbone: Network that computes the features from ``rgb``; ``None``: features are an input. With a backbone,
            both models take the same frames and poses; ``frames`` and ``pose_steps`` must be multiples of every
            granularity.
        segment_frames: Frames of a segment for the backbone.
        dropout: Rate of all dropout layers in both models; 0 by default, as both models are already trained.

    Returns:
        A ``tf.keras.Model``: the inputs of both models -> softmax ``[B, C]``. Attention layers are those of both.

    Raises:
        ZooError: A value that an option does not take, or options that the base model or ``temporal`` refuses.

    Example:
        >>> import zoo
        >>> small = {"frames": 8, "size": 32, "width": 0.125, "feature_size": 128}
        >>> model = zoo.build("global", num_classes=4, base_model="i3d", granularities=(2, 3), **small)
        >>> sorted(model.input)
        ['features_g2', 'features_g3', 'pose_g2', 'pose_g3', 'rgb']
    """
    shared = {
        "frames": frames,
        "size": size,
        "width": width,
        "pose_steps": pose_steps,
        "persons": persons,
        "joints": skeletons.get(layout).num_joints,
        "layout": layout,
        "lstm_units": lstm_units,
        "dropout": dropout,
        "lstm_dropout": dropout,
    }
    parts = [score_product.chosen_part("base_model", "global", base_model, num_classes, shared, base_model_options)]
    segments = {
        "granularities": granularities,
        "feature_size": feature_size,
        "segment_steps": segment_steps,
        "gru_units": gru_units,
        "pose_units": pose_units,
        "segment_attention": segment_attention,
        "granularity_attention": granularity_attention,
        "granularity_pooling": granularity_pooling,
        "backbone": backbone,
        "segment_frames": segment_frames,
    }
    parts.append(score_product.part("temporal", num_classes, {**shared, **segments}))
    inputs, logits = score_product.logits_of(parts)
    return score_product.product("global", inputs, logits)
