"""How much a model computes and keeps for one clip, counted from its layers."""

import math

import tensorflow as tf

from zoo import layers
from zoo.models import pose_gcn, sta_hands

_CONVOLUTIONS = (
    tf.keras.layers.Conv1D,
    tf.keras.layers.Conv2D,
    tf.keras.layers.Conv3D,
    tf.keras.layers.DepthwiseConv2D,
    layers.GroupedConv3D,
)


def multiply_accumulates(model):
    """Multiplications (each with an addition) that an inference on one clip takes.

    Convolutions, linear and recurrent layers, graph convolutions and attention are counted; what is done once per value
    (activations, pooling, normalisation, which an export folds into the convolutions) is not, as usual.

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
    matrices = [math.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1]
    if isinstance(layer, (*_CONVOLUTIONS, tf.keras.layers.Dense)):
        return math.prod(layer.output.shape[1:-1]) * matrices[0]  # the kernel is used at every place
    if isinstance(layer, (tf.keras.layers.LSTM, tf.keras.layers.GRU)):
        kernels = matrices[:2]  # a GRU's bias is a matrix too
        return layer.input.shape[1] * sum(kernels)  # input and recurrent kernel at every step
    if isinstance(layer, sta_hands.GlimpseLSTM):
        (_, steps, glimpses, channels), *_ = (tensor.shape for tensor in tf.nest.flatten(layer.input))
        return steps * (sum(matrices) + glimpses * channels)  # attention and LSTM, and the weighted sum of glimpses
    if isinstance(layer, layers.PoseScores):
        return sum(matrices)
    if isinstance(layer, tf.keras.layers.Attention):
        _, places, channels = layer.input[0].shape
        return 2 * places * places * channels  # scores of all pairs, then the weighted sum
    if type(layer).__name__ == "GraphConvolution":  # its module needs spektral, which other models do not
        nodes, filters = layer.output.shape[1:]
        return nodes * matrices[0] + nodes * nodes * filters
    if isinstance(layer, pose_gcn.SkeletonConvolution):
        return layer.multiply_accumulates()
    if isinstance(layer, tf.keras.Model):
        return _runs(model) * multiply_accumulates(layer)
    return 0


def _runs(model):
    """How often a network inside a model runs for a clip: once, or for each of the frames or segments it is given."""
    return next((layer.frames for layer in model.layers if isinstance(layer, layers.FramesFromBatch)), 1)


def parameters(model, *, head=True, training_only=True):
    """Number of a model's weights, batch-normalisation statistics included.

    Args:
        model: A model of this zoo.
        head: Count the classifier, whose size depends on the classes.
        training_only: Count what only a term of the training loss depends on, such as VPN's embedding.

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


def activation_bytes(model):
    """Bytes of all layers' outputs for one clip in float32: what a training step keeps for the backward pass."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            total += _runs(model) * activation_bytes(layer)
        elif not isinstance(layer, layers.FramesAsBatch):
            # What has no batch axis, such as a skeleton's graph, is no activation.
            outputs = layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
            total += sum(4 * math.prod(output.shape[1:]) for output in outputs if output.shape[0] is None)
    return total
