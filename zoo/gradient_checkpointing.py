"""Gradient checkpointing: activations inside a video network's blocks are computed again in the backward pass.

A training step keeps the outputs of all layers until their gradients are computed; for a clip of 64 frames of 224 x 224
pixels, these outputs need most of the memory. With gradient checkpointing it keeps only the feature maps between the
blocks of the video network. Maps inside a block are computed again for the block's gradient, at the price of a second
forward pass (Chen et al., Training deep nets with sublinear memory cost, 2016, section 4).

A block of I3D is an Inception block, or the convolutions before a pooling. Layers, weights, their names and files are
unchanged: the blocks are found in the finished model. Blocks have no random part (dropout comes after the video
network), and batch normalisation updates its moving averages only in the first pass.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable

import tensorflow as tf

from zoo import layers
from zoo.checks import ZooError

_DROPOUTS = (layers.Dropout, tf.keras.layers.Dropout, tf.keras.layers.SpatialDropout3D)


def training_call(model: tf.keras.Model) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """A function that computes a model's outputs in training, with the activations of one block in memory at a time.

    Args:
        model: A model of this zoo for video: :func:`zoo.models.i3d.i3d`, ``resnext3d101`` or one built upon them.

    Returns:
        A function that replaces ``lambda features: model(features, training=True)``, with the same outputs, gradients,
        losses of layers and averages of batch normalisation. It saves memory inside a ``tf.function``.

    Raises:
        ZooError: The model has no video network among its own layers.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
        >>> training_call(model)({"rgb": tf.zeros((1, 8, 32, 32, 3))}).shape
        TensorShape([1, 4])
    """
    ends = block_ends(model)
    blocks = {
        name: [tf.keras.Model(start, end) for start, end in zip([model.input[name], *found], found)]
        for name, found in ends.items()
    }
    others = [name for name in model.input if name not in ends]
    beside, read = _beside(model, [model.input[name] for name in others])
    rest = tf.keras.Model([*(found[-1] for found in ends.values()), *read], model.output)

    def call(features):
        values = [functools.reduce(_run, blocks[name], features[name]) for name in blocks]
        if beside:
            values += tf.nest.flatten(beside([features[name] for name in others], training=True))
        return rest(values, training=True)

    return call


def _beside(model, others):
    """The layers that read inputs other than videos: a model of them, and its outputs.

    The model of the remaining layers starts after these and so has no input of the whole model: with inputs of both
    kinds, Keras 3 would lose the history of the whole model's inputs and could no longer save the whole model.
    """
    if not others:
        return None, []
    keys = {id(tensor) for tensor in others}
    readers = [layer for layer in _inner_layers(model) if keys & set(map(id, tf.nest.flatten(layer.input)))]
    read = tf.nest.flatten([layer.output for layer in readers])
    return tf.keras.Model(others, read), read


def _inner_layers(model):
    return [layer for layer in model.layers if not isinstance(layer, tf.keras.layers.InputLayer)]


def _run(x, block):
    """A block's output, whose gradient computes the block again.

    The block's weights are arguments of the function with that gradient, so that their gradients reach the variables on
    every device as any other gradient does.
    """
    weights = block.trainable_variables
    y = tf.stop_gradient(block(x, training=True))

    @tf.custom_gradient
    def tied(x, *_):
        def backward(dy):
            # Only once dy is known: otherwise these operations would be merged with the equal ones of the forward pass.
            with tf.control_dependencies([dy]):
                again = tf.identity(x)
            with tf.GradientTape() as tape, _averages_kept(block):
                tape.watch(again)
                repeated = block(again, training=True)
            return tape.gradient(repeated, [again, *weights], output_gradients=dy)

        return tf.identity(y), backward

    return tied(x, *(tf.convert_to_tensor(weight) for weight in weights))


@contextlib.contextmanager
def _averages_kept(block):
    """Batch normalisation with the batch's statistics and unchanged moving averages: their momentum is 1 meanwhile."""
    normalisations = [x for x in block.layers if isinstance(x, tf.keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalisations]
    try:
        for layer in normalisations:
            layer.momentum = 1.0
        yield
    finally:
        for layer, momentum in zip(normalisations, momenta):
            layer.momentum = momentum


# ----------------------------------------------------------------------------------------------- where the blocks end


def block_ends(model: tf.keras.Model) -> dict[str, list[tf.Tensor]]:
    """The ends of the blocks of a model's video network: input name -> inner outputs of the model, in order.

    Args:
        model: A model of this zoo.

    Raises:
        ZooError: The model has no video network among its own layers.
    """
    videos = {name: tensor for name, tensor in model.input.items() if name.startswith("rgb")}
    if any(layers.is_network(layer) for layer in model.layers):
        videos = {}  # the inputs of layers inside an inner network are not known here
    ends = {name: found for name, video in videos.items() if (found := _ends(model, video))}
    if not ends:
        raise ZooError(f"{model.name} has no video network among its own layers: leave gradient checkpointing out")
    return ends


def _ends(model, video):
    """Outputs at which the blocks of a video input end, in order.

    A block ends where all later layers depend on a single feature map of the video, and where that map is cheap to
    keep: where branches are joined, or after a pooling.
    """
    consumers = {}  # id of a tensor -> layers that read it
    inner = _inner_layers(model)
    for layer in inner:
        for tensor in tf.nest.flatten(layer.input):
            consumers.setdefault(id(tensor), []).append(layer)
    known, waited = {id(video)}, {id(video): len(consumers[id(video)])}  # tensor -> number of layers still to read it
    ends = []
    for layer in inner:  # in the order in which they run
        read = tf.nest.flatten(layer.input)
        if not all(id(tensor) in known for tensor in read) or isinstance(layer, _DROPOUTS):
            continue  # its inputs stay in waited, so that no block ends after it
        for tensor in read:
            waited[id(tensor)] -= 1
        made = layer.output
        known.add(id(made))
        waited[id(made)] = len(consumers.get(id(made), ()))
        waited = {key: count for key, count in waited.items() if count}
        if list(waited) == [id(made)] and _is_cheap(layer):
            if ends and consumers[id(ends[-1])] == [layer]:
                ends.pop()  # a pooling directly after a join: its smaller map is kept instead
            ends.append(made)
    return ends


def _is_cheap(layer):
    """Whether a layer outputs a map of a video that joins branches, or that is smaller than the layer's input."""
    read = tf.nest.flatten(layer.input)
    if len(layer.output.shape) != 5:
        return False
    return len(read) > 1 or math.prod(layer.output.shape[1:]) < math.prod(read[0].shape[1:])
