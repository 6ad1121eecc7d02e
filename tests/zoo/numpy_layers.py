"""Shared by the equation tests: normalisation, recurrent layers and pose scores in NumPy; outputs of layers."""

import numpy as np
import tensorflow as tf


def sigmoid(x):
    """Logistic function."""
    return 1 / (1 + np.exp(-x))


def softmax(x):
    """Softmax over the last axis."""
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def batch_norm(layer, x):
    """Batch normalisation with the stored statistics."""
    gamma, beta, mean, variance = layer.get_weights()
    return gamma * (x - mean) / np.sqrt(variance + layer.epsilon) + beta


def lstm_step(x, h, c, kernel, recurrent, bias):
    """Next hidden vector and cell of an LSTM (Hochreiter and Schmidhuber), gates in Keras's order i, f, c, o."""
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def scores(layer, h):
    """W tanh(W h + b) + b with a ``PoseScores`` layer's weights."""
    hidden_kernel, hidden_bias, kernel, bias = layer.get_weights()
    return np.tanh(h @ hidden_kernel + hidden_bias) @ kernel + bias


def gru(layer, x):
    """All outputs ``[B, N, units]`` of a ``GRU`` layer for ``[B, N, D]``, with Keras's ``reset_after``."""
    kernel, recurrent, (bias, recurrent_bias) = layer.get_weights()
    h, steps = np.zeros((len(x), layer.units)), []
    for step in np.moveaxis(x, 1, 0):
        z_x, r_x, n_x = np.split(step @ kernel + bias, 3, axis=1)
        z_h, r_h, n_h = np.split(h @ recurrent + recurrent_bias, 3, axis=1)
        z, r = sigmoid(z_x + z_h), sigmoid(r_x + r_h)
        h = z * h + (1 - z) * np.tanh(n_x + r * n_h)
        steps.append(h)
    return np.stack(steps, axis=1)


def outputs(model, names, features):
    """Outputs of the named layers, in float64."""
    inside = tf.keras.Model(model.input, {name: model.get_layer(name).output for name in names})
    values = inside(features, training=False)
    return [np.float64(values[name]) for name in names]


def cross_entropy(probabilities, labels):
    """Mean cross-entropy."""
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()
