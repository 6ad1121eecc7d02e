"""LRCN: a 2D CNN on every frame and an LSTM over its features (Donahue et al., CVPR 2015)."""

import os
from typing import Literal, Optional, Union

import tensorflow as tf

from zoo import factory
from zoo.checks import Rate, Size, ZooError, check_choice, check_minimum
from zoo.layers import FRAME_NETWORK, Dropout, FramesAsBatch, FramesFromBatch, classify, still_kernel
from zoo.models import i3d
from zoo.papers import Row
from zoo.registry import register
from zoo.shared import messages

Network = Literal["resnet50_v2", "resnet152_v2", "mobilenet_v2", "inception_v3", "inception_v1"]
STILL_I3D = "inception_v1"  # the network that I3D was inflated from; for a repeated still picture I3D is that network
# Networks of keras.applications for pixels in [-1, 1], and the smallest picture that each takes.
NETWORKS: dict[str, tuple[str, int]] = {
    "resnet50_v2": ("ResNet50V2", 32),
    "resnet152_v2": ("ResNet152V2", 32),
    "mobilenet_v2": ("MobileNetV2", 32),
    "inception_v3": ("InceptionV3", 75),
    STILL_I3D: ("", 32),  # not of keras.applications
}


def check_network(network: str, **size: int) -> None:
    """Raises :class:`ZooError` unless a network is known and its pictures are large enough for it.

    Args:
        network: A key of :data:`NETWORKS`.
        **size: Height and width of the pictures in pixels, by the name of the option that sets them.
    """
    check_choice("network", network, NETWORKS)
    _, smallest = NETWORKS[network]
    check_minimum(smallest, **size)


def frame_network(network: str, size: int, weights: Union[str, os.PathLike, None] = None) -> tf.keras.Model:
    """A 2D CNN for features of single pictures, without its classifier.

    Args:
        network: A key of :data:`NETWORKS`.
        size: Height and width of the pictures in pixels.
        weights: ``None``: random. ``"imagenet"``: those ``keras.applications`` downloads. Else the path of a file with
            weights of the network without its classifier. For ``inception_v1`` they are weights of an I3D, as
            :func:`zoo.build` takes them, such as ``"kinetics400"``: the features of a picture are then those of the I3D
            for a long video that repeats the picture.

    Returns:
        A ``tf.keras.Model``: ``[B, size, size, 3]`` in [-1, 1] -> ``[B, D]``, the mean over space of its last map. Its
        name is ``frame_network`` for every network, so that a recipe can freeze it by that name.

    Raises:
        ZooError: Unknown network, pictures too small for it, or weights that cannot be read.
    """
    check_network(network, size=size)
    if network == STILL_I3D:
        return _still_i3d(size, weights)
    application, _ = NETWORKS[network]
    try:
        cnn = getattr(tf.keras.applications, application)(
            include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg"
        )
    except Exception as error:  # a download that fails raises no narrower class in Keras
        if weights is None:
            raise
        reason = messages.one_line(error)
        raise ZooError(
            f"weights {str(weights)!r} of {network} cannot be read ({reason}), give the path of a weight file"
        ) from error
    for layer in cnn.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = i3d.BN_MOMENTUM
    return tf.keras.Model(cnn.input, cnn.output, name=FRAME_NETWORK)


def _still_i3d(size, weights):
    """I3D on one frame, to which only the middle step of each kernel applies; it holds the kernel's sum over time."""
    picture = tf.keras.Input((size, size, 3), name="picture")
    x = tf.keras.layers.Reshape((1, size, size, 3), name="one_frame")(picture)
    x = i3d.feature_map(x)  # [B, 1, m, n, 1024]
    x = tf.keras.layers.GlobalAveragePooling3D(name="average_pool")(x)
    cnn = tf.keras.Model(picture, x, name=FRAME_NETWORK)
    if weights is not None:
        trained = factory.build("i3d", num_classes=2, frames=8, size=32, weights=weights)
        for layer in cnn.layers:
            if layer.weights:
                layer.set_weights([still_kernel(value) for value in trained.get_layer(layer.name).get_weights()])
    return cnn


@register(
    paper="LRCN15",
    reported=[
        Row({"ntu60/cs": 71.3, "ntu60/cv": 80.2}, of="ResNet-50", source="BMVC18", when={"network": "resnet50_v2"}),
    ],
)
def lrcn(
    num_classes: int,
    *,
    frames: Size = 64,
    size: Size = 224,
    network: Network = "resnet50_v2",
    network_weights: Optional[str] = None,
    lstm_units: Size = 256,
    dropout: Rate = 0.5,
) -> tf.keras.Model:
    """LRCN: per-frame features of a 2D CNN, an LSTM over them.

    Donahue et al., CVPR 2015, section 3. PhD20 table 6.7 has one setting for each protocol of Smarthome: 256, 128 and
    128 units and a dropout of 0.5, 0.6 and 0.5 in cs, cv1 and cv2, gradients clipped at 1.
    ::

        rgb [B,T,H,W,3] ─► 2D CNN on each frame ─► mean over space [B,T,D] ─► LSTM ─► last step ─► softmax [B,C]

    Args:
        num_classes: Number of classes C.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32 (75 for ``inception_v3``).
        network: The 2D CNN, a network of ``keras.applications``: ``resnet50_v2``, ``resnet152_v2``,
            ``mobilenet_v2`` or ``inception_v3``; or ``inception_v1``, an I3D applied to single pictures.
        network_weights: Weights of the 2D CNN: ``None`` random, ``"imagenet"`` those ``keras.applications`` downloads,
            or the path of a file; for ``inception_v1`` those of an I3D, such as ``"kinetics400"``. A saved model
            contains them.
        lstm_units: Size of the LSTM's hidden vector.
        dropout: Dropout rate of the last hidden vector.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3]}`` in [-1, 1] -> softmax ``[B, C]``. The 2D CNN is its layer
        ``frame_network``.

    Raises:
        ZooError: Unknown ``network``, ``frames`` or ``size`` is too small, or weights that cannot be read.

    Example:
        >>> import zoo
        >>> zoo.build("lrcn", num_classes=10, frames=8, size=64, network="mobilenet_v2").output_shape
        (None, 10)
    """
    cnn = frame_network(network, size, network_weights)
    rgb = i3d.video_input(frames, size)
    x = cnn(FramesAsBatch(name="frames_as_batch")(rgb))  # [B * T, D]
    x = FramesFromBatch(frames, name="frames_from_batch")(x)  # [B, T, D]
    x = tf.keras.layers.LSTM(lstm_units, name="lstm")(x)  # [B, units]
    x = Dropout(dropout, name="dropout")(x)
    predictions = classify(x, num_classes)
    return tf.keras.Model({"rgb": rgb}, predictions, name="lrcn")
