"""Weights: reading models and weight files, and carrying a trained stage over into a larger model."""

import collections
import json
import pathlib
import zipfile

import tensorflow as tf

from zoo import registry
from zoo.registry import ZooError

HEAD = "classifier"  # the layer of every model that depends on the classes


def load_model(path):
    """The model saved in a ``.keras`` file.

    Args:
        path: The file.

    Returns:
        A ``tf.keras.Model``.

    Raises:
        ZooError: No such file, or not a model of this zoo.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ZooError(f"{path}: no such file, expected a model saved as .keras")
    try:
        with zipfile.ZipFile(path) as archive:
            name = json.loads(archive.read("config.json"))["config"]["name"]
        registry.get(name)  # the method's module defines the layers that the file names
        return tf.keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:300]
        raise ZooError(f"{path}: not a Keras model that can be read here: {reason}") from error


def load_weights(model, path):
    """Reads a ``.weights.h5`` file into a model of the same architecture.

    Args:
        model: The model.
        path: The file.

    Returns:
        The model.

    Raises:
        ZooError: No such file, or its weights do not fit the model; nothing is left half-read unnoticed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ZooError(f"{path}: no such file, expected weights saved as .weights.h5")
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ZooError(f"{path}: does not fit {model.name}: {reason}") from error
    return model


def transfer_weights(source, target):
    """Copies the weights of a trained model into a larger one that contains it.

    Layers correspond by name, those inside a network that is itself a layer included. The head (the layer
    ``classifier``) is left out, everything else of the source must have its place in the target: a transfer never goes
    on with random weights in silence. A target that contains a whole model of the source's name, as ``global`` does,
    takes it with its head.

    Args:
        source: The trained model, such as an ``i3d``.
        target: A model that contains its layers, such as a ``separable_sta``.

    Returns:
        Names of the copied layers.

    Raises:
        ZooError: A layer of the source is missing from the target, comes twice in it, or differs in shape; the target
            is unchanged.

    Example:
        >>> import zoo
        >>> small = {"frames": 8, "size": 32, "width": 0.125}
        >>> backbone = zoo.build("i3d", num_classes=4, **small)
        >>> model = zoo.build("separable_sta", num_classes=4, pose_steps=5, joints=20, **small)
        >>> len(zoo.transfer_weights(backbone, model))
        114
    """
    whole = [layer for layer in target.layers if _is_network(layer) and layer.name == source.name]
    targets = collections.defaultdict(list)
    for layer in _layers(whole[0] if whole else target):
        targets[layer.name].append(layer)
    pairs = []
    for layer in _layers(source):
        if not layer.weights or (layer.name == HEAD and not whole):
            continue
        if layer.name not in targets:
            raise ZooError(f"{target.name} has no layer {layer.name!r}, which {source.name} would be copied into")
        if len(targets[layer.name]) > 1:
            raise ZooError(f"{target.name} has {len(targets[layer.name])} layers {layer.name!r}: copy into one model")
        (counterpart,) = targets[layer.name]
        have = [tuple(weight.shape) for weight in layer.weights]
        want = [tuple(weight.shape) for weight in counterpart.weights]
        if have != want:
            raise ZooError(
                f"layer {layer.name!r} has weights of shapes {have} in {source.name} and {want} in {target.name}: "
                "build both with the same options"
            )
        pairs.append((layer, counterpart))
    if not pairs:
        raise ZooError(f"{source.name} has no layers to copy into {target.name}")
    for layer, counterpart in pairs:
        counterpart.set_weights(layer.get_weights())
    return [layer.name for layer, _ in pairs]


def _is_network(layer):
    return hasattr(layer, "layers")


def _layers(model):
    """The layers of a model, those of the networks inside it in their place."""
    for layer in model.layers:
        if _is_network(layer):
            yield from _layers(layer)
        else:
            yield layer
