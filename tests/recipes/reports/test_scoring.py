"""Pooling and metrics against numbers worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from recipes.reports import scoring
from recipes.reports import tables as report
from zoo.shared.errors import UserError

# Views of three clips as their features, which the model passes on as logits; the last batch is not full.
VIEWS = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]).astype("float32")
CLIPS = np.array([0, 0, 1, 2, 2])
LABELS = np.array([1, 1, 2, 0, 0])


def passing_on():
    inputs = {"pose": tf.keras.Input((3,), name="pose")}
    logits = tf.keras.layers.Activation("linear", name="logits")(inputs["pose"])
    return tf.keras.Model(inputs, tf.keras.layers.Activation("softmax", name="predictions")(logits))


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean_softmax", [[0.4, 0.5, 0.1], [0.3, 0.3, 0.4], [0.4, 0.25, 0.35]]),
        ("max_softmax", [[0.7, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.6]]),
        ("mean_logits", [[0.07**0.5, 0.16**0.5, 0.01**0.5], [0.3, 0.3, 0.4], [0.12**0.5, 0.06**0.5, 0.06**0.5]]),
    ],
)
def test_views_are_pooled_per_clip(two_replicas, pool, expected):
    expected = np.array(expected)
    if pool != "mean_softmax":
        expected /= expected.sum(axis=1, keepdims=True)
    data = tf.data.Dataset.from_tensor_slices(({"pose": VIEWS}, LABELS, CLIPS)).batch(4)
    with two_replicas.scope():
        scorer = scoring.Scorer(passing_on(), two_replicas, data, count=3, batch=4, pool=pool)
    seen = []
    labels, scores = scorer(on_clips=seen.append)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert labels.tolist() == [1, 2, 0]
    assert sum(seen) == 3


def test_metrics_by_hand():
    # Four classes; class 2 has no clips. Class 0: two of three right, class 1: none of one, class 3: one of one.
    scores = np.array(
        [[0.9, 0.1, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.6, 0.4, 0.0, 0.0], [0.1, 0.1, 0.1, 0.7]]
    )
    metrics = scoring.Metrics(np.array([0, 0, 0, 1, 3]), scores)
    assert metrics.top1 == pytest.approx(3 / 5)
    assert metrics.top5 == 1.0  # fewer than five classes
    assert metrics.mean_class_accuracy == pytest.approx((2 / 3 + 0 + 1) / 3)
    np.testing.assert_array_equal(metrics.confusion, [[2, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(metrics.class_accuracies, [2 / 3, 0, np.nan, 1])
    assert scoring.cross_entropy(metrics.labels, scores) == pytest.approx(-np.log([0.9, 0.4, 0.1, 0.4, 0.7]).mean())
    rows = report.per_class(["a", "b", "c", "d"], metrics)
    assert rows[0] == {
        "class": "a",
        "clips": 3,
        "correct": 2,
        "accuracy": 0.6667,
        "most_often_taken_for": "d",
        "times": 1,
    }
    assert (rows[2]["clips"], rows[2]["accuracy"], rows[2]["most_often_taken_for"]) == (0, "", "")


@pytest.mark.parametrize("pool", ["mean_softmax", "max_softmax", "mean_logits"])
def test_a_network_of_poses_abstains_without_a_pose(pool):
    """Views without a pose are left out; a clip that has no other is not answered and counts as wrong."""
    views = np.log([[0.7, 0.2, 0.1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(({"pose": views}, [0, 0, 0, 2], [0, 0, 1, 2])).batch(4)
    scorer = scoring.Scorer(passing_on(), tf.distribute.get_strategy(), data, count=3, batch=4, pool=pool)
    labels, scores = scorer()
    np.testing.assert_allclose(scores, [[0.7, 0.2, 0.1], [0, 0, 0], [0, 0, 0]], rtol=1e-6)
    metrics = scoring.Metrics(labels, scores)
    assert (metrics.predictions.tolist(), metrics.abstained.tolist()) == ([0, -1, -1], [False, True, True])
    assert metrics.top1 == metrics.top5 == pytest.approx(1 / 3)
    np.testing.assert_allclose(metrics.class_accuracies, [0.5, np.nan, 0])
    assert scoring.cross_entropy(labels, scores) == pytest.approx(-np.log([0.7, 1 / 3, 1 / 3]).mean())
    names = ["a", "b", "c"]
    assert report.confusion(names, metrics)[1] == [["a", 1, 0, 0, 1], ["b", 0, 0, 0, 0], ["c", 0, 0, 0, 1]]
    assert [row["abstained"] for row in report.per_class(names, metrics)] == [1, 0, 1]
    assert [(row["prediction"], row["correct"]) for row in report.predictions("xyz", names, metrics)] == [
        ("a", 1), ("", 0), ("", 0),
    ]  # fmt: skip
    assert report.abstained(metrics) == "2 of 3 clips without a pose count as wrong"
    others = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0, 0, 0]])
    for fused in (scoring.product(scores, others), scoring.mean(scores, others)):
        np.testing.assert_allclose(fused[1:], others[1:])


def test_top5_leaves_the_sixth_out():
    scores = np.array([[0.3, 0.2, 0.15, 0.14, 0.11, 0.1], [0.3, 0.2, 0.15, 0.14, 0.11, 0.1], [1 / 6] * 6])
    metrics = scoring.Metrics(np.array([4, 5, 5]), scores)
    assert metrics.top5 == pytest.approx(1 / 3)  # equal scores do not all count as best
    assert metrics.top1 == 0


def test_outputs_that_are_not_finite_are_no_scores():
    scoring.require_finite(np.zeros((2, 3)), "clips")
    for wrong in (np.nan, np.inf):
        with pytest.raises(UserError, match=r"^clips: the model's outputs are not finite for 1 of 2: "):
            scoring.require_finite(np.array([[0.2, 0.8], [wrong, 0.5]]), "clips")
