"""I3D: the published sizes, and units and head recomputed in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import cross_entropy
from zoo import registry


def test_published_size():
    """12.295 M parameters without head, 12.356 M with 60 classes; Mixed_5c is 8x7x7x1024 for 64x224x224."""
    model = zoo.build("i3d", num_classes=60)
    assert model.count_params() == 12_356_044
    assert model.count_params() - model.get_layer("classifier").count_params() == 12_294_544
    assert tuple(model.get_layer("Mixed_5c").output.shape[1:]) == (8, 7, 7, 1024)
    assert tuple(model.get_layer("average_pool").output.shape[1:]) == (7, 1, 1, 1024)


def test_unit_is_convolution_normalisation_relu():
    model = tiny_models.shared("i3d")
    names = ["MaxPool3d_2a_3x3", "Conv3d_2b_1x1.relu"]
    parts = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    x, y = parts(tiny_models.batch(model)[0], training=False)
    (kernel,) = model.get_layer("Conv3d_2b_1x1.conv_3d").get_weights()
    beta, mean, variance = model.get_layer("Conv3d_2b_1x1.batch_norm").get_weights()
    normalised = (x @ kernel[0, 0, 0] - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(y, np.maximum(normalised, 0), rtol=1e-3, atol=1e-4)


def test_batch_statistics_are_float32_in_mixed_precision():
    """bfloat16 has 8 bits: beside a mean of 100 it cannot show a deviation of 0.1."""
    from zoo.models import i3d

    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        video = tf.keras.Input((4, 6, 6, 3))
        model = tf.keras.Model(video, i3d.unit(video, 4, 1, name="unit"))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    convolution, normalisation = (model.get_layer(f"unit.{name}") for name in ("conv_3d", "batch_norm"))
    clips = np.random.default_rng(0).normal(size=(8, 4, 6, 6, 3)).astype("float32")
    convolved = np.asarray(tf.cast(convolution(clips), tf.float32))
    assert normalisation(tf.cast(convolved + 100, tf.bfloat16), training=True).dtype == tf.bfloat16
    _, mean, variance = normalisation.get_weights()
    rounded = np.asarray(tf.cast(tf.cast(convolved + 100, tf.bfloat16), tf.float32), np.float64)
    step = 1 - normalisation.momentum
    np.testing.assert_allclose(mean, step * rounded.mean(axis=(0, 1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(variance, 1 + step * (rounded.var(axis=(0, 1, 2, 3)) - 1), rtol=1e-3)


def test_head_pools_convolves_and_averages():
    """Also for a map larger than the 2x7x7 pool, where the scores of all positions are averaged."""
    from zoo.models import i3d

    features = tf.keras.Input((3, 8, 7, 4))
    model = tf.keras.Model(features, i3d.head(features, 5, 0.0))
    tiny_models.randomize(model)
    g = np.random.default_rng(0).normal(size=(2, 3, 8, 7, 4)).astype("float32")
    kernel, bias = model.get_layer("classifier").get_weights()
    windows = [g[:, t : t + 2, m : m + 7].mean(axis=(1, 2, 3)) for t in range(2) for m in range(2)]
    scores = np.mean([w @ kernel[0, 0, 0] + bias for w in windows], axis=0)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(g, training=False), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["i3d", "i3d_nonlocal"])
def test_penalties_of_the_classifier(name):
    """L2 of its kernel and L1 of the softmax (PhD20 table 6.7), on top of the cross-entropy (which Keras clips)."""
    model = tiny_models.build(name, dropout=0.0, classifier_l2=0.3, classifier_l1=0.2)
    features, labels = tiny_models.batch(model, clips=3)
    p = model(features, training=False).numpy()
    kernel, _ = model.get_layer("classifier").get_weights()
    expected = cross_entropy(np.maximum(p, 1e-7), labels) + 0.3 * (kernel**2).sum() + 0.2 * np.abs(p).sum() / 3
    np.testing.assert_allclose(tiny_models.training_loss(model, features, labels), expected, rtol=1e-4)


def test_dropout_before_the_softmax():
    """0.3 in the models that I3D is a part of (PhD20 section 4.6.1)."""
    assert {registry.options(name)["dropout"] for name in ("pi3d", "separable_sta", "vpn")} == {0.3}
    for name, rate in (("i3d", 0.5), ("separable_sta", 0.3)):
        model = tiny_models.shared(name)
        assert model.get_layer("dropout").rate == rate
        assert model.get_layer("dropout").output is model.get_layer("classifier").input
