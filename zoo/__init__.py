"""Keras models for activities of daily living.

>>> import zoo
>>> "vpn" in zoo.list_models()
True
>>> model = zoo.build("separable_sta", num_classes=31, frames=16, size=64, width=0.125, pose_steps=5, joints=13)
>>> sorted(model.input)
['pose', 'rgb']

TensorFlow is imported when a model is first asked for, not here.
"""

from zoo.registry import ZooError, build, describe, list_models

__all__ = [
    "ZooError",
    "attention_maps",
    "build",
    "describe",
    "list_models",
    "load_model",
    "load_weights",
    "transfer_weights",
]


def attention_maps(model):
    """A model with the same inputs whose outputs are the attention maps.

    Args:
        model: A model with attention, made by :func:`build`.

    Returns:
        A ``tf.keras.Model`` whose output is a dictionary from the attention layers' names (``spatial_attention``
        [B, m, n], ``temporal_attention`` [B, t], ...) to their weights.

    Raises:
        ZooError: The model has no attention layer.

    Example:
        >>> import numpy as np
        >>> model = build("separable_sta", num_classes=4, frames=8, size=32, width=0.125, pose_steps=5, joints=20)
        >>> clip = {"rgb": np.zeros((1, 8, 32, 32, 3), "float32"), "pose": np.zeros((1, 5, 1, 20, 3), "float32")}
        >>> {name: weights.shape for name, weights in attention_maps(model).predict(clip, verbose=0).items()}
        {'spatial_attention': (1, 1, 1), 'temporal_attention': (1, 1)}
    """
    import tensorflow as tf

    if not attention_names(model):
        raise ZooError(f"{model.name} has no attention layer: its options or its method leave attention out")
    outputs = {}
    for part in _parts(model):
        own = {layer.name: layer.output for layer in part.layers if layer.name.endswith("_attention")}
        if part is not model:  # a layer inside gives its output for the inputs of the whole
            inputs = {name: model.input[name] for name in part.input}
            own = tf.keras.Model(part.input, own)(inputs) if own else {}
        outputs.update(own)
    return tf.keras.Model(model.input, outputs, name=f"{model.name}_attention_maps")


def attention_names(model):
    """Names of a model's attention layers, those of the models it is made of included."""
    return [layer.name for part in _parts(model) for layer in part.layers if layer.name.endswith("_attention")]


def _parts(model):
    """A model, and the whole models inside it: those that see inputs of the model itself."""
    inside = [layer for layer in model.layers if hasattr(layer, "layers") and isinstance(layer.input, dict)]
    return [model, *inside]


def load_model(path):
    """The model saved in a ``.keras`` file; see :func:`zoo.weights.load_model`."""
    from zoo.pretrained import loading as weights

    return weights.load_model(path)


def load_weights(model, path):
    """Reads a ``.weights.h5`` file into a model; see :func:`zoo.weights.load_weights`."""
    from zoo.pretrained import loading as weights

    return weights.load_weights(model, path)


def transfer_weights(source, target):
    """Copies a trained stage into a larger model; see :func:`zoo.weights.transfer_weights`."""
    from zoo.pretrained import loading as weights

    return weights.transfer_weights(source, target)
