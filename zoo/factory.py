"""Building models by name, and describing them."""

from __future__ import annotations

import inspect
import os
import warnings
from typing import TYPE_CHECKING, Any

from zoo import papers, registry
from zoo.attention import attention_names
from zoo.checks import WeightsError, ZooError

if TYPE_CHECKING:
    import tensorflow as tf


def build(
    name: str, *, num_classes: int | None = None, weights: str | os.PathLike | None = None, **chosen: Any
) -> tf.keras.Model:
    """Builds a model.

    Args:
        name: One of :func:`list_models`.
        num_classes: Number of classes C; default: that of ``weights``, if :func:`list_pretrained` lists them.
        weights: Weights to start from. ``None``: random. A name of :func:`zoo.list_pretrained`, such as
            ``"kinetics400"``: published weights. Or the path of a file, see
            :func:`zoo.pretrained.reading.initialise`.
        **chosen: Options of the model's builder (:func:`describe` lists them).

    Returns:
        A functional ``tf.keras.Model`` named after the method, a :class:`zoo.built_model.BuiltModel`. Its input is a
        dictionary of the tensors that the method uses: ``rgb`` (B, T, H, W, 3) in [-1, 1], ``pose`` (B, tp, M, J, 3),
        and for the temporal model ``features_g<G>`` and ``pose_g<G>``. Its output is a softmax (B, C).

    Raises:
        ZooError: Unknown model or option, or options that do not fit together; :class:`zoo.checks.WeightsError`:
            weights that cannot be read or do not fit.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_lstm", num_classes=31, pose_steps=30, joints=13, lstm_units=128)
        >>> model.output_shape
        (None, 31)
    """
    chosen, notices = registry.current_options(name, chosen)
    for notice in notices:
        warnings.warn(notice, FutureWarning, stacklevel=2)
    from zoo import built_model

    if weights is not None:
        weights, num_classes, chosen = _as_trained(name, weights, num_classes, chosen)
    if num_classes is None:
        asked = f", and weights {str(weights)!r} do not state it" if weights is not None else ""
        raise ZooError(f"num_classes is missing{asked}: set the number of classes of {name}")
    model = built_model.built(name, num_classes, chosen)
    if weights is not None:
        from zoo.pretrained import reading

        try:
            reading.initialise(model, weights)
        except ZooError as error:
            raise WeightsError(str(error)) from error
    return model


def _as_trained(
    name: str, weights: str | os.PathLike, num_classes: int | None, chosen: dict[str, Any]
) -> tuple[str | os.PathLike, int | None, dict[str, Any]]:
    """Weights, number of classes and options; values that are not chosen are those the weights were trained with.

    For weights of this model that are installed with the zoo, the path of their folder is returned: the weights are
    checked here, and not again.
    """
    from zoo.pretrained import catalogue

    entry = catalogue.shipped(name, weights) or catalogue.list_pretrained().get(str(weights))
    if entry is None:
        return weights, num_classes, chosen
    if isinstance(entry, catalogue.Shipped) and entry.model == name:
        from zoo.pretrained.model_folder import ModelFolder

        weights = entry.folder
        chosen = {**ModelFolder(weights).options, **chosen}
    return weights, (len(entry.labels) if num_classes is None else num_classes), chosen


def describe(name: str, *, num_classes: int = 60, **chosen: Any) -> dict[str, Any]:
    """The facts about a model: options, inputs, size, cost, paper.

    Args:
        name: One of :func:`list_models`.
        num_classes: Number of classes C for which the parameters are counted.
        **chosen: Options for which parameters, cost and input shapes are given.

    Returns:
        A dictionary: ``name``, ``summary``, ``paper``, ``reported`` (``"<dataset>/<protocol> (note)"`` -> accuracy in
        percent that the papers report with these options; the note states what else it depends on), ``options`` (with
        defaults), ``inputs`` (shapes without batch), ``parameters`` (batch-normalisation statistics included),
        ``parameters_without_head`` (without the classifier), ``parameters_in_inference`` (without those that only the
        training loss depends on), ``gmacs`` (10^9 multiply-accumulates for one clip), ``activation_bytes`` (of all
        layers for one clip, float32), ``attention`` (names of attention layers).

    Example:
        >>> import zoo
        >>> zoo.describe("i3d")["parameters"]
        12356044
    """
    from zoo import complexity

    entry = registry.get(name)
    if chosen.get("fully_convolutional"):
        chosen = {**chosen, "fully_convolutional": False}  # sizes and cost are stated for a square
    model = build(name, num_classes=num_classes, **chosen)
    return {
        "name": name,
        "summary": (inspect.getdoc(entry.builder) or name).splitlines()[0],
        "paper": entry.paper,
        "reported": papers.figures(entry.reported, registry.facts(name, chosen)),
        "options": registry.options(name),
        "inputs": {key: tuple(tensor.shape[1:]) for key, tensor in model.input.items()},
        "parameters": complexity.parameters(model),
        "parameters_without_head": complexity.parameters(model, head=False),
        "parameters_in_inference": complexity.parameters(model, training_only=False),
        "gmacs": complexity.multiply_accumulates(model) / 1e9,
        "activation_bytes": complexity.activation_bytes(model),
        "attention": attention_names(model),
    }
