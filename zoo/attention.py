"""The attention of a model: its layers, and a model that outputs their maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.checks import ZooError

if TYPE_CHECKING:
    import tensorflow as tf


def attention_maps(model: tf.keras.Model) -> tf.keras.Model:
    """A model with the same inputs whose outputs are the attention maps.

    Args:
        model: A model with attention, made by :func:`zoo.build`.

    Returns:
        A ``tf.keras.Model`` whose output is a dictionary from the attention layers' names (``spatial_attention``
        [B, m, n], ``temporal_attention`` [B, t], ...) to their weights.

    Raises:
        ZooError: The model has no attention layer.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.build("separable_sta", num_classes=4, frames=8, size=32, width=0.125, pose_steps=5, joints=20)
        >>> clip = {"rgb": np.zeros((1, 8, 32, 32, 3), "float32"), "pose": np.zeros((1, 5, 1, 20, 3), "float32")}
        >>> {name: weights.shape for name, weights in attention_maps(model).predict(clip, verbose=0).items()}
        {'spatial_attention': (1, 1, 1), 'temporal_attention': (1, 1)}
    """
    import tensorflow as tf

    if not attention_names(model):
        raise ZooError(f"{model.name} has no attention layer: its method or its options have none")
    outputs = {}
    for part in _parts(model):
        own = {layer.name: layer.output for layer in part.layers if layer.name.endswith("_attention")}
        if part is not model:  # compute the nested model's maps from the outer model's inputs
            inputs = {name: model.input[name] for name in part.input}
            own = tf.keras.Model(part.input, own)(inputs) if own else {}
        outputs.update(own)
    return tf.keras.Model(model.input, outputs, name=f"{model.name}_attention_maps")


def attention_names(model: tf.keras.Model) -> list[str]:
    """Names of a model's attention layers, including those of the models nested in it."""
    return [layer.name for part in _parts(model) for layer in part.layers if layer.name.endswith("_attention")]


def _parts(model):
    """A model, and the models nested in it that read inputs of the outer model."""
    inside = [layer for layer in model.layers if hasattr(layer, "layers") and isinstance(layer.input, dict)]
    return [model, *inside]
