"""Building models by name, and what is known of each."""

import inspect
import numbers

from zoo.checks import ZooError, check_options
from zoo.registry import get, options


def build(name, *, num_classes, weights=None, **chosen):
    """Builds a model.

    Args:
        name: One of :func:`list_models`.
        num_classes: Number of classes C.
        weights: What the model starts from: nothing, ``"kinetics400"`` or a path, see :func:`zoo.weights.initialise`.
        **chosen: Options of the model's builder (:func:`describe` lists them).

    Returns:
        A functional ``tf.keras.Model`` named after the method. Inputs are a dictionary of ``rgb`` (B, T, H, W, 3) in
        [-1, 1], ``pose`` (B, tp, M, J, 3), and of the temporal model ``features_g<G>`` and ``pose_g<G>``, whichever the
        method uses; the output is a softmax (B, C).

    Raises:
        ZooError: Unknown model or option, options that do not fit together, or weights that cannot be read.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_lstm", num_classes=31, pose_steps=30, joints=13, lstm_units=128)
        >>> model.output_shape
        (None, 31)
    """
    check_options(name, chosen, options(name))
    if not isinstance(num_classes, numbers.Integral) or num_classes < 2:
        raise ZooError(f"num_classes is {num_classes!r}, expected an integer of at least 2")
    model = get(name).builder(_plain(num_classes), **{option: _plain(value) for option, value in chosen.items()})
    if weights is not None:
        from zoo.pretrained import reading as reading

        reading.initialise(model, weights)
    return model


def _plain(value):
    """A value as Python's own: Keras 3 takes no numbers of NumPy's types."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(element) for element in value)
    return value.item() if hasattr(value, "item") else value


def describe(name, *, num_classes=60, **chosen):
    """What is known of a model.

    Args:
        name: One of :func:`list_models`.
        num_classes: Number of classes C that the parameters are counted for.
        **chosen: Options to count parameters and give input shapes for.

    Returns:
        A dictionary: ``name``, ``summary``, ``paper``, ``reported`` (the papers' accuracies in percent by
        ``<dataset>/<protocol>``), ``options`` (with defaults), ``inputs`` (shapes without batch), ``parameters``
        (batch-normalisation statistics included), ``parameters_without_head`` (without the classifier),
        ``parameters_in_inference`` (without what only the training loss depends on), ``gmacs`` (10^9
        multiply-accumulates for one clip), ``activation_bytes`` (of all layers for one clip, float32), ``attention``
        (names of attention layers).

    Example:
        >>> import zoo
        >>> zoo.describe("i3d")["parameters"]
        12356044
    """
    from zoo import attention_names, complexity

    entry = get(name)
    model = build(name, num_classes=num_classes, **chosen)
    return {
        "name": name,
        "summary": inspect.getdoc(entry.builder).splitlines()[0],
        "paper": entry.paper,
        "reported": dict(entry.reported),
        "options": options(name),
        "inputs": {key: tuple(tensor.shape[1:]) for key, tensor in model.input.items()},
        "parameters": complexity.parameters(model),
        "parameters_without_head": complexity.parameters(model, head=False),
        "parameters_in_inference": complexity.parameters(model, training_only=False),
        "gmacs": complexity.multiply_accumulates(model) / 1e9,
        "activation_bytes": complexity.activation_bytes(model),
        "attention": attention_names(model),
    }
