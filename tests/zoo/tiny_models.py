"""Every model at a size that builds and steps within seconds."""

import contextlib
import functools

import numpy as np
import pytest

import zoo
from zoo import layers, registry

CLASSES = 3
# One value per option name of the whole zoo: a builder gets those it has.
OPTIONS = {
    "frames": 8,
    "size": 32,
    "width": 0.0625,
    "pose_steps": 4,
    "persons": 2,
    "joints": 5,
    "lstm_units": 6,
    "attention_units": 7,
    "embedding_units": 5,
    "granularities": (2, 3),
    "feature_size": 9,
    "segment_steps": 3,
    "gru_units": 8,
    "pose_units": 6,
    "layout": "lcrnet_13",
    "network": "mobilenet_v2",
    "glimpse_size": 32,
    "temporal_attention_units": 5,
    "feature_units": 8,
    "blocks": (1, 1, 1, 1),
}
SEVERAL_PLACES = {"frames": 16, "size": 64}  # two steps of 2 x 2 places behind all pooling; seven times as slow
# Options of one model alone: attention over one step or place would have no gradient, nor has a branch of pose_gcn, a
# quarter of its channels, if ReLUs stop them all.
OWN = {
    "global": {"frames": 16},
    "i3d_nonlocal": SEVERAL_PLACES,
    "pose_gcn": {"width": 0.5},
    "pose_lstm": {"layout": None},  # of five joints
    "separable_sta": SEVERAL_PLACES,
    "vpn": SEVERAL_PLACES,
}


def options(name, **more):
    """The tiny options that a model has, and others."""
    known = {key: value for key, value in OPTIONS.items() if key in registry.options(name)}
    return {**known, **OWN.get(name, {}), **more}


def quick(values, *representatives):
    """Parameters of a test, of which the quick run has the representatives alone."""
    return [value if value in representatives else pytest.param(value, marks=pytest.mark.slow) for value in values]


def without_dropout(name):
    """Options that switch all dropout of a model off."""
    return {key: 0.0 for key in registry.options(name) if key.endswith("dropout")}


def build(name, **more):
    """A tiny model with random weights everywhere, also where weights start at zero."""
    model = zoo.build(name, num_classes=CLASSES, **options(name, **more))
    randomize(model)
    return model


@functools.cache
def shared(name):
    """A tiny model built once for all tests; who changes its weights does so within :func:`restored`."""
    return build(name)


@contextlib.contextmanager
def restored(model):
    """Gives a model its weights back in the end."""
    weights = model.get_weights()
    try:
        yield model
    finally:
        model.set_weights(weights)


@contextlib.contextmanager
def dropout_off(model):
    """Switches the dropout of a built model off."""
    dropouts = [layer for layer in layers.every_layer(model) if isinstance(layer, layers.Dropout)]
    rates = [layer.rate for layer in dropouts]
    try:
        for layer in dropouts:
            layer.rate = 0.0
        yield model
    finally:
        for layer, rate in zip(dropouts, rates):
            layer.rate = rate


def randomize(model, seed=0):
    """Gives every weight a random value of sensible size, so that no gradient vanishes because a weight is zero."""
    rng = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "moving_variance" in weight.name:
            values.append(rng.uniform(0.5, 1.5, shape))
        elif len(shape) == 1:
            values.append(rng.normal(size=shape) * 0.1)
        else:  # as He et al.: signals neither fade nor grow from layer to layer
            values.append(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])))
    model.set_weights(values)


def batch(model, clips=2, seed=0):
    """Random features and labels for a model."""
    rng = np.random.default_rng(seed)
    features = {
        name: rng.uniform(-1, 1, (clips, *tensor.shape[1:])).astype("float32") for name, tensor in model.input.items()
    }
    return features, rng.integers(0, CLASSES, clips)


def training_loss(model, features, labels):
    """The training loss of a batch: cross-entropy and the model's own losses. Eager, as tracing takes longer."""
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    return model.evaluate(features, labels, batch_size=len(labels), verbose=0)
