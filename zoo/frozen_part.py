"""The frozen part of a model: the layers whose output stays the same while the others are trained.

::

    inputs ─► frozen layers ─► cut ─► trained layers, and all that follow them ─► predictions

What the frozen part outputs for a clip can be computed once and stored. It has no random layer and no batch
normalisation of a batch: a frozen ``BatchNormalization`` uses its moving averages in training too, under both Keras
versions, and keeps them.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection

import tensorflow as tf

from zoo import layers
from zoo.checks import ZooError


def cut(model: tf.keras.Model, frozen: Collection[tf.keras.layers.Layer]) -> list[tf.Tensor]:
    """The tensors that the trained layers of a model read from its frozen part; builds nothing.

    Args:
        model: A functional model.
        frozen: Its layers that are not trained.

    Returns:
        Symbolic tensors, in the order in which they are read: outputs of frozen layers, and inputs of the model that
        trained layers read themselves. What layers without weights make of these is not among them.

    Raises:
        ZooError: No layer before the trained ones is frozen, none is trained, or a layer is used several times.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
        >>> [tensor] = cut(model, [layer for layer in model.layers if layer.name != "classifier"])
        >>> tuple(tensor.shape)  # what dropout, which is random, reads
        (None, 1, 1, 1, 128)
    """
    names = {layer.name for layer in frozen}
    later: set[int] = set()  # ids of the tensors that depend on a trained or a random layer
    found: dict[int, tf.Tensor] = {}
    fixed = []
    for layer in _run_once(model):
        read, made = tf.nest.flatten(layer.input), tf.nest.flatten(layer.output)
        is_trained = layer.trainable_weights and layer.name not in names
        is_per_clip = all(tensor.shape[0] is None for tensor in made)  # else a constant, such as a graph's
        if is_trained or not is_per_clip or not _is_fixed(layer) or any(id(tensor) in later for tensor in read):
            later.update(map(id, made))
            found.update((id(tensor), tensor) for tensor in read if id(tensor) not in later)
        else:
            fixed.append(layer)
    if not later & {id(tensor) for tensor in tf.nest.flatten(model.output)}:
        raise ZooError(f"{model.name} has no trained layer: freeze fewer")
    if not any(layer.weights for layer in fixed):
        raise ZooError(f"{model.name} has no frozen layer before the first trained or random one: freeze more")
    _leave_out(found, fixed)
    return list(found.values())


def _leave_out(found, fixed):
    """Leaves out of a cut what layers without weights, such as a pooling, make of its other tensors."""
    known = set(found)
    for layer in fixed:
        made = {id(tensor) for tensor in tf.nest.flatten(layer.output)}
        if not layer.weights and all(id(tensor) in known for tensor in tf.nest.flatten(layer.input)):
            known |= made
            for key in made & set(found):
                del found[key]


def split(model: tf.keras.Model, frozen: Collection[tf.keras.layers.Layer]) -> tuple[tf.keras.Model, tf.keras.Model]:
    """Splits a model at its :func:`cut` into two that share its layers.

    Args:
        model: A functional model.
        frozen: Its layers that are not trained.

    Returns:
        ``(before, after)``: ``before`` has the model's inputs and outputs ``{"cut_0": ..., ...}``, ``after`` is given
        these and has the model's output.

    Raises:
        ZooError: As for :func:`cut`.
    """
    tensors = cut(model, frozen)
    before = tf.keras.Model(model.input, {f"cut_{n}": tensor for n, tensor in enumerate(tensors)})
    # Keras 3 warns of inputs in a dictionary unless they have its names, so the dictionary is around a list.
    rest = tf.keras.Model(tensors, model.output, name=model.name)
    named = {f"cut_{n}": tf.keras.Input(x.shape[1:], dtype=x.dtype, name=f"cut_{n}") for n, x in enumerate(tensors)}
    return before, tf.keras.Model(named, rest(list(named.values())), name=f"{model.name}_trained")


def _run_once(model):
    """The layers of a model in the order in which they run, without its inputs."""
    uses = {layer["name"]: len(layer["inbound_nodes"]) for layer in model.get_config()["layers"]}
    for name, count in uses.items():
        if count > 1:
            raise ZooError(f"{model.name} uses {name} several times, so that it cannot be cut in two")
    return [layer for layer in model.layers if uses[layer.name]]


def _is_fixed(layer):
    """Whether a layer that is not trained computes the same in training and in tests."""
    if layers.is_network(layer):
        return all(_is_fixed(inner) for inner in layer.layers)
    if isinstance(layer, tf.keras.layers.Wrapper):
        return _is_fixed(layer.layer)
    if isinstance(layer, tf.keras.layers.BatchNormalization):
        return True
    if isinstance(layer, (tf.keras.layers.LSTM, tf.keras.layers.GRU)):
        return not layer.dropout and not layer.recurrent_dropout
    return "training" not in inspect.signature(layer.call).parameters
