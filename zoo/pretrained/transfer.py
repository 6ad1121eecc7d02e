"""Copies the weights of a trained model into a larger model that contains it."""

from __future__ import annotations

import collections

import tensorflow as tf

from zoo.checks import ZooError
from zoo.layers import HEAD, every_layer, is_network, layers_of_pictures, still_kernel

_TOWERS = ("", "full_body.", "joined.")  # prefixes of P-I3D's layers that may take the weights of an I3D of the body


def transfer_weights(source: tf.keras.Model, target: tf.keras.Model) -> list[str]:
    """Copies the weights of a trained model into another that contains it.

    Layers are matched by name, also those of a network inside a model; the layers of an I3D also match those of a
    P-I3D's full-body tower. Every layer of the source must be in the target, so that no layer silently keeps
    random weights. The exception is the head (the layer ``classifier``, and that of a stream such as
    ``pose_cnn.classifier``): it keeps its random weights where it has other features or other classes. The head is
    copied

    * into a model of the same layers and shapes, to continue a training;
    * into a target that also has the source's head, under the name ``<source>.classifier``: ``sta_hands`` has that of a
      ``pose_cnn``;
    * into a target that contains a whole model of the source's name, as ``global`` does.

    Between two models that are made of the same networks, such as two ``late_fusion`` models, each network is copied
    separately. Kernels of an I3D that go into a network of single pictures become those for a still video
    (:func:`zoo.layers.still_kernel`).

    Args:
        source: The trained model, such as an ``i3d``.
        target: A model that contains its layers, such as a ``separable_sta``.

    Returns:
        Names of the target's layers that were filled.

    Raises:
        ZooError: A layer of the source is missing from the target, is there twice, or differs in shape; the target is
            unchanged.

    Example:
        >>> import zoo
        >>> small = {"frames": 8, "size": 32, "width": 0.125}
        >>> backbone = zoo.build("i3d", num_classes=4, **small)
        >>> model = zoo.build("separable_sta", num_classes=4, pose_steps=5, joints=20, **small)
        >>> len(zoo.transfer_weights(backbone, model))
        114
    """
    pairs = _pairs(source, target)
    of_pictures = {id(layer) for model in (source, target) for layer in layers_of_pictures(model)}
    for own, other in pairs:
        values = own.get_weights()
        if id(other) in of_pictures and id(own) not in of_pictures:
            values = list(map(still_kernel, values))
        other.set_weights(values)
    return [other.name for _, other in pairs]


def _pairs(source, target):
    """Layers of the source, each with the layer of the target that it is copied into."""
    parts, others = _parts(source), _parts(target)
    if source.name == target.name and parts and parts.keys() == others.keys():
        return [pair for name, part in parts.items() for pair in _pairs(part, others[name])]
    whole = [layer for layer in target.layers if is_network(layer) and layer.name == source.name]
    sources, targets = _with_weights(source), _with_weights(whole[0] if whole else target)
    matches = {name: _match(name, source, targets) for name in sources}
    shapes, target_shapes = _shapes(sources), _shapes(targets)
    if not whole and shapes != target_shapes and matches.get(HEAD) == HEAD:
        del matches[HEAD]
    for name in [name for name in matches if name.endswith(f".{HEAD}")]:  # of a stream, as in sta_hands
        if matches[name] == name and shapes[name] != target_shapes[name]:
            del matches[name]
    for name, match in matches.items():
        if not match:
            raise ZooError(f"{target.name} has no layer {name!r}, which {source.name} would be copied into")
        if len(targets[match]) > 1:
            raise ZooError(f"{target.name} has {len(targets[match])} layers {match!r}: copy into one model of it")
        have, want = shapes[name], target_shapes[match]
        if have != want:
            raise ZooError(
                f"layer {name!r} has weights of shapes {have} in {source.name} and {want} in {target.name}: "
                "build both with the same options"
            )
    if not matches:
        raise ZooError(f"{source.name} has no layers to copy into {target.name}")
    return [(sources[name][0], targets[match][0]) for name, match in matches.items()]


def _parts(model):
    """Name -> network, of a model whose weights are all in networks inside it; for any other model empty."""
    weighted = [layer for layer in model.layers if layer.weights]
    return {layer.name: layer for layer in weighted} if all(map(is_network, weighted)) else {}


def _match(name, source, targets):
    """Name of the layer that a layer of the source is copied to; ``None`` if there is none."""
    prefixes = (f"{source.name}.", "") if name == HEAD else _TOWERS
    return next((prefix + name for prefix in prefixes if prefix + name in targets), None)


def _with_weights(model):
    """Name -> all layers of that name that have weights."""
    layers = collections.defaultdict(list)
    for layer in every_layer(model):
        if layer.weights:
            layers[layer.name].append(layer)
    return dict(layers)


def _shapes(layers):
    """Name -> shapes of the weights, of :func:`_with_weights`."""
    return {name: [tuple(weight.shape) for layer in same for weight in layer.weights] for name, same in layers.items()}
