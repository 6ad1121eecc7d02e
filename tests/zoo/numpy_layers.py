"""What the equation tests share: activations and pose scores in NumPy, and the values inside a model."""

import numpy as np
import tensorflow as tf


def sigmoid(x):
    """Logistic function."""
    return 1 / (1 + np.exp(-x))


def softmax(x):
    """Softmax over the last axis."""
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def lstm_step(x, h, c, kernel, recurrent, bias):
    """Next hidden vector and cell of an LSTM (Hochreiter and Schmidhuber), gates in Keras's order i, f, c, o."""
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def scores(layer, h):
    """W tanh(W h + b) + b with a ``PoseScores`` layer's weights."""
    hidden_kernel, hidden_bias, kernel, bias = layer.get_weights()
    return np.tanh(h @ hidden_kernel + hidden_bias) @ kernel + bias


def outputs(model, names, features):
    """Outputs of the named layers, in float64."""
    inside = tf.keras.Model(model.input, {name: model.get_layer(name).output for name in names})
    values = inside(features, training=False)
    return [np.float64(values[name]) for name in names]


def cross_entropy(probabilities, labels):
    """Mean cross-entropy."""
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()
