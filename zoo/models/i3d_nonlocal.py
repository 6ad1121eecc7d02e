"""I3D with a non-local block (Wang et al., CVPR 2018)."""

import tensorflow as tf

from zoo.checks import Exponent, Multiplier, Rate, Size, Weight
from zoo.layers import Unflattened
from zoo.models import i3d
from zoo.registry import register


def nonlocal_block(x: tf.Tensor, name: str = "nonlocal") -> tf.Tensor:
    """Embedded-Gaussian non-local block: every position of the map attends to every other (NL18 section 3.2, figure 2).

    z = x + BN(W softmax(theta(x)^T phi(x)) g(x)), with half the channels inside. The scale of BN starts at zero, so
    the block starts as the identity and can be put into a trained network (NL18 section 4.1).

    Args:
        x: ``[B, t, m, n, c]``.
        name: Prefix of the layers' names.

    Returns:
        ``[B, t, m, n, c]``.
    """
    _, t, m, n, channels = x.shape
    inner = max(1, channels // 2)

    def embedded(embedding):
        y = tf.keras.layers.Conv3D(inner, 1, name=f"{name}.{embedding}")(x)
        return tf.keras.layers.Reshape((-1, inner), name=f"{name}.{embedding}_places")(y)  # [B, tmn, c/2]

    # Attention's arguments are query, value, key; like all attention it stays float32 under mixed precision.
    attention = tf.keras.layers.Attention(dtype="float32", name=f"{name}.softmax")
    y = attention([embedded("theta"), embedded("g"), embedded("phi")])
    if m is None:  # pictures of any size
        y = Unflattened(name=f"{name}.map")([y, x])
    else:
        y = tf.keras.layers.Reshape((t, m, n, inner), name=f"{name}.map")(y)
    y = tf.keras.layers.Conv3D(channels, 1, name=f"{name}.w")(y)
    y = tf.keras.layers.BatchNormalization(
        momentum=i3d.BN_MOMENTUM, gamma_initializer="zeros", name=f"{name}.batch_norm"
    )(y)
    return tf.keras.layers.Add(name=name)([x, y])


@register(
    paper="NL18",
    reported={"smarthome/cs": 53.6, "smarthome/cv1": 34.3, "smarthome/cv2": 43.9},
)
def i3d_nonlocal(
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
    """I3D + non-local: I3D with one non-local block after its last Inception block.

    Wang et al., CVPR 2018, on I3D (Carreira and Zisserman, CVPR 2017); the baseline of ICCV19 and ECCV20.
    ::

        rgb [B,T,H,W,3] ─► I3D ─► g [B,t,m,n,c] ─► non-local block ─► head of I3D ─► softmax [B,C]

    Args:
        num_classes: Number of classes C.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the number of filters; 1 is the published network.
        dropout: Dropout rate of the pooled features.
        classifier_l2: Weight of the L2 penalty on the classifier's kernel, as in ``i3d``.
        classifier_l1: Weight of the L1 penalty on the softmax, as in ``i3d``.
        feature_power: Exponent of the pooled features, as in ``i3d``.
        fully_convolutional: Take pictures of any height and width, as in ``i3d``.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3]}`` in [-1, 1] -> softmax ``[B, C]``.

    Raises:
        ZooError: ``frames`` or ``size`` is too small for the network's strides.

    Example:
        >>> import zoo
        >>> zoo.build("i3d_nonlocal", num_classes=10, frames=16, size=64, width=0.25).output_shape
        (None, 10)
    """
    rgb = i3d.video_input(frames, size, any_size=fully_convolutional)
    features = nonlocal_block(i3d.feature_map(rgb, width=width))
    predictions = i3d.regularized_head(
        features, num_classes, dropout, classifier_l2, classifier_l1, i3d.grid_side(size), feature_power
    )
    return tf.keras.Model({"rgb": rgb}, predictions, name="i3d_nonlocal")
