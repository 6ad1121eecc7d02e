"""The frozen part of a model: the layers whose output stays the same while the remaining layers are trained.

::

    inputs ─► frozen layers ─► cut ─► trained layers, and all that follow them ─► predictions

The output of the frozen part for a clip can be computed once and stored. The part has no random layer and does not
normalise by statistics of a batch: under both Keras versions, a frozen ``BatchNormalization`` uses its moving averages
in training too, and does not change them.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator

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
        trained layers read directly. Tensors that layers without weights compute from these are left out.

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
        is_per_clip = all(tensor.shape[0] is None for tensor in made)  # else a constant, such as a skeleton's graph
        if is_trained or not is_per_clip or not _is_fixed(layer) or any(id(tensor) in later for tensor in read):
            later.update(map(id, made))
            found.update((id(tensor), tensor) for tensor in read if id(tensor) not in later)
        else:
            fixed.append(layer)
    if not later & {id(tensor) for tensor in tf.nest.flatten(model.output)}:
        raise ZooError(f"{model.name} has no trained layer: freeze fewer layers")
    if not any(layer.weights for layer in fixed):
        raise ZooError(f"{model.name} has no frozen layer before the first trained or random one: freeze more layers")
    _leave_out(found, fixed)
    return list(found.values())


def _leave_out(found, fixed):
    """Removes from a cut the tensors that layers without weights, such as pooling, compute from its other tensors."""
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
        ``(before, after)``: ``before`` computes ``{"cut_0": ..., ...}`` from the model's inputs; ``after`` computes the
        model's output from these.

    Raises:
        ZooError: As for :func:`cut`.
    """
    tensors = cut(model, frozen)
    before = tf.keras.Model(model.input, {f"cut_{n}": tensor for n, tensor in enumerate(tensors)})
    # Keras 3 warns of a dictionary of inputs whose keys are not the inputs' names. So an inner model takes a list.
    rest = tf.keras.Model(tensors, model.output, name=model.name)
    named = {f"cut_{n}": tf.keras.Input(x.shape[1:], dtype=x.dtype, name=f"cut_{n}") for n, x in enumerate(tensors)}
    return before, tf.keras.Model(named, rest(list(named.values())), name=f"{model.name}_trained")


def take_maps(
    model: tf.keras.Model, fixed: Collection[tf.Tensor]
) -> tuple[dict[str, tf.keras.Model], tf.keras.Model | None]:
    """Splits off the video networks of a model: each computes a feature map from one video alone.

    Args:
        model: A functional model with inputs in a dictionary.
        fixed: Tensors of the model that are the same in training and in tests, such as a :func:`cut`.

    Returns:
        ``(networks, rest)``. ``networks``: input name -> video network, for every video that no other layer reads. The
        output of a network is the last feature map before ``fixed`` (``[B, t, m, n, c]``, not pooled, so that models
        that pool it differently can share it). ``rest``: the model that takes these maps under the same names, and the
        remaining inputs; None if there is no such video.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
        >>> fixed = cut(model, [layer for layer in model.layers if layer.name != "classifier"])
        >>> networks, rest = take_maps(model, fixed)
        >>> networks["rgb"].output_shape, rest.output_shape
        ((None, 1, 1, 1, 128), (None, 4))
    """
    outputs, graph = tf.nest.flatten(model.output), _Graph(model)
    maps = _maps(graph, fixed)
    still = graph.leaves(outputs, {**graph.inputs, **{id(tensor): f"map of {name}" for name, tensor in maps.items()}})
    maps = {name: tensor for name, tensor in maps.items() if name not in still}  # no other layer sees the video
    if not maps:
        return {}, None
    networks = {name: tf.keras.Model({name: model.input[name]}, tensor, name=name) for name, tensor in maps.items()}
    tensors = {**{name: tensor for name, tensor in model.input.items() if name in still}, **maps}
    names = {id(tensor): name for name, tensor in tensors.items()}
    given = {name: tf.keras.Input(x.shape[1:], dtype=x.dtype, name=name) for name, x in tensors.items()}
    computed = [tensor for tensor in outputs if id(tensor) not in names]
    made: Iterator[tf.Tensor] = iter([])
    if computed:  # the inner model takes a list: Keras 3 warns of a dictionary unless its keys are the inputs' names
        read = sorted(graph.leaves(computed, names))
        inner = tf.keras.Model([tensors[name] for name in read], computed, name=model.name)
        made = iter(tf.nest.flatten(inner([given[name] for name in read])))
    flat = [given[names[id(tensor)]] if id(tensor) in names else next(made) for tensor in outputs]
    return networks, tf.keras.Model(given, tf.nest.pack_sequence_as(model.output, flat), name=f"{model.name}_of_maps")


def _maps(graph, fixed):
    """Name of a video -> the one feature map of it that the ``fixed`` tensors are computed from."""
    found: dict[str, dict[int, tf.Tensor]] = {}
    for tensor in fixed:
        videos, before = graph.leaves([tensor], graph.inputs), graph.before_pooling(tensor)
        if len(videos) == 1 and min(videos).startswith("rgb") and graph.is_made(before) and len(before.shape) == 5:
            found.setdefault(min(videos), {})[id(before)] = before
    return {name: tensor for name, tensors in found.items() if len(tensors) == 1 for tensor in tensors.values()}


class _Graph:
    """Which layer of a model makes which tensor; ``inputs``: id of an input -> its name."""

    def __init__(self, model):
        steps = [layer for layer in model.layers if not isinstance(layer, tf.keras.layers.InputLayer)]
        self._made_by = {id(made): layer for layer in steps for made in tf.nest.flatten(layer.output)}
        self.inputs = {id(tensor): name for name, tensor in model.input.items()}

    def is_made(self, tensor):
        """Whether a layer makes a tensor; else it is an input."""
        return id(tensor) in self._made_by

    def leaves(self, tensors, names):
        """Names of the tensors in ``names`` (``{id: name}``) that ``tensors`` are computed from."""
        seen, todo = set(), list(tensors)
        while todo:
            tensor = todo.pop()
            if id(tensor) not in seen:
                seen.add(id(tensor))
                is_leaf = id(tensor) in names or not self.is_made(tensor)
                todo += [] if is_leaf else tf.nest.flatten(self._made_by[id(tensor)].input)
        return {name for key, name in names.items() if key in seen}

    def before_pooling(self, tensor):
        """The tensor from which a chain of layers without weights computes this one."""
        while self.is_made(tensor):
            layer = self._made_by[id(tensor)]
            read = tf.nest.flatten(layer.input)
            if layer.weights or len(read) > 1:
                break
            (tensor,) = read
        return tensor


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
