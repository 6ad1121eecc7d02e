"""Probabilities of classes, as models give them."""

from __future__ import annotations

import numpy as np


def logarithms(scores: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities of any shape, float64; the logarithm of 0 is replaced by a finite value.

    Example:
        >>> logarithms(np.array([1.0, 0.0], np.float32)).round().tolist()
        [0.0, -708.0]
    """
    # Conversion to float64 comes first: NumPy 1 would take the limit as float32, in which it is 0.
    return np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float64).tiny))


def softmax(logits: np.ndarray) -> np.ndarray:
    """``[N, C]`` logits as probabilities.

    Example:
        >>> softmax(np.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def at_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores with another temperature (Guo et al., ICML 2017, section 4.2): softmax(log(scores) / T).

    For pooled logits this is the softmax of the logits divided by T, as the logarithm of a softmax differs from the
    logits by a constant.

    Args:
        scores: ``[N, C]`` probabilities; zeros: the model abstains.
        temperature: T; above 1 makes the model less sure, and no T changes which class is best.

    Returns:
        ``[N, C]``; zeros stay zeros where the model abstains.

    Example:
        >>> at_temperature(np.array([[0.9, 0.1], [0.0, 0.0]]), 2.0).round(3).tolist()
        [[0.75, 0.25], [0.0, 0.0]]
    """
    answered = scores.any(axis=1, keepdims=True)
    return np.where(answered, softmax(logarithms(scores) / temperature), 0.0)
