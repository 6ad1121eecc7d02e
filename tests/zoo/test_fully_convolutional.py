"""Models for pictures of any size: the same of squares, and convolutional in space of rectangles."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import outputs, scores, sigmoid, softmax
from zoo import registry

ABLE = [name for name in zoo.list_models() if "fully_convolutional" in registry.options(name)]


def _rectangles(model):
    """Two clips of 64 x 96 pixels, and the model that takes them."""
    features, _ = tiny_models.batch(model)
    features["rgb"] = np.random.default_rng(1).uniform(-1, 1, (2, 16, 64, 96, 3)).astype("float32")
    return zoo.fully_convolutional(model), features


def _classified(model, features):
    kernel, bias = model.get_layer("classifier").get_weights()
    return softmax(features @ kernel.reshape(kernel.shape[-2:]) + bias)


@pytest.mark.parametrize("name", tiny_models.quick(ABLE, "separable_sta", "i3d_nonlocal"))
def test_predictions_of_a_square_are_the_same(name):
    model = tiny_models.shared(name)
    features, _ = tiny_models.batch(model)
    wide = zoo.fully_convolutional(model)
    assert tuple(wide.input["rgb"].shape) == (None, model.input["rgb"].shape[1], None, None, 3)
    np.testing.assert_array_equal(wide(features, training=False), model(features, training=False))
    features["rgb"] = np.repeat(features["rgb"], 2, axis=3)
    assert wide(features, training=False).shape == (2, tiny_models.CLASSES)


def test_i3d_averages_the_scores_of_all_windows():
    wide, features = _rectangles(tiny_models.build("i3d", **tiny_models.SEVERAL_PLACES))
    (g,) = outputs(wide, ["Mixed_5c"], features)  # [2, 2, 2, 3, c]
    windows = [g[:, :, :, n : n + 2].mean(axis=(1, 2, 3)) for n in range(2)]
    np.testing.assert_allclose(wide(features), _classified(wide, np.mean(windows, axis=0)), rtol=1e-4)


@pytest.mark.parametrize("name", ["separable_sta", "vpn"])
def test_spatial_attention_is_resized_to_the_rectangle(name):
    wide, features = _rectangles(tiny_models.shared(name))
    last = "Mixed_5c"
    g, h = outputs(wide, [last, "pose_features"], features)  # [2, 2, 2, 3, c]
    alpha = sigmoid(scores(wide.get_layer("spatial_scores"), h)).reshape(2, 2, 2, 1)
    alpha = tf.image.resize(alpha, (2, 3)).numpy()[:, np.newaxis]  # [2, 1, 2, 3, 1]
    beta = softmax(scores(wide.get_layer("temporal_scores"), h)).reshape(2, 2, 1, 1, 1)
    maps = [alpha * g, beta * g] if name == "separable_sta" else [alpha * beta * g + g]
    pooled = np.concatenate([x.mean(axis=(1, 2, 3)) for x in maps], axis=1)
    np.testing.assert_allclose(wide(features), _classified(wide, pooled), rtol=1e-4)


def test_who_takes_squares_alone():
    with pytest.raises(
        zoo.ZooError, match=r"pose_lstm cannot take pictures of other sizes; models that can: i3d, .*vpn$"
    ):
        zoo.fully_convolutional(tiny_models.shared("pose_lstm"))
