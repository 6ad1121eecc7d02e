"""3D ResNeXt-101 (Hara, Kataoka and Satoh, CVPR 2018)."""

import tensorflow as tf

from zoo.checks import Multiplier, Rate, Size
from zoo.layers import Dropout, GroupedConv3D, classify
from zoo.models import i3d
from zoo.registry import register

CARDINALITY = 32
EXPANSION = 2
BLOCKS = (3, 4, 23, 3)  # of the four stages (R3D18 table 1)
_FILTERS = (128, 256, 512, 1024)  # inner channels of the four stages


def _normalise(x, name, relu=True):
    x = tf.keras.layers.BatchNormalization(momentum=i3d.BN_MOMENTUM, epsilon=1e-5, name=f"{name}.batch_norm")(x)
    return tf.keras.layers.Activation("relu", name=f"{name}.relu")(x) if relu else x


def _block(x, filters, stride, name):
    """Bottleneck with a grouped convolution and a projection where the shape changes (shortcut B)."""
    y = tf.keras.layers.Conv3D(filters, 1, use_bias=False, name=f"{name}.conv_1")(x)
    y = _normalise(y, f"{name}.conv_1")
    y = GroupedConv3D(filters, 3, CARDINALITY, strides=stride, name=f"{name}.conv_2")(y)
    y = _normalise(y, f"{name}.conv_2")
    y = tf.keras.layers.Conv3D(filters * EXPANSION, 1, use_bias=False, name=f"{name}.conv_3")(y)
    y = _normalise(y, f"{name}.conv_3", relu=False)
    if stride > 1 or x.shape[-1] != filters * EXPANSION:
        x = tf.keras.layers.Conv3D(filters * EXPANSION, 1, stride, use_bias=False, name=f"{name}.shortcut")(x)
        x = _normalise(x, f"{name}.shortcut", relu=False)
    return tf.keras.layers.Activation("relu", name=name)(tf.keras.layers.Add(name=f"{name}.add")([x, y]))


def feature_map(rgb: tf.Tensor, *, width: float = 1.0, blocks: tuple[int, ...] = BLOCKS) -> tf.Tensor:
    """The network up to its last residual block.

    Args:
        rgb: ``[B, T, H, W, 3]`` in [-1, 1].
        width: Multiplier of the number of filters, rounded to a multiple of the cardinality.
        blocks: Residual blocks of each stage.

    Returns:
        ``[B, T / 16, H / 32, W / 32, 2048 * width]``.
    """
    x = tf.keras.layers.Conv3D(i3d.scaled(64, width), 7, (1, 2, 2), "same", use_bias=False, name="conv_1")(rgb)
    x = _normalise(x, "conv_1")  # [B, T, H/2, W/2, 64]
    x = tf.keras.layers.MaxPooling3D(3, 2, "same", name="max_pool")(x)  # [B, T/2, H/4, W/4, 64]
    for stage, (count, filters) in enumerate(zip(blocks, _FILTERS), start=1):
        filters = CARDINALITY * max(1, round(filters * width / CARDINALITY))
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _block(x, filters, stride, f"stage_{stage}.block_{block + 1}")
    return x  # [B, T/16, H/32, W/32, 2048]


def pool(features: tf.Tensor) -> tf.Tensor:
    """The mean of a feature map over time and space, ``[B, c]``."""
    return tf.keras.layers.GlobalAveragePooling3D(name="average_pool")(features)


def head(features: tf.Tensor, num_classes: int, dropout: float) -> tf.Tensor:
    """Mean over time and space, dropout, a linear classifier; softmax ``[B, C]`` float32."""
    x = Dropout(dropout, name="dropout")(pool(features))
    return classify(x, num_classes)


@register(paper="R3D18")
def resnext3d101(
    num_classes: int,
    *,
    frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    blocks: tuple[Size, Size, Size, Size] = BLOCKS,
    dropout: Rate = 0.0,
    fully_convolutional: bool = False,
) -> tf.keras.Model:
    """3D ResNeXt-101: residual network with grouped 3D convolutions, cardinality 32.

    Hara, Kataoka and Satoh, CVPR 2018, section 3.2; a backbone of VPN (ECCV20 table 5).
    ::

        rgb [B,T,H,W,3] ─► 7x7x7 ─► max pool ─► 3 + 4 + 23 + 3 blocks ─► g [B,T/16,H/32,W/32,2048] ─► mean
                                                                            ─► dropout ─► linear ─► softmax [B,C]

    Args:
        num_classes: Number of classes C.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the number of filters; 1 is the published network.
        blocks: Residual blocks of the four stages; the default makes the 101 layers.
        dropout: Dropout rate of the pooled features.
        fully_convolutional: Take pictures of any height and width, see :func:`zoo.fully_convolutional`.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3]}`` in [-1, 1] -> softmax ``[B, C]``.

    Raises:
        ZooError: ``frames`` or ``size`` is too small for the network's strides, or ``blocks`` is not four numbers.

    Example:
        >>> import zoo
        >>> zoo.build("resnext3d101", num_classes=10, frames=16, size=64, width=0.25).output_shape
        (None, 10)
    """
    rgb = i3d.video_input(frames, size, any_size=fully_convolutional)
    predictions = head(feature_map(rgb, width=width, blocks=blocks), num_classes, dropout)
    return tf.keras.Model({"rgb": rgb}, predictions, name="resnext3d101")
