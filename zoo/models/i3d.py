"""I3D: the Inception-v1 network inflated to three dimensions (Carreira and Zisserman, CVPR 2017)."""

from typing import Optional

import tensorflow as tf

from zoo import skeletons
from zoo.checks import Exponent, Multiplier, Rate, Size, Weight, check_minimum
from zoo.layers import Dropout, PenalizedSoftmax, power_normalised
from zoo.papers import Row
from zoo.registry import register

# Filters of every Inception block: branch 0 (1x1x1), branch 1 (1x1x1, 3x3x3), branch 2 (1x1x1, 3x3x3), branch 3
# (1x1x1 after pooling). Names are those of the published network.
_INCEPTION = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# With Keras's 0.99 the initial statistics still count after hundreds of steps: too long for small datasets.
BN_MOMENTUM = 0.9
_LAST_BLOCKS = ("Mixed_5b", "Mixed_5c")


def unit(x: tf.Tensor, filters: int, kernel: int, *, stride: int = 1, name: str) -> tf.Tensor:
    """Convolution, batch normalisation without scale, ReLU: the network's unit (``Unit3D``).

    Args:
        x: ``[B, T, H, W, C]``.
        filters: Output channels.
        kernel: Kernel size, in all three dimensions.
        stride: Stride, in all three dimensions.
        name: Prefix of the layers' names.

    Returns:
        ``[B, T / stride, H / stride, W / stride, filters]``.
    """
    x = tf.keras.layers.Conv3D(filters, kernel, stride, "same", use_bias=False, name=f"{name}.conv_3d")(x)
    x = tf.keras.layers.BatchNormalization(scale=False, momentum=BN_MOMENTUM, name=f"{name}.batch_norm")(x)
    return tf.keras.layers.Activation("relu", name=f"{name}.relu")(x)


def _max_pool(x, window, stride, name):
    return tf.keras.layers.MaxPooling3D(window, stride, "same", name=name)(x)


def inception(x: tf.Tensor, name: str, width: float, prefix: str = "") -> tf.Tensor:
    """One Inception block: four parallel branches, concatenated (I3D17 figure 3, right).

    Args:
        x: ``[B, T, H, W, C]``.
        name: Name of the block; its filters follow from it.
        width: Multiplier of the number of filters.
        prefix: Put before the layers' names.

    Returns:
        ``[B, T, H, W, filters]``.
    """
    f0, f1a, f1b, f2a, f2b, f3 = (scaled(filters, width) for filters in _INCEPTION[name])
    name = prefix + name
    # The published checkpoint calls the second unit of this one branch Conv3d_0a_3x3.
    last = "Conv3d_0a_3x3" if name.endswith("Mixed_5b") else "Conv3d_0b_3x3"
    branches = [
        unit(x, f0, 1, name=f"{name}.Branch_0.Conv3d_0a_1x1"),
        unit(unit(x, f1a, 1, name=f"{name}.Branch_1.Conv3d_0a_1x1"), f1b, 3, name=f"{name}.Branch_1.Conv3d_0b_3x3"),
        unit(unit(x, f2a, 1, name=f"{name}.Branch_2.Conv3d_0a_1x1"), f2b, 3, name=f"{name}.Branch_2.{last}"),
        unit(_max_pool(x, 3, 1, f"{name}.Branch_3.MaxPool3d_0a_3x3"), f3, 1, name=f"{name}.Branch_3.Conv3d_0b_1x1"),
    ]
    return tf.keras.layers.Concatenate(name=name)(branches)


def scaled(filters: int, width: float) -> int:
    """Number of filters at a width multiplier, at least 1."""
    return max(1, round(filters * width))


