"""Optimizers, rates, losses, batches in parts and averages of weights, against what they are by definition."""

import contextlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from recipes import config
from recipes.trainers import optimisation
from tests.recipes.conftest import TINY
from zoo.models import i3d
from zoo.shared.errors import UserError

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(8, 5)).astype(np.float32), RANDOM.integers(0, 3, 8).astype(np.int32)


def a_stage(tmp_path, *overrides):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    changes = ["layer_learning_rates=[]", *overrides]
    return config.load(path, [f"stages.second.{change}" for change in changes]).stages[1]


def a_model():
    tf.keras.utils.set_random_seed(1)
    inputs = tf.keras.Input([5])
    hidden = tf.keras.layers.Dense(4, activation="tanh", name="backbone")(inputs)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3, activation="softmax", name="classifier")(hidden))


@pytest.fixture(params=["one device", pytest.param("two replicas", marks=pytest.mark.slow)])
def scope(request):
    """Where a model is built and trained: as it is, or in the strategy's scope."""
    if request.param == "one device":
        return contextlib.nullcontext
    return request.getfixturevalue("two_replicas").scope


def steps_of(scope, stage, steps=3, parts=1, loss=None):
    """Weights after each of some steps on the whole batch, and loss and accuracy of the last."""
    with scope():
        model = a_model()
        model.compile(optimisation.make_optimizer(stage, model), loss=loss or optimisation.CrossEntropy(),
                      metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")])  # fmt: skip
        if parts > 1:
            optimisation.save_memory(model, parts=parts)
    weights, seen = [model.get_weights()], []
    for _ in range(steps):
        seen.append(model.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False).history)
        weights.append(model.get_weights())
    return weights, seen[-1]


SGD = "optimizer={name: sgd, learning_rate: 0.1, momentum: 0.9}"
ADAM = "optimizer={name: adam, learning_rate: 0.01, weight_decay: 0.1}"


@pytest.mark.parametrize("optimizer", [SGD, ADAM])
def test_a_layer_with_a_rate_of_its_own(tmp_path, scope, optimizer):
    """The first step is so many times as long; the other layers' is what it was."""
    plain, _ = steps_of(scope, a_stage(tmp_path, optimizer), steps=1)
    quarter = a_stage(tmp_path, optimizer, 'layer_learning_rates=[{layers: "back*", factor: 0.25}]')
    rated, _ = steps_of(scope, quarter, steps=1)
    for layer, factor in ((0, 0.25), (1, 0.25), (2, 1), (3, 1)):
        step, full = rated[1][layer] - rated[0][layer], plain[1][layer] - plain[0][layer]
        np.testing.assert_allclose(step, factor * full, rtol=1e-3, atol=1e-7)
        assert np.abs(full).max() > 1e-4


def test_a_layer_with_a_rate_of_its_own_where_the_loss_is_scaled(tmp_path):
    """Float16: another optimizer, which scales the loss, calls the one with the rates."""
    found = []
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        for rates in ("[]", '[{layers: "back*", factor: 0.25}]'):
            weights, _ = steps_of(contextlib.nullcontext, a_stage(tmp_path, SGD, f"layer_learning_rates={rates}"), 1)
            found.append([after - before for before, after in zip(*weights)])
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for layer, factor in ((0, 0.25), (2, 1)):
        np.testing.assert_allclose(found[1][layer], factor * found[0][layer], rtol=1e-2, atol=1e-6)
        assert np.abs(found[0][layer]).max() > 1e-4


def test_a_rate_of_no_layer(tmp_path):
    stage = a_stage(tmp_path, 'layer_learning_rates=[{layers: "spine*", factor: 0.1}]')
    reason = r"stages\.second\.layer_learning_rates: no layer fits 'spine\*'. Valid: backbone, classifier"
    with pytest.raises(UserError, match=reason):
        optimisation.make_optimizer(stage, a_model())


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_is_the_batch(tmp_path, scope, parts):
    stage = a_stage(tmp_path, SGD)
    whole, logs = steps_of(scope, stage)
    in_parts, also = steps_of(scope, stage, parts=parts)
    for expected, found in zip(whole[-1], in_parts[-1]):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(also["loss"], logs["loss"], rtol=1e-4)
    np.testing.assert_allclose(also["accuracy"], logs["accuracy"])


