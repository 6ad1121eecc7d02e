"""How much a model computes and keeps for one clip, counted from its layers."""

import math

import tensorflow as tf

from zoo import layers


def _dense(layer):
    """Every value of the kernel is used at every position of the output."""
    return math.prod(layer.output.shape[1:-1]) * math.prod(layer.weights[0].shape)


def _recurrent(layer):
    """The input's and the recurrent kernel are used at every step."""
    return layer.input.shape[1] * sum(math.prod(kernel.shape) for kernel in layer.weights[:2])


def _attention(layer):
    """Scores of all pairs of positions, then the weighted sum."""
    _, positions, channels = layer.input[0].shape
    return 2 * positions * positions * channels


# For Keras's layers; the zoo's own layers have a method multiply_accumulates().
_KERAS = {
    tf.keras.layers.Dense: _dense,
    tf.keras.layers.Conv1D: _dense,
    tf.keras.layers.Conv2D: _dense,
    tf.keras.layers.Conv3D: _dense,
    tf.keras.layers.DepthwiseConv2D: _dense,
    tf.keras.layers.LSTM: _recurrent,
    tf.keras.layers.GRU: _recurrent,
    tf.keras.layers.Attention: _attention,
}


def multiply_accumulates(model: tf.keras.Model) -> int:
    """Multiplications (each with an addition) that an inference on one clip takes.

    Convolutions, linear and recurrent layers, graph convolutions and attention are counted. As usual, operations on
    single values are not: activations, pooling, and normalisation, which an export folds into the convolutions.

    Args:
        model: A model of this zoo.

    Returns:
        The number.

    Example:
        >>> import zoo
        >>> round(multiply_accumulates(zoo.build("i3d", num_classes=400)) / 1e9, 2)
        111.15
    """
    return sum(_layer(layer, model) for layer in model.layers)


def _layer(layer, model):
    """Multiply-accumulates of one layer."""
    if layers.is_network(layer):
        return _runs(model) * multiply_accumulates(layer)
    if hasattr(layer, "multiply_accumulates"):
        return layer.multiply_accumulates()
    count = next((_KERAS[kind] for kind in type(layer).__mro__ if kind in _KERAS), None)
    return count(layer) if count else 0


def _runs(model):
    """How often a network inside a model runs for a clip: once, or once per frame or segment."""
    return next((layer.frames for layer in model.layers if isinstance(layer, layers.FramesFromBatch)), 1)


def parameters(model: tf.keras.Model, *, head: bool = True, training_only: bool = True) -> int:
    """Number of a model's weights, batch-normalisation statistics included.

    Args:
        model: A model of this zoo.
        head: Count the classifier, whose size depends on the classes.
        training_only: Count weights that only the training loss depends on, such as VPN's embedding.

    Returns:
        The number.

    Example:
        >>> import zoo
        >>> parameters(zoo.build("i3d", num_classes=60), head=False)
        12294544
    """
    return sum(
        layer.count_params()
        for layer in layers.every_layer(model)
        if (head or not layers.is_head(layer)) and (training_only or not getattr(layer, "for_training_only", False))
    )


def activation_bytes(model: tf.keras.Model) -> int:
    """Bytes of all layers' outputs for one clip in float32, which a training step keeps for the backward pass."""
    total = 0
    for layer in model.layers:
        if layers.is_network(layer):
            total += _runs(model) * activation_bytes(layer)
        elif not isinstance(layer, layers.FramesAsBatch):
            # An output without a batch axis, such as a skeleton's graph, is no activation.
            outputs = layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
            total += sum(4 * math.prod(output.shape[1:]) for output in outputs if output.shape[0] is None)
    return total
