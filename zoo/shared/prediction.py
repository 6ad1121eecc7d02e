"""A model's prediction for a clip, or for a window of a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A model's prediction for a clip.

    Attributes:
        model: The model's name.
        version: The model's version; ``None`` for the newest version over REST, which does not state its number.
        signature: The signature that was used.
        labels: Class names, the most probable first.
        probabilities: Their probabilities.
        outputs: Further outputs, such as attention maps: name -> array without a batch axis.
    """

    model: str
    version: int | None
    signature: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    outputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def top(self) -> tuple[str, float]:
        """The most probable class and its probability."""
        return self.labels[0], self.probabilities[0]

    def reordered(self, probabilities: Mapping[str, float]) -> Prediction:
        """The same prediction with other probabilities (label -> probability), the most probable first."""
        labels = sorted(probabilities, key=lambda label: -probabilities[label])
        return dataclasses.replace(
            self, labels=tuple(labels), probabilities=tuple(probabilities[label] for label in labels)
        )