def test_rates_and_parts_on_two_replicas(tmp_path, two_replicas):
    """The representative of the tests above, which are slow on two replicas."""
    stage = a_stage(tmp_path, SGD, 'layer_learning_rates=[{layers: "back*", factor: 0.25}]')
    expected, _ = steps_of(contextlib.nullcontext, stage, steps=1)
    found, _ = steps_of(two_replicas.scope, stage, steps=1, parts=2)
    for one, two in zip(expected[-1], found[-1]):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_training_that_computes_activations_again_ends_with_the_same_weights(tmp_path, scope, parts):
    """Statistics of batch normalisation included, which move as often as they do in a batch in as many parts."""
    stage, ended = a_stage(tmp_path, SGD), []
    for recompute in (False, True):
        with scope():
            tf.keras.utils.set_random_seed(1)
            inputs = {"rgb": tf.keras.Input((4, 8, 8, 3), name="rgb")}
            x = i3d.inception(i3d.unit(inputs["rgb"], 4, 3, name="first"), "Mixed_3b", 0.0625)
            x = tf.keras.layers.GlobalAveragePooling3D(name="pooled")(x)
            model = tf.keras.Model(inputs, tf.keras.layers.Dense(3, activation="softmax", name="classifier")(x))
            before = model.get_weights()
            metrics = [tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
            model.compile(optimisation.make_optimizer(stage, model), optimisation.CrossEntropy(), metrics=metrics)
            if parts > 1 or recompute:
                optimisation.save_memory(model, parts=parts, gradient_checkpointing=recompute)
        videos = {"rgb": np.random.default_rng(0).normal(size=(8, 4, 8, 8, 3)).astype(np.float32)}
        logs = model.fit(videos, Y, batch_size=8, epochs=2, verbose=0, shuffle=False).history
        ended.append([*model.get_weights(), np.array(logs["loss"]), np.array(logs["accuracy"])])
    for kept, again, was in itertools.zip_longest(*ended, before):
        np.testing.assert_allclose(again, kept, rtol=1e-3, atol=1e-5)
        assert was is None or np.any(kept != was)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_cross_entropy(smoothing, weights):
    scores = RANDOM.dirichlet(np.ones(3), 8).astype(np.float32)
    target = np.eye(3)[Y] * (1 - smoothing) + smoothing / 3
    expected = -(target * np.log(scores)).sum(axis=1) * (1 if weights is None else np.array(weights)[Y])
    loss = optimisation.CrossEntropy(smoothing, weights)
    np.testing.assert_allclose(float(loss(Y, scores)), expected.mean(), rtol=1e-4)
    again = optimisation.CrossEntropy.from_config(loss.get_config())
    np.testing.assert_allclose(float(again(Y[:, np.newaxis], scores)), expected.mean(), rtol=1e-4)


def test_average_of_weights(scope):
    with scope():
        model = a_model()
        average = optimisation.WeightAverage(model, momentum=0.5)
    values = [np.full((5, 4), value, np.float32) for value in (1.0, 2.0, 4.0)]
    expected = model.layers[1].get_weights()[0]
    for step, value in enumerate(values, start=1):
        model.layers[1].kernel.assign(value)
        average.update()
        momentum = min(0.5, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * value
    average.exchange()
    np.testing.assert_allclose(model.layers[1].get_weights()[0], expected, rtol=1e-5)
    average.exchange()
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], values[-1])


@pytest.mark.parametrize("name", ["sgdw", "adamw", "lamb"])
def test_optimizers_of_tensorflow_addons(tmp_path, scope, name):
    stage = a_stage(tmp_path, f"optimizer={{name: {name}, learning_rate: 0.01, weight_decay: 0.1}}")
    try:
        import tensorflow_addons  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=f"optimizer {name} is of tensorflow-addons, which is not installed"):
            optimisation.make_optimizer(stage, a_model())
        return
    with_decay, _ = steps_of(scope, stage, steps=1)
    stage = a_stage(tmp_path, f"optimizer={{name: {name}, learning_rate: 0.01, weight_decay: 0.0}}")
    without, _ = steps_of(scope, stage, steps=1)
    if name != "lamb":  # decoupled: the step is longer by the weights' share, whatever the gradient
        difference = without[1][0] - with_decay[1][0]
        np.testing.assert_allclose(difference, 0.1 * with_decay[0][0], rtol=1e-3, atol=1e-6)
    else:  # each layer's step is as long as the learning rate is of its weights
        ratio = np.linalg.norm(without[1][0] - without[0][0]) / np.linalg.norm(without[0][0])
        np.testing.assert_allclose(ratio, 0.01, rtol=1e-3)
