"""The non-local block (NL18 section 3) in NumPy."""

import numpy as np
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import outputs, softmax


def test_block_is_attention_of_every_place_to_every_other():
    model = tiny_models.build("i3d_nonlocal")
    features, _ = tiny_models.batch(model)
    x, z = outputs(model, ["Mixed_5c", "nonlocal"], features)
    positions = x.reshape(2, -1, x.shape[-1])  # [B, tmn, c]

    def convolved(name, value):
        kernel, bias = model.get_layer(f"nonlocal.{name}").get_weights()
        return value @ kernel[0, 0, 0] + bias

    theta, phi, g = (convolved(name, positions) for name in ("theta", "phi", "g"))
    y = convolved("w", softmax(theta @ phi.transpose(0, 2, 1)) @ g)
    gamma, beta, mean, variance = model.get_layer("nonlocal.batch_norm").get_weights()
    expected = positions + gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(z.reshape(positions.shape), expected, rtol=1e-3, atol=1e-4)


def test_block_starts_as_the_identity():
    model = zoo.build("i3d_nonlocal", num_classes=3, **tiny_models.options("i3d_nonlocal"))
    x, z = outputs(model, ["Mixed_5c", "nonlocal"], tiny_models.batch(model)[0])
    np.testing.assert_array_equal(x, z)


def test_a_trained_i3d_carries_over():
    i3d, model = (
        tiny_models.build("i3d", dropout=0.0),
        zoo.build("i3d_nonlocal", num_classes=3, **tiny_models.options("i3d")),
    )
    zoo.transfer_weights(i3d, model)
    features, _ = tiny_models.batch(model)
    both = [tf.keras.Model(m.input, m.get_layer("average_pool").output)(features) for m in (i3d, model)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)
