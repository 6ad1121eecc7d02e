"""The equations of P-I3D (WACV19), recomputed in NumPy from the layers' weights."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import cross_entropy, outputs, scores, softmax
from zoo.models import pi3d

ATTENTION, WEIGHTS = 0.05, 0.02  # large enough to be seen in the loss
OPTIONS = {
    "attention_regularization": ATTENTION,
    "weight_regularization": WEIGHTS,
    "dropout": 0.0,
    "lstm_dropout": 0.0,
    "frames": 8,
    "size": 32,
}
PARTS = ("full_body", "left_hand", "right_hand")


@pytest.mark.parametrize(
    "choice",
    tiny_models.quick(
        [
            {},
            {"aggregation": "concat"},
            {"aggregate_after": 1},
            {"aggregate_after": 2, "aggregation": "concat"},
            {"attention": False},
            {"parts": ("left_hand", "right_hand")},
            {"parts": ("full_body",), "attention": False},
            {"parts": ("full_body", "full_image")},
        ],
        {"parts": ("left_hand", "right_hand")},
        {"parts": ("full_body",), "attention": False},
    ),
)
def test_predictions_and_training_loss(choice):
    model = tiny_models.build("pi3d", **OPTIONS, **choice)
    parts = choice.get("parts", PARTS)
    features, labels = tiny_models.batch(model, clips=3)
    last = {0: "Mixed_5c", 1: "Mixed_5b", 2: "MaxPool3d_5a_2x2"}[choice.get("aggregate_after", 0)]
    maps = outputs(model, [f"{part}.{last}" for part in parts], features)
    alpha, penalty = np.ones((3, len(parts))), 0.0
    if choice.get("attention", True):
        (h,) = outputs(model, ["pose_features"], features)
        alpha = softmax(scores(model.get_layer("part_scores"), h))
        penalty = ATTENTION * ((1 - alpha) ** 2).sum() / 3
    weighted = [a[:, None, None, None, None] * g for a, g in zip(alpha.T, maps)]
    joined = np.concatenate(weighted, axis=-1) if choice.get("aggregation") == "concat" else sum(weighted)
    last = "aggregation" if len(parts) > 1 else "full_body.Mixed_5c"
    (aggregated,) = outputs(model, [last], features)
    np.testing.assert_allclose(aggregated, joined, rtol=1e-4, atol=1e-5)

    after = choice.get("aggregate_after", 0)
    (g,) = outputs(model, ["joined.Mixed_5c" if after else last], features)  # t = m = n = 1
    kernel, bias = model.get_layer("classifier").get_weights()
    expected = softmax(g.mean(axis=(1, 2, 3)) @ kernel[0, 0, 0] + bias)
    np.testing.assert_allclose(model(features, training=False), expected, rtol=1e-4)
    loss = tiny_models.training_loss(model, features, labels)
    penalty += WEIGHTS * np.sqrt((kernel**2).sum())
    np.testing.assert_allclose(loss, cross_entropy(expected, labels) + penalty, rtol=1e-4)


@pytest.mark.slow
def test_a_tower_is_saved_and_starts_the_whole(tmp_path):
    tower = tiny_models.build("pi3d", **OPTIONS, parts=("left_hand",), attention=False)
    tower.save(tmp_path / "tower.keras")
    whole = zoo.build(
        "pi3d",
        num_classes=tiny_models.CLASSES,
        weights=tmp_path / "tower.keras",
        **tiny_models.options("pi3d", **OPTIONS),
    )
    layer = "left_hand.Mixed_5c.Branch_0.Conv3d_0a_1x1.conv_3d"
    np.testing.assert_array_equal(whole.get_layer(layer).get_weights(), tower.get_layer(layer).get_weights())


@pytest.mark.slow
def test_attention_starts_equal():
    model = zoo.build("pi3d", num_classes=3, **tiny_models.options("pi3d", **OPTIONS))
    features, _ = tiny_models.batch(model)
    np.testing.assert_allclose(zoo.attention_maps(model)(features)["part_attention"], 1 / 3, rtol=1e-6)


@pytest.mark.slow
def test_exchanging_the_hands_with_their_towers_changes_nothing():
    model = tiny_models.build("pi3d", **OPTIONS)
    features, _ = tiny_models.batch(model)
    before = model(features, training=False)
    swap = {"left_hand": "right_hand", "right_hand": "left_hand"}
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    for name, values in weights.items():
        part, dot, rest = name.partition(".")
        if part in swap:
            model.get_layer(swap[part] + dot + rest).set_weights(values)
    *hidden, kernel, bias = weights["part_scores"]
    model.get_layer("part_scores").set_weights([*hidden, kernel[:, [0, 2, 1]], bias[[0, 2, 1]]])
    features = {**features, "rgb_left_hand": features["rgb_right_hand"], "rgb_right_hand": features["rgb_left_hand"]}
    np.testing.assert_allclose(model(features, training=False), before, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("full_body", "foot")}, "parts is .*foot.*expected a list of values, each one of full_body"),
        ({"parts": ()}, "expected one or more of full_body"),
        ({"parts": ("full_body", "full_body")}, "each once"),
        ({"parts": ("full_body",)}, "attention over one part is always 1"),
        ({"aggregation": "mean"}, "aggregation is 'mean', expected one of sum, concat"),
        ({"aggregate_after": 3}, "aggregate_after is 3, expected one of 0, 1, 2"),
    ],
)
def test_choices_that_make_no_model(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("pi3d", num_classes=3, **options)


@pytest.mark.slow
def test_three_towers_and_an_lstm():
    """About three times I3D and the pose LSTM; the paper states 42 M."""
    tower = zoo.describe("i3d", num_classes=60)["parameters"] - 1025 * 60
    lstm = zoo.describe("pose_lstm", num_classes=60)["parameters"] - 513 * 60
    attention = (20 * 512 + 1) * 256 + (256 + 1) * 3
    assert zoo.describe("pi3d", num_classes=60)["parameters"] == 3 * tower + lstm + attention + 1025 * 60
    assert len(pi3d.BODY) == 3
