"""The equations of Separable STA (ICCV19), recomputed in NumPy from the layers' weights."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import cross_entropy, outputs, scores, sigmoid, softmax
from zoo import backbones
from zoo.models import i3d, separable_sta

SPATIAL, TEMPORAL = 0.03, 0.07  # large enough to be seen in the loss
DROPOUT = {"lstm_dropout": 0.0}


def _build(attention):
    return tiny_models.build(
        "separable_sta",
        attention=attention,
        # Three steps of the feature map: with two, the squares of beta and of 1 - beta have the same sum.
        frames=16 if attention == "none" else 24,
        spatial_regularization=SPATIAL,
        temporal_regularization=TEMPORAL,
        **DROPOUT,
    )


def _expected(model, attention, g, h=None):
    """Predictions and penalty by the paper's equations."""
    batch, t, m, n, _ = g.shape
    penalty = 0.0

    def spatial():
        nonlocal penalty
        alpha = sigmoid(scores(model.get_layer("spatial_scores"), h)).reshape(batch, 1, m, n, 1)
        penalty += SPATIAL * (alpha**2).sum() / batch
        return alpha

    def temporal():
        nonlocal penalty
        beta = softmax(scores(model.get_layer("temporal_scores"), h)).reshape(batch, t, 1, 1, 1)
        penalty += TEMPORAL * ((1 - beta) ** 2).sum() / batch
        return beta

    def joint():
        nonlocal penalty
        both = sigmoid(scores(model.get_layer("spatio_temporal_scores"), h)).reshape(batch, t, m, n, 1)
        penalty += SPATIAL * (both**2).sum() / batch
        return both

    maps = {
        "none": lambda: [g],
        "sa": lambda: [spatial() * g],
        "ta": lambda: [temporal() * g],
        "sa_ta": lambda: [temporal() * (spatial() * g)],
        "ta_sa": lambda: [spatial() * (temporal() * g)],
        "joint": lambda: [joint() * g],
        "separable": lambda: [spatial() * g, temporal() * g],
    }[attention]()
    features = np.concatenate([x.mean(axis=(1, 2, 3)) for x in maps], axis=1)
    kernel, bias = model.get_layer("classifier").get_weights()
    return softmax(features @ kernel + bias), penalty


@pytest.mark.parametrize("attention", tiny_models.quick(get_args(separable_sta.Attention), "none", "separable"))
def test_predictions_and_training_loss(attention):
    model = _build(attention)
    features, labels = tiny_models.batch(model, clips=3)
    names = ["Mixed_5c"] + (["pose_features"] if attention != "none" else [])
    g, *h = outputs(model, names, features)
    expected, penalty = _expected(model, attention, g, *h)
    np.testing.assert_allclose(model(features, training=False), expected, rtol=1e-4)
    loss = tiny_models.training_loss(model, features, labels)
    np.testing.assert_allclose(loss, cross_entropy(expected, labels) + penalty, rtol=1e-4)
    assert attention == "none" or penalty > 0.01


def test_attention_maps():
    model = _build("separable")
    features, _ = tiny_models.batch(model)
    maps = {key: value.numpy() for key, value in zoo.attention_maps(model)(features, training=False).items()}
    assert maps["spatial_attention"].shape == (2, 2, 2)
    assert ((maps["spatial_attention"] > 0) & (maps["spatial_attention"] < 1)).all()
    np.testing.assert_allclose(maps["temporal_attention"].sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(zoo.ZooError, match="no attention"):
        zoo.attention_maps(_build("none"))


def test_trained_stages_carry_over():
    model = tiny_models.build("separable_sta")
    for stage in ("i3d", "pose_lstm"):
        trained = tiny_models.build(stage)
        copied = zoo.transfer_weights(trained, model)
        weighty = [layer.name for layer in trained.layers if layer.weights]
        assert copied == [name for name in weighty if name != "classifier"]
        for name in copied:
            for a, b in zip(trained.get_layer(name).get_weights(), model.get_layer(name).get_weights()):
                np.testing.assert_array_equal(a, b)


def test_transfer_refuses_what_does_not_fit():
    narrow = tiny_models.build("i3d", width=0.125)
    model = tiny_models.build("separable_sta")
    before = model.get_weights()
    with pytest.raises(zoo.ZooError, match="Conv3d_1a_7x7"):
        zoo.transfer_weights(narrow, model)
    with pytest.raises(zoo.ZooError, match="no layer"):
        zoo.transfer_weights(tiny_models.build("pose_lstm"), narrow)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        *(("separable_sta", {"attention": attention}) for attention in get_args(separable_sta.Attention)[1:]),
        ("vpn", {"attention": "spatial"}),
        ("vpn", {"coupler": False}),
        ("pi3d", {}),
        ("temporal", {}),
    ],
    ids=str,
)
def test_attention_starts_equal(name, choice, monkeypatch):
    """PhD20 algorithms 1 to 4, in every method and with every strategy."""

    def quick(rgb, **_):
        return tf.keras.layers.AveragePooling3D((8, 32, 32))(rgb)

    monkeypatch.setattr(i3d, "feature_map", quick)
    monkeypatch.setitem(backbones.BACKBONES, "i3d", backbones.Backbone(quick, i3d.pool, i3d.head))
    model = zoo.build(name, num_classes=3, **tiny_models.options(name, **choice))
    features, _ = tiny_models.batch(model)
    maps = zoo.attention_maps(model)(features, training=False)
    assert maps
    assert all(np.ptp(weights) == 0 for weights in maps.values())
