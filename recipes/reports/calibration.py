"""How far a model's scores can be trusted: calibration, temperature scaling, a reject option, ROC.

Clips from which the model abstains have no score: they are left out of calibration, and a reject option rejects them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from recipes.reports import scoring
from recipes.reports.scoring import Metrics
from zoo.shared import messages
from zoo.shared.probabilities import at_temperature

BINS = 15  # of the confidence, as Guo et al.
_TEMPERATURES = (0.05, 20.0)  # range of the search


def fit_temperature(labels: np.ndarray, scores: np.ndarray) -> float:
    """The temperature with the smallest cross-entropy (Guo et al., ICML 2017), between 0.05 and 20.

    Args:
        labels: ``[N]`` true classes, of validation clips.
        scores: ``[N, C]``; clips from which the model abstains are left out.

    Returns:
        T. It is 1 where the model abstains from all clips. Where the clips do not determine it, it is an end of the
        range: the lowest if all clips are right.
    """
    from scipy.optimize import minimize_scalar

    answered = scores.any(axis=1)
    if not answered.any():
        return 1.0
    labels, scores = labels[answered], scores[answered]

    def loss(temperature):
        return scoring.cross_entropy(labels, at_temperature(scores, float(temperature)))

    found = minimize_scalar(
        lambda logarithm: loss(np.exp(logarithm)),
        bounds=np.log(_TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return min(*_TEMPERATURES, float(np.exp(found.x)), key=loss)


def _answers(metrics: Metrics) -> tuple[np.ndarray, np.ndarray]:
    """Score of the predicted class, and whether it is right, of the clips from which the model does not abstain."""
    answered = ~metrics.abstained
    return metrics.scores.max(axis=1)[answered], (metrics.predictions == metrics.labels)[answered]


def reliability(metrics: Metrics, bins: int = BINS) -> list[dict[str, float]]:
    """Accuracy by confidence, the score of the predicted class, in bins of equal width.

    Args:
        metrics: The :class:`recipes.reports.scoring.Metrics`.
        bins: Number of bins.

    Returns:
        One dictionary per bin that has clips: ``above`` and ``to`` (its edges), ``clips``, their mean ``confidence``
        and their ``accuracy``.
    """
    confidence, right = _answers(metrics)
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # bin m is ((m - 1) / M, m / M]
    return [
        {
            "above": one / bins,
            "to": (one + 1) / bins,
            "clips": int(np.sum(number == one)),
            "confidence": float(confidence[number == one].mean()),
            "accuracy": float(right[number == one].mean()),
        }
        for one in np.unique(number).tolist()
    ]


def calibration_error(metrics: Metrics, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al., ICML 2017, equation 3): the bins' mean of ``|accuracy - confidence|``.

    Args:
        metrics: The metrics; bins are weighted by their clips.
        bins: Number of bins.

    Returns:
        A fraction; 0 where the model abstains from all clips.

    Example:
        >>> found = Metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.3, 0.7]]))
        >>> round(calibration_error(found), 3)  # (|1 - 0.9| + |0 - 0.7|) / 2
        0.4
    """
    rows = reliability(metrics, bins)
    clips = sum(row["clips"] for row in rows)
    return float(sum(row["clips"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / max(clips, 1))


def coverage_curve(metrics: Metrics) -> list[dict[str, float]]:
    """Coverage and accuracy with a reject option, at every threshold that changes them, the lowest first.

    A clip is accepted if the score of its predicted class is at least the threshold, and the model does not abstain.

    Args:
        metrics: The metrics.

    Returns:
        Dictionaries of ``threshold``, ``coverage`` (fraction of the clips that are accepted) and their ``accuracy``.
    """
    confidence, right = _answers(metrics)
    thresholds = np.unique(confidence)
    order = np.argsort(confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    starts = np.searchsorted(confidence, thresholds)  # clips from here on are accepted
    accepted = len(confidence) - starts
    correct = right[::-1].cumsum()[::-1][starts] if len(right) else np.zeros(0)
    return [
        {"threshold": float(t), "coverage": float(n / len(metrics.labels)), "accuracy": float(c / n)}
        for t, n, c in zip(thresholds, accepted, correct)
    ]


def choose_threshold(curve: Sequence[dict[str, float]], accuracy: float) -> dict[str, float] | None:
    """The point of a coverage curve that keeps the most clips with at least that accuracy.

    Args:
        curve: The :func:`coverage_curve` of validation clips.
        accuracy: The least accuracy of the clips that are accepted.

    Returns:
        The point; ``None`` if no threshold reaches that accuracy.
    """
    return next((point for point in curve if point["accuracy"] >= accuracy), None)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What is fitted on validation clips.

    Attributes:
        temperature: The temperature T, see :func:`zoo.shared.probabilities.at_temperature`.
        threshold: Below this score, at temperature T, a clip's class is unknown; ``None``: no threshold reaches the
            accuracy.
        accuracy: The accuracy that accepted clips are to have.
        validation: Figures of the validation clips: number of ``clips``; ``log_loss`` and ``calibration_error`` before
            and after temperature scaling; ``coverage`` and ``accuracy`` at the threshold.
    """

    temperature: float
    threshold: float | None
    accuracy: float
    validation: dict[str, Any]

    @classmethod
    def fit(cls, labels: np.ndarray, scores: np.ndarray, accuracy: float) -> Calibration:
        """Fits temperature and threshold; if the clips do not determine the temperature, it is 1, with a warning.

        Args:
            labels: ``[N]`` true classes of the validation clips.
            scores: ``[N, C]``.
            accuracy: The accuracy that accepted clips are to have.
        """
        temperature = fit_temperature(labels, scores)
        if temperature in _TEMPERATURES:  # no calibration: all probabilities would be 1, or equal
            low, high = _TEMPERATURES
            messages.warn(
                f"temperature: the clips that it is fitted on do not determine it, none from {low:g} to {high:g} is "
                "best (of clips that are all right, the lowest): it stays 1, fit it on more clips"
            )
            temperature = 1.0
        scaled = at_temperature(scores, temperature)
        chosen = choose_threshold(coverage_curve(Metrics(labels, scaled)), accuracy)
        figures = {"clips": len(labels), **before_and_after(labels, scores, scaled)}
        if chosen:
            figures.update(coverage=chosen["coverage"], accuracy=chosen["accuracy"])
        return cls(temperature, chosen["threshold"] if chosen else None, accuracy, figures)

    def apply(self, metrics: Metrics) -> Metrics:
        """The metrics at the temperature."""
        return Metrics(metrics.labels, at_temperature(metrics.scores, self.temperature))

    def accepted(self, metrics: Metrics) -> dict[str, Any] | None:
        """Coverage, and accuracy (``None`` if no clip is accepted), at the threshold; ``None`` without a threshold."""
        if self.threshold is None:
            return None
        scaled = self.apply(metrics)
        kept = scaled.scores.max(axis=1) >= self.threshold
        right = scaled.predictions == scaled.labels
        return {"coverage": float(kept.mean()), "accuracy": float(right[kept].mean()) if kept.any() else None}


def before_and_after(labels: np.ndarray, scores: np.ndarray, scaled: np.ndarray) -> dict[str, list[float]]:
    """``log_loss`` and ``calibration_error``, each a pair: of the scores, and of the scores at the temperature.

    Clips from which the model abstains are left out.
    """
    answered = scores.any(axis=1)
    pair = [Metrics(labels[answered], values[answered]) for values in (scores, scaled)]
    return {
        "log_loss": [scoring.cross_entropy(one.labels, one.scores) for one in pair] if answered.any() else [],
        "calibration_error": [calibration_error(one) for one in pair],
    }


def areas_under_roc(labels: Sequence[str], metrics: Metrics) -> list[dict[str, Any]]:
    """Area under the ROC curve of every class against all others.

    Args:
        labels: Class names.
        metrics: The metrics; a clip from which the model abstains has the lowest score of every class.

    Returns:
        One dictionary per class: ``class``, ``clips`` and ``auc``, empty for a class with no clips or with all.
    """
    from sklearn.metrics import roc_auc_score

    found = []
    for number, (label, clips) in enumerate(zip(labels, metrics.clips)):
        own = metrics.labels == number
        area = "" if own.all() or not own.any() else round(float(roc_auc_score(own, metrics.scores[:, number])), 4)
        found.append({"class": label, "clips": int(clips), "auc": area})
    return found
