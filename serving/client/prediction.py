"""What a model says of a clip, and how it is read from a server's answer."""

import dataclasses
from typing import Optional

import numpy as np


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of a clip.

    Attributes:
        model: The model's name.
        version: The version that answered; ``None`` where REST was asked for the newest, which it does not tell.
        signature: The signature that was asked.
        labels: Class names, the most probable first.
        probabilities: Their probabilities.
        outputs: Further outputs that were asked for, such as attention maps: name -> array without a batch axis.
    """

    model: str
    version: Optional[int]
    signature: str
    labels: tuple
    probabilities: tuple
    outputs: dict = dataclasses.field(default_factory=dict, compare=False)

    def reordered(self, probabilities):
        """The same prediction with other probabilities (label -> probability), the most probable first."""
        labels = sorted(probabilities, key=lambda label: -probabilities[label])
        return dataclasses.replace(
            self, labels=tuple(labels), probabilities=tuple(probabilities[label] for label in labels)
        )


def read(response, clips, *, model, signature, version=None, outputs=()):
    """Predictions from a ``PredictResponse``.

    Args:
        response: The server's answer.
        clips: Number of clips asked about.
        model: Name of the model asked.
        signature: Name of the signature asked.
        version: The version asked for, if one was.
        outputs: Names of further outputs asked for.

    Returns:
        A :class:`Prediction` of each clip.

    Raises:
        ValueError: The answer lacks an output, or one is not what it should be.
    """
    classes = _array(response, "classes", clips)
    probabilities = _array(response, "probabilities", clips)
    extra = {name: _array(response, name, clips) for name in outputs}
    if classes.shape != probabilities.shape or classes.ndim != 2 or not classes.size:
        raise ValueError(
            f"classes are {list(classes.shape)} and probabilities {list(probabilities.shape)}, expected equal [B, C]"
        )
    if classes.dtype != object or probabilities.dtype.kind not in "fi" or not np.isfinite(probabilities).all():
        raise ValueError("expected classes that are text and probabilities that are finite numbers")
    answered = response.model_spec.version.value if response.model_spec.HasField("version") else version
    predictions = []
    for row in range(clips):
        order = np.argsort(-probabilities[row], kind="stable")
        predictions.append(
            Prediction(
                model=response.model_spec.name or model,
                version=answered,
                signature=signature,
                labels=tuple(classes[row, index].decode("utf-8", "replace") for index in order),
                probabilities=tuple(float(probabilities[row, index]) for index in order),
                outputs={name: values[row] for name, values in extra.items()},
            )
        )
    return predictions


def _array(response, name, clips):
    """An output ``[clips, ...]``."""
    import tensorflow as tf

    if name not in response.outputs:
        there = ", ".join(sorted(response.outputs)) or "nothing"
        raise ValueError(f"no output {name}, only {there}")
    try:
        array = tf.make_ndarray(response.outputs[name])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is no tensor ({' '.join(str(error).split())[:200]})") from None
    if array.ndim < 1 or len(array) != clips:
        raise ValueError(f"{name} has the shape {list(array.shape)}, expected {clips} rows")
    return array