def feature_map(rgb: tf.Tensor, *, width: float = 1.0, prefix: str = "", without: int = 0) -> tf.Tensor:
    """The network up to Mixed_5c.

    Args:
        rgb: ``[B, T, H, W, 3]`` in [-1, 1].
        width: Multiplier of the number of filters.
        prefix: Put before the layers' names, for models with several towers.
        without: Number of last Inception blocks to leave out: 0, 1 or 2.

    Returns:
        The feature map g, ``[B, T / 8, H / 32, W / 32, 1024 * width]``.
    """

    def name(endpoint):
        return prefix + endpoint

    x = unit(rgb, scaled(64, width), 7, stride=2, name=name("Conv3d_1a_7x7"))  # [B, T/2, H/2, W/2, 64]
    x = _max_pool(x, (1, 3, 3), (1, 2, 2), name("MaxPool3d_2a_3x3"))  # [B, T/2, H/4, W/4, 64]
    x = unit(x, scaled(64, width), 1, name=name("Conv3d_2b_1x1"))
    x = unit(x, scaled(192, width), 3, name=name("Conv3d_2c_3x3"))
    x = _max_pool(x, (1, 3, 3), (1, 2, 2), name("MaxPool3d_3a_3x3"))  # [B, T/2, H/8, W/8, 192]
    for block in ("Mixed_3b", "Mixed_3c"):
        x = inception(x, block, width, prefix)
    x = _max_pool(x, 3, 2, name("MaxPool3d_4a_3x3"))  # [B, T/4, H/16, W/16, 480]
    for block in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
        x = inception(x, block, width, prefix)
    x = _max_pool(x, 2, 2, name("MaxPool3d_5a_2x2"))  # [B, T/8, H/32, W/32, 832]
    for block in _LAST_BLOCKS[: len(_LAST_BLOCKS) - without]:
        x = inception(x, block, width, prefix)
    return x  # [B, T/8, H/32, W/32, 1024]


def last_blocks(x: tf.Tensor, count: int, *, width: float = 1.0, prefix: str = "") -> tf.Tensor:
    """The last ``count`` Inception blocks, which :func:`feature_map` leaves out with ``without=count``."""
    for block in _LAST_BLOCKS[len(_LAST_BLOCKS) - count :]:
        x = inception(x, block, width, prefix)
    return x


