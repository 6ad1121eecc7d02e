"""Late fusion: a network of video and a network of poses, fused by their scores (Kittler et al., 1998)."""

from typing import Any, Literal, Optional, get_args

import tensorflow as tf

from zoo import registry, score_product, skeletons
from zoo.checks import Layout, Multiplier, Rate, Size, Weight
from zoo.layers import where_posed
from zoo.registry import register

VideoModel = Literal["i3d", "pi3d", "separable_sta", "vpn"]
PoseModel = Literal["pose_gcn", "pose_lstm", "pose_cnn"]
for _name in (*get_args(VideoModel), *get_args(PoseModel)):
    registry.get(_name)  # registers the layers of all these models: a saved model contains those of two

_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


@_serializable
class WeightedLogits(tf.keras.layers.Layer):
    """Logits times a weight; for a clip without a pose zeros, which leave the decision to the other logits.

    Args:
        weight: The weight.

    Call arguments:
        inputs: Logits ``[B, C]`` and the poses they are made of, ``[B, ...]``.

    Returns:
        ``[B, C]`` float32.
    """

    def __init__(self, weight: float, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs: Any) -> Any:
        """The weighted logits."""
        logits, pose = inputs
        return self.weight * where_posed(logits, [pose])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the logits."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "weight": self.weight}


@register(paper="Kittler, Hatef, Duin, Matas. On combining classifiers. IEEE TPAMI 20(3), 1998")
def late_fusion(
    num_classes: int,
    *,
    video_model: VideoModel = "i3d",
    video_model_options: Optional[dict] = None,
    pose_model: PoseModel = "pose_gcn",
    pose_model_options: Optional[dict] = None,
    pose_weight: Weight = 1.0,
    frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    pose_steps: Size = 24,
    persons: Size = 1,
    layout: Layout = "kinect_v2_25",
    dropout: Rate = 0.0,
) -> tf.keras.Model:
    """Late fusion: the product of the scores of a network of video and a network of poses.

    The product rule of Kittler et al. (IEEE TPAMI 1998), with equal prior probabilities of all classes. Of all models
    that were tried on JHMDB it is the most accurate (docs/datasets/jhmdb.md).
    ::

        rgb  [B,T,H,W,3]   ─► network of video ─► logits ────────────────┐
                                                                         ├─► sum ─► softmax [B,C]
        pose [B,tp,M,J,3]  ─► network of poses ─► logits ─► pose_weight ─┘

    The softmax of the sum of the logits is the product of the two softmaxes, the second to the power of
    ``pose_weight``, divided by its sum over the classes. A clip without a pose (all zeros) is decided by its video
    alone. Both networks are trained first, separately. In this model, each is a layer that has its name (``i3d``,
    ``pose_gcn``); :func:`zoo.transfer_weights` copies the trained network into it, classifier included.

    Args:
        num_classes: Number of classes C.
        video_model: The network of video: ``i3d``, ``pi3d``, ``separable_sta`` or ``vpn``.
        video_model_options: Options of the network of video that are not listed below, as a dictionary.
        pose_model: The network of poses: ``pose_gcn``, ``pose_lstm`` or ``pose_cnn``.
        pose_model_options: Options of the network of poses that are not listed below, as a dictionary. They include its
            ``width``: the ``width`` below is not for it.
        pose_weight: Weight of the logarithm of the poses' scores.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the number of filters of the network of video; 1 is the published network.
        pose_steps: Steps tp of a pose sequence.
        persons: Persons M in a pose.
        layout: Skeleton layout of the poses, a name in ``zoo.skeletons.LAYOUTS``.
        dropout: Rate of all dropout layers in both networks; 0 by default, as both networks are already trained.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3], "pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``. With
        ``pi3d`` it has an input for each body part. Attention layers are those of the network of video.

    Raises:
        ZooError: A value that an option does not take, or options that one of the networks refuses.

    Example:
        >>> import zoo
        >>> model = zoo.build("late_fusion", num_classes=4, frames=8, size=32, width=0.125, layout="kinect_v1_20")
        >>> {name: tuple(tensor.shape[1:]) for name, tensor in model.input.items()}
        {'rgb': (8, 32, 32, 3), 'pose': (24, 1, 20, 3)}
    """
    joints = skeletons.get(layout).num_joints
    dropouts = {"dropout": dropout, "lstm_dropout": dropout}
    poses = {"pose_steps": pose_steps, "persons": persons, "joints": joints, "layout": layout, **dropouts}
    video = {"frames": frames, "size": size, "width": width, **poses}
    parts = [
        score_product.chosen_part("video_model", "late_fusion", video_model, num_classes, video, video_model_options),
        score_product.chosen_part("pose_model", "late_fusion", pose_model, num_classes, poses, pose_model_options),
    ]
    inputs, (of_video, of_poses) = score_product.logits_of(parts)
    of_poses = WeightedLogits(pose_weight, name="weighted_logits")([of_poses, inputs["pose"]])
    return score_product.product("late_fusion", inputs, [of_video, of_poses])
