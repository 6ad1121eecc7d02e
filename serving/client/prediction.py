"""How the predictions for clips are read from a server's response; see :mod:`zoo.shared.prediction`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.shared import messages
from zoo.shared.prediction import Prediction

if TYPE_CHECKING:
    from tensorflow_serving.apis.predict_pb2 import PredictResponse

__all__ = ["Prediction", "read"]


def read(
    response: PredictResponse,
    clips: int,
    *,
    model: str,
    signature: str,
    version: int | None = None,
    outputs: Sequence[str] = (),
) -> list[Prediction]:
    """Predictions from a ``PredictResponse``.

    Args:
        response: The response.
        clips: Number of clips in the request.
        model: Name of the model in the request.
        signature: Name of the signature in the request.
        version: The version in the request, if it had one.
        outputs: Names of further outputs.

    Returns:
        A :class:`Prediction` of each clip.

    Raises:
        ValueError: The response lacks an output, or an output has the wrong type or shape.
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
    served = response.model_spec.version.value if response.model_spec.HasField("version") else version
    predictions = []
    for row in range(clips):
        order = np.argsort(-probabilities[row], kind="stable")
        predictions.append(
            Prediction(
                model=response.model_spec.name or model,
                version=served,
                signature=signature,
                labels=tuple(classes[row, index].decode("utf-8", "replace") for index in order),
                probabilities=tuple(float(probabilities[row, index]) for index in order),
                outputs={name: values[row] for name, values in extra.items()},
            )
        )
    return predictions


def _array(response: PredictResponse, name: str, clips: int) -> np.ndarray:
    """An output ``[clips, ...]``."""
    import tensorflow as tf

    if name not in response.outputs:
        present = ", ".join(sorted(response.outputs)) or "nothing"
        raise ValueError(f"no output {name}, only {present}")
    try:
        array = tf.make_ndarray(response.outputs[name])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is no tensor ({messages.one_line(error)})") from None
    if array.ndim < 1 or len(array) != clips:
        raise ValueError(f"{name} has the shape {list(array.shape)}, expected {clips} rows")
    return array
