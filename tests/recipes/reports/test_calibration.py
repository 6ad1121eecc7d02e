"""Calibration, reject option, ROC and weights of fused runs against NumPy, SciPy and scikit-learn."""

import itertools

import numpy as np
import pytest

from recipes.reports import calibration, fusing, scoring
from recipes.reports.scoring import Metrics
from zoo.shared.probabilities import at_temperature

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 200)
LOGITS = RNG.normal(size=(200, 4)) + 2 * np.eye(4)[LABELS]


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_temperature_is_found_again():
    """Scores of logits that were multiplied by 3 have the temperature 3 times that of the logits themselves."""
    one, three = (calibration.fit_temperature(LABELS, softmax(factor * LOGITS)) for factor in (1, 3))
    assert three == pytest.approx(3 * one, rel=1e-3)
    scaled = at_temperature(softmax(3 * LOGITS), three)
    np.testing.assert_allclose(scaled, softmax(3 * LOGITS / three), atol=1e-9)
    losses = [scoring.cross_entropy(LABELS, softmax(3 * LOGITS / t)) for t in (0.9 * three, three, 1.1 * three)]
    assert min(losses) == losses[1]


@pytest.mark.parametrize(
    "scores",
    [
        np.where(np.eye(3), 0.6, 0.2)[[0, 1, 2] * 4],  # all are right, of 60 %
        np.where(np.eye(3), 0.98, 0.01)[[0, 1, 2] * 4],  # the loss is 0 long before the end of the search
        np.where(np.eye(3), 0.6, 0.2)[[1, 2, 0] * 4],  # all are wrong
        np.full((12, 3), 1 / 3),
    ],
)
def test_clips_that_determine_no_temperature_leave_it(scores, capsys):
    labels = np.array([0, 1, 2] * 4)
    fitted = calibration.Calibration.fit(labels, scores, 0.95)
    assert fitted.temperature == 1.0
    np.testing.assert_allclose(fitted.apply(Metrics(labels, scores)).scores, scores)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: temperature: the clips that it is fitted on do not determine it, none from 0.05 ")


def test_who_abstains_is_left_out():
    scores = np.concatenate([softmax(LOGITS), np.zeros((5, 4))])
    labels = np.concatenate([LABELS, np.zeros(5, int)])
    assert calibration.fit_temperature(labels, scores) == calibration.fit_temperature(LABELS, softmax(LOGITS))
    assert calibration.calibration_error(Metrics(labels, scores)) == pytest.approx(
        calibration.calibration_error(Metrics(LABELS, softmax(LOGITS)))
    )
    assert calibration.coverage_curve(Metrics(labels, scores))[0]["coverage"] == pytest.approx(200 / 205)
    nobody = calibration.Calibration.fit(np.zeros(3, int), np.zeros((3, 2)), 0.9)
    assert (nobody.temperature, nobody.threshold) == (1.0, None)


def test_calibration_error_by_hand():
    scores = np.array([[0.95, 0.05], [0.93, 0.07], [0.6, 0.4], [0.2, 0.8]])
    rows = calibration.reliability(Metrics(np.array([0, 1, 0, 1]), scores), bins=5)
    assert [(row["clips"], row["accuracy"]) for row in rows] == [(1, 1.0), (1, 1.0), (2, 0.5)]  # 0.6 ends a bin
    assert rows[2]["confidence"] == pytest.approx(0.94)
    error = calibration.calibration_error(Metrics(np.array([0, 1, 0, 1]), scores), bins=5)
    assert error == pytest.approx((0.4 + 0.2 + 2 * 0.44) / 4)


def test_threshold_keeps_the_most_clips_of_the_wanted_accuracy():
    metrics = Metrics(LABELS, softmax(LOGITS))
    confidence, right = metrics.scores.max(axis=1), metrics.predictions == LABELS
    fitted = calibration.Calibration.fit(LABELS, metrics.scores, 0.9)
    kept = at_temperature(metrics.scores, fitted.temperature).max(axis=1) >= fitted.threshold
    assert fitted.accepted(metrics) == {"coverage": kept.mean(), "accuracy": right[kept].mean()}
    curve = calibration.coverage_curve(metrics)
    for point in curve[:: len(curve) // 7]:
        accepted = confidence >= point["threshold"]
        assert (point["coverage"], point["accuracy"]) == pytest.approx((accepted.mean(), right[accepted].mean()))
    chosen = calibration.choose_threshold(curve, 0.9)
    assert chosen["accuracy"] >= 0.9
    assert all(point["accuracy"] < 0.9 for point in curve if point["coverage"] > chosen["coverage"])
    assert calibration.choose_threshold(curve, 1.01) is None


def test_area_under_roc_counts_pairs():
    metrics = Metrics(LABELS, np.concatenate([np.zeros((10, 4)), softmax(LOGITS)[10:]]))  # ten are abstained from
    (row,) = calibration.areas_under_roc(["a", "b", "c", "d"], metrics)[2:3]
    own, others = (metrics.scores[mask, 2] for mask in (LABELS == 2, LABELS != 2))
    wins = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(own, others)]
    assert (row["class"], row["auc"]) == ("c", pytest.approx(np.mean(wins), abs=1e-4))
    assert calibration.areas_under_roc(["a", "b"], Metrics(np.zeros(2, int), np.eye(2)))[1]["auc"] == ""


@pytest.mark.parametrize("runs", [2, 3, 5, 9])
def test_grid_of_weights(runs):
    steps, points = fusing.grid(runs)
    points = np.array(list(points))
    assert len(np.unique(points, axis=0)) == len(points) <= 2000
    np.testing.assert_allclose(points.sum(axis=1), 1)
    np.testing.assert_allclose(points * steps, np.round(points * steps))
    assert points.max() == 1
    assert points.min() == 0


@pytest.mark.parametrize("fuser", [scoring.product, scoring.mean])
def test_chosen_weights_have_the_smallest_loss(fuser):
    scores = softmax(LOGITS), softmax(RNG.normal(size=(200, 4)) + np.eye(4)[LABELS])
    weights, loss, _ = fusing.choose_weights(LABELS, scores, fuser)
    by_hand = {}
    for first in np.arange(21) / 20:
        if fuser is scoring.mean:
            fused = first * scores[0] + (1 - first) * scores[1]
        else:
            fused = scores[0] ** first * scores[1] ** (1 - first)
        fused /= fused.sum(axis=1, keepdims=True)
        by_hand[first] = -np.log(fused[np.arange(200), LABELS]).mean()
    assert weights[0] == pytest.approx(min(by_hand, key=by_hand.get))
    assert loss == pytest.approx(min(by_hand.values()))


@pytest.mark.parametrize("fuser", [scoring.product, scoring.mean])
def test_weights_are_those_of_the_runs_that_answer(fuser):
    answer = np.array([[0.7, 0.3]])
    for weights in ([0.2, 0.8], [0.0, 1.0]):  # even if its weight is zero
        np.testing.assert_allclose(fuser(answer, np.zeros((1, 2)), weights=weights), answer)
    np.testing.assert_array_equal(fuser(np.zeros((1, 2)), np.zeros((1, 2)), weights=[0.5, 0.5]), [[0, 0]])
