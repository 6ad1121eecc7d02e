"""Probabilities of classes, as models give them."""

from __future__ import annotations

import numpy as np


def at_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores with another temperature (Guo et al., ICML 2017, section 4.2): softmax(log(scores) / T).

    For pooled logits that is the softmax of the logits divided by T, as the logarithm of a softmax differs from them by
    a constant.

    Args:
        scores: ``[N, C]`` probabilities; zeros: the model abstains.
        temperature: T; above 1 makes the model less sure, and no T changes which class is best.

    Returns:
        ``[N, C]``; zeros stay zeros where the model abstains.

    Example:
        >>> at_temperature(np.array([[0.9, 0.1], [0.0, 0.0]]), 2.0).round(3).tolist()
        [[0.75, 0.25], [0.0, 0.0]]
    """
    logarithms = np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float64).tiny)) / temperature
    exponents = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    answered = scores.any(axis=1, keepdims=True)
    return np.where(answered, exponents / exponents.sum(axis=1, keepdims=True), 0.0)
