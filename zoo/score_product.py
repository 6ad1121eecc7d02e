"""Models that multiply the scores of others: ``global`` and ``late_fusion``.

::

    inputs ─► part ─► logits ──┐
                               ├─► sum ─► softmax
    inputs ─► part ─► logits ──┘

The softmax of the sum of logits is the product of the softmaxes, divided by its sum over the classes.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import tensorflow as tf

from zoo import checks, factory, registry
from zoo.checks import ZooError
from zoo.layers import AllStepsLogits

_FOLLOWS = {"joints": "layout", "lstm_dropout": "dropout"}  # option of a part -> option of the whole that sets it


def part(name: str, num_classes: int, options: Mapping[str, Any]) -> tf.keras.Model:
    """A model up to its logits, as a layer that has the model's name.

    Args:
        name: Name of the model.
        num_classes: Number of classes C.
        options: Options; those that the model does not have are left out.
    """
    valid = registry.options(name)
    model = factory.build(name, num_classes=num_classes, **{key: options[key] for key in options if key in valid})
    layer = model.get_layer("logits")
    logits = layer.output
    if isinstance(layer, AllStepsLogits):
        # The layer's loss belongs to the cross-entropy of these logits; the whole model has another loss.
        logits = AllStepsLogits(adds_loss=False, name="logits")(layer.input)
    return tf.keras.Model(model.input, logits, name=name)


def chosen_part(
    role: str, whole: str, name: str, num_classes: int, shared: Mapping[str, Any], own: Optional[Mapping[str, Any]]
) -> tf.keras.Model:
    """A :func:`part` that an option of the whole model chose.

    Args:
        role: The option that chose the part, such as ``base_model``; the option ``<role>_options`` has ``own``.
        whole: Name of the whole model.
        name: Name of the part.
        num_classes: Number of classes C.
        shared: Options that the whole model decides.
        own: Options of the part alone; former names are valid here too, with a ``FutureWarning``.

    Raises:
        ZooError: An option in ``own`` that the whole model decides, or that the part does not have.
    """
    current, notices = registry.current_options(name, own or {})
    for notice in notices:
        warnings.warn(f"{role}_options: {notice}", FutureWarning, stacklevel=2)
    for option in current:
        if option in _FOLLOWS:
            raise ZooError(f"{role}_options: {option} follows from {_FOLLOWS[option]} of {whole}, set that")
        if option in shared:
            raise ZooError(f"{role}_options: {option} is an option of {whole} itself, give it there")
    checks.check_options(name, current, registry.hints(name))
    return part(name, num_classes, {**shared, **current})


def logits_of(parts: Sequence[tf.keras.Model]) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
    """Inputs of several parts and the logits ``[B, C]`` of each part; inputs of the same name are shared.

    Args:
        parts: Models that end with logits, such as :func:`part` makes.
    """
    tensors = {name: tensor for model in parts for name, tensor in model.input.items()}
    inputs = {name: tf.keras.Input(tuple(tensor.shape[1:]), name=name) for name, tensor in tensors.items()}
    return inputs, [model({name: inputs[name] for name in model.input}) for model in parts]


def product(name: str, inputs: Mapping[str, tf.Tensor], logits: Sequence[tf.Tensor]) -> tf.keras.Model:
    """The model that gives the normalised product of several scores.

    Args:
        name: Its name.
        inputs: Its inputs.
        logits: Logits of the scores, each ``[B, C]``.
    """
    total = tf.keras.layers.Add(dtype="float32", name="logits")(logits)
    predictions = tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(total)
    return tf.keras.Model(inputs, predictions, name=name)
