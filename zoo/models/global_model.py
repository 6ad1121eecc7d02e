"""Global model: a temporal model and its basic model, fused by their scores (Das et al., WACV 2020)."""

import tensorflow as tf

from zoo import checks, factory, registry, skeletons
from zoo.checks import ZooError, check_choice
from zoo.models.temporal import FEATURE_SIZE, GRANULARITIES
from zoo.registry import register

BASICS = ("i3d", "pi3d", "separable_sta", "vpn")
_FOLLOWS = {"joints": "layout", "lstm_dropout": "dropout"}  # options of basic models -> what of global they follow from
for _basic in BASICS:
    registry.get(_basic)  # a saved global model is read back with the layers of its basic model


def _part(name, num_classes, options):
    """A model up to its logits, as a layer that bears its name."""
    model = factory.build(name, num_classes=num_classes, **options)
    return tf.keras.Model(model.input, model.get_layer("logits").output, name=name)


@register(
    name="global",
    paper="WACV20",
    reported={
        "smarthome/cs": 62.6,
        "smarthome/cv2": 55.5,
        "ntu60/cs": 94.1,
        "ntu60/cv": 96.5,
        "ntu120/cs1": 87.5,
        "ntu120/cs2": 89.0,
        "nucla/v3_12": 93.7,
    },
)
def global_model(
    num_classes,
    *,
    basic="vpn",
    basic_options=None,
    frames=64,
    size=224,
    width=1.0,
    pose_steps=20,
    persons=1,
    layout="kinect_v2_25",
    lstm_units=512,
    granularities=GRANULARITIES,
    feature_size=FEATURE_SIZE,
    segment_steps=5,
    gru_units=512,
    pose_units=150,
    segment_attention=True,
    granularity_attention=True,
    backbone=None,
    segment_frames=64,
    dropout=0.0,
):
    """Global model: the product of the scores of a temporal model and of its basic model.

    Das, Bremond and Thonnat, WACV 2020, section 3; the reported figures are with VPN as the basic model.
    ::

        rgb, pose             ─► basic model    ─► logits ──┐
                                                            ├─► sum ─► softmax [B,C]
        features_gG, pose_gG  ─► temporal model ─► logits ──┘

    The softmax of the sum of the logits is the product of the two softmaxes, divided by its sum over the classes. Both
    models are trained before; each is a layer of its name (``vpn``, ``temporal``) here, and
    :func:`zoo.transfer_weights` copies a trained one into it, its classifier included.

    Args:
        num_classes: Number of classes C.
        basic: The basic model: ``i3d``, ``pi3d``, ``separable_sta`` or ``vpn``.
        basic_options: Its options that are not among those below, as a dictionary.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the backbones' number of filters; 1 is the published network.
        pose_steps: Steps tp of the basic model's pose sequence.
        persons: Persons M in a pose.
        layout: Skeleton layout of the poses, a name in ``zoo.skeletons.LAYOUTS``.
        lstm_units: Size of the hidden vector of the basic model's LSTMs.
        granularities: As of ``temporal``, like all below.
        feature_size: Values D of a segment's feature.
        segment_steps: Pose steps S of a segment.
        gru_units: Size of the hidden vector of the GRUs over features.
        pose_units: Size of the hidden vector of the GRUs over poses and over segments.
        segment_attention: Whether segments are weighted by attention.
        granularity_attention: Whether granularities are.
        backbone: Network that makes features of ``rgb``; none: features are an input. With it both models see the same
            frames and poses, whose numbers are multiples of every granularity.
        segment_frames: Frames of a segment that the backbone sees.
        dropout: Of all dropout in both models, for training on; they come trained.

    Returns:
        A ``tf.keras.Model``: the inputs of both models -> softmax ``[B, C]``. Attention layers are those of both.

    Raises:
        ZooError: Unknown ``basic`` or layout, options that the basic model does not have, or what the two models
            themselves refuse.

    Example:
        >>> import zoo
        >>> small = {"frames": 8, "size": 32, "width": 0.125}
        >>> model = zoo.build("global", num_classes=4, basic="i3d", granularities=(2, 3), feature_size=128, **small)
        >>> sorted(model.input)
        ['features_g2', 'features_g3', 'pose_g2', 'pose_g3', 'rgb']
    """
    check_choice("basic", basic, BASICS)
    given = {
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
    valid = registry.options(basic)
    own = basic_options or {}
    for option in own:
        if option in _FOLLOWS:
            raise ZooError(f"basic_options: {option} follows from {_FOLLOWS[option]} of global, set that")
        if option in given:
            raise ZooError(f"basic_options: {option} is an option of global itself, give it there")
    checks.check_options(basic, own, valid)
    parts = [_part(basic, num_classes, {**{o: v for o, v in given.items() if o in valid}, **own})]
    segments = {
        "granularities": granularities,
        "feature_size": feature_size,
        "segment_steps": segment_steps,
        "gru_units": gru_units,
        "pose_units": pose_units,
        "segment_attention": segment_attention,
        "granularity_attention": granularity_attention,
        "backbone": backbone,
        "segment_frames": segment_frames,
    }
    shared = {option: value for option, value in given.items() if option in registry.options("temporal")}
    parts.append(_part("temporal", num_classes, {**shared, **segments}))
    tensors = {name: tensor for part in parts for name, tensor in part.input.items()}
    inputs = {name: tf.keras.Input(tuple(tensor.shape[1:]), name=name) for name, tensor in tensors.items()}
    logits = [part({name: inputs[name] for name in part.input}) for part in parts]  # twice [B, C]
    logits = tf.keras.layers.Add(dtype="float32", name="logits")(logits)
    predictions = tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(logits)
    return tf.keras.Model(inputs, predictions, name="global")
