"""A classifier of fewer classes: some of its classes, and all others as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from zoo.checks import ZooError


@tf.keras.utils.register_keras_serializable(package="adl_zoo")
class GroupedLogits(tf.keras.layers.Layer):
    """Logits of some classes and of all other classes together.

    The last logit is the logarithm of the sum of the others' exponentials. So the softmax of the result has the
    probabilities of the classes that are kept, unchanged, and the sum of all others.

    Args:
        kept: Indices of the classes that are kept.

    Call arguments:
        inputs: ``[B, C]`` logits.

    Returns:
        ``[B, len(kept) + 1]`` float32.

    Example:
        >>> logits = tf.math.log([[0.1, 0.2, 0.3, 0.4]])
        >>> tf.nn.softmax(GroupedLogits([2])(logits)).numpy().round(4).tolist()
        [[0.30000001192092896, 0.699999988079071]]
    """

    def __init__(self, kept: Sequence[int], **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.kept = list(kept)

    def call(self, inputs: Any) -> Any:
        """The logits that are kept, then that of the others."""
        others = [index for index in range(inputs.shape[-1]) if index not in set(self.kept)]
        rest = tf.reduce_logsumexp(tf.gather(inputs, others, axis=-1), axis=-1, keepdims=True)
        return tf.concat([tf.gather(inputs, self.kept, axis=-1), rest], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, len(kept) + 1)``."""
        return (input_shape[0], len(self.kept) + 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "kept": self.kept}


def group_classes(model: tf.keras.Model, kept: Sequence[int]) -> tf.keras.Model:
    """A model of fewer classes, with the same weights: some classes, then one for all others.

    Args:
        model: A model of the zoo, with a layer ``logits`` ``[B, C]``.
        kept: Indices of the classes that are kept, in the order of the new model's classes.

    Returns:
        A ``tf.keras.Model`` of the same name and inputs -> softmax ``[B, len(kept) + 1]``, the last class all others.

    Raises:
        ZooError: A class that the model does not have or that is there twice, or no other class is left.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=10, frames=8, size=32, width=0.125)
        >>> group_classes(model, [3, 7]).output_shape
        (None, 3)
    """
    count = model.output_shape[-1]
    if len(set(kept)) < len(kept) or not set(kept) < set(range(count)):
        raise ZooError(f"classes {list(kept)}: expected different ones from 0 to {count - 1}, and not all of them")
    network = tf.keras.Model(model.input, model.get_layer("logits").output, name=f"{model.name}_network")
    inputs = {name: tf.keras.Input(tensor.shape[1:], name=name) for name, tensor in model.input.items()}
    logits = GroupedLogits(kept, name="logits")(network(inputs))
    predictions = tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(logits)
    return tf.keras.Model(inputs, predictions, name=model.name)