def grid_side(size: int) -> int:
    """Positions m = n of the feature map of a square of ``size`` pixels: five strides of 2, each rounded up."""
    return -(-size // 32)


def pool(features: tf.Tensor, side: Optional[int] = None) -> tf.Tensor:
    """The pooled map that I3D classifies: average pool 2x7x7, stride 1; ``[B, t - 1, 1, 1, c]`` for 7x7 positions.

    Args:
        features: ``[B, t, m, n, c]``.
        side: Positions m = n for the square that the network was built for, if the map can be of any size.
    """
    _, t, m, n, _ = features.shape
    m, n = (m, n) if side is None else (side, side)
    window = (min(2, t), min(7, m), min(7, n))
    return tf.keras.layers.AveragePooling3D(window, 1, "valid", name="average_pool")(features)


def head(
    features: tf.Tensor,
    num_classes: int,
    dropout: float,
    kernel_regularizer: Optional[tf.keras.regularizers.Regularizer] = None,
    activity_l1: float = 0.0,
    side: Optional[int] = None,
    feature_power: float = 1.0,
) -> tf.Tensor:
    """Classifies a feature map as I3D does: average pool 2x7x7, dropout, 1x1x1 convolution, mean over time.

    Args:
        features: ``[B, t, m, n, c]``.
        num_classes: Number of classes C.
        dropout: Dropout rate of the pooled features.
        kernel_regularizer: Penalty on the classifier's weights.
        activity_l1: Weight of an L1 penalty on the softmax, see :class:`zoo.layers.PenalizedSoftmax`.
        side: As for :func:`pool`.
        feature_power: Exponent of the pooled features.

    Returns:
        Softmax ``[B, C]`` float32. The network is fully convolutional: a map larger than the pool gives several scores,
        whose mean is taken.
    """
    x = pool(features, side)
    x = power_normalised(x, feature_power)
    x = Dropout(dropout, name="dropout")(x)
    x = tf.keras.layers.Conv3D(num_classes, 1, kernel_regularizer=kernel_regularizer, name="classifier")(x)
    x = tf.keras.layers.GlobalAveragePooling3D(dtype="float32", name="logits")(x)  # [B, C]
    if activity_l1:
        return PenalizedSoftmax(activity_l1, name="predictions")(x)
    return tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(x)


def regularized_head(
    features: tf.Tensor,
    num_classes: int,
    dropout: float,
    classifier_l2: float,
    classifier_l1: float,
    side: Optional[int] = None,
    feature_power: float = 1.0,
) -> tf.Tensor:
    """:func:`head` with the penalties of fine-tuning: ``classifier_l2`` * ||W||^2 and ``classifier_l1`` * ||p||_1.

    Returns:
        Softmax p, ``[B, C]`` float32.
    """
    l2 = tf.keras.regularizers.L2(classifier_l2) if classifier_l2 else None
    return head(features, num_classes, dropout, l2, classifier_l1, side, feature_power)


def video_input(frames: int, size: int, part: str = "full_body", any_size: bool = False) -> tf.Tensor:
    """The input of a video model for a body part: ``[B, frames, size, size, 3]``, or of any height and width."""
    check_minimum(8, frames=frames)
    check_minimum(32, size=size)
    side = None if any_size else size
    return tf.keras.Input((frames, side, side, 3), name=skeletons.input_name(part))


@register(
    paper="I3D17",
    reported=[
        Row(
            {
                "smarthome/cs": 53.4,
                "smarthome/cv1": 34.9,
                "smarthome/cv2": 45.1,
                "ntu60/cs": 85.5,
                "ntu60/cv": 87.3,
                "ntu120/cs1": 77.0,
                "ntu120/cs2": 80.1,
            }
        ),
        Row({"nucla/v3_12": 86.0}, of="without NTU-60", when={"pretrained_on": None}),
        Row({"nucla/v3_12": 88.8}, of="after NTU-60", when={"pretrained_on": "ntu60"}),
    ],
)
def i3d(
    num_classes: int,
    *,
    frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    dropout: Rate = 0.5,
    classifier_l2: Weight = 0.0,
    classifier_l1: Weight = 0.0,
    feature_power: Exponent = 1.0,
    fully_convolutional: bool = False,
) -> tf.keras.Model:
    """I3D: Inception-v1 inflated to three dimensions, RGB stream.

    Carreira and Zisserman, CVPR 2017, section 2.4 and figure 3. Layers have the published names, "/" replaced by ".".
    ::

        rgb [B,T,H,W,3] ─► Conv3d_1a .. Mixed_5c ─► g [B,T/8,H/32,W/32,1024] ─► average pool 2x7x7 ─► dropout
                                                          ─► 1x1x1 convolution ─► mean ─► softmax [B,C]

    The head is that of I3D17: scores of all steps are averaged. (PhD20 section 4.2 flattens them and adds a dense
    softmax; the published weights have no such layer.) The training loss gains ``classifier_l2`` * ||W||^2, W the
    classifier's kernel, and ``classifier_l1`` times the L1 norm of the softmax, which is 1. PhD20 fine-tunes with
    0.001 and 0 on NTU RGB+D (section 4.6.1), and with 0.01 and 0.01 on Smarthome (table 6.7), where the dropout is 0.2
    (cs) or 0.5 (cv1, cv2).

    Args:
        num_classes: Number of classes C.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the number of filters; 1 is the published network.
        dropout: Dropout rate of the pooled features.
        classifier_l2: Weight of the L2 penalty on the classifier's kernel.
        classifier_l1: Weight of the L1 penalty on the softmax.
        feature_power: Exponent of the pooled features. I3D uses 1. With 0.5, power normalisation (Perronnin, Sanchez,
            Mensink, ECCV 2010), a classifier trained on frozen features is better (docs/datasets/jhmdb.md).
        fully_convolutional: Take pictures of any height and width of at least ``size``: scores are averaged over all
            positions of the pooling window, which stays that for ``size``. See :func:`zoo.fully_convolutional`.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3]}`` in [-1, 1] -> softmax ``[B, C]``.

    Raises:
        ZooError: ``frames`` or ``size`` is too small for the network's strides.

    Example:
        >>> import zoo
        >>> zoo.build("i3d", num_classes=10, frames=16, size=64, width=0.25).output_shape
        (None, 10)
    """
    rgb = video_input(frames, size, any_size=fully_convolutional)
    features, side = feature_map(rgb, width=width), grid_side(size)
    predictions = regularized_head(features, num_classes, dropout, classifier_l2, classifier_l1, side, feature_power)
    return tf.keras.Model({"rgb": rgb}, predictions, name="i3d")
