"""Contracts of every model; a new file in zoo/models is tested without a change here."""

import inspect
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from zoo import checks, complexity, papers, registry

MODELS = zoo.list_models()
VISIBLE = 1e-6  # of probabilities: more than what rounding adds


def _quick(*representatives):
    return pytest.mark.parametrize("name", tiny_models.quick(MODELS, *representatives))


every_model = pytest.mark.parametrize("name", MODELS)
# Those of several networks take longest to build; their parts are models of this list too.
LARGEST = ("global", "i3d_nonlocal", "late_fusion", "pi3d")
all_but_the_largest = _quick(*(name for name in MODELS if name not in LARGEST))


@every_model
def test_output_is_a_distribution(name):
    model = tiny_models.shared(name)
    features, _ = tiny_models.batch(model, clips=3)
    probabilities = model(features, training=False).numpy()
    assert model.name == name
    assert probabilities.shape == (3, tiny_models.CLASSES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities > 0).all()
    # Untrained statistics let the signal of a deep network fade, so a batch's own are used here.
    with tiny_models.restored(model), tiny_models.dropout_off(model):
        assert np.ptp(model(features, training=True), axis=0).max() > 0, "the output does not depend on the input"


@every_model
def test_logits_give_the_predictions(name):
    model = tiny_models.shared(name)
    features, _ = tiny_models.batch(model)
    both = tf.keras.Model(model.input, [model.get_layer("logits").output, model.get_layer("predictions").output])
    logits, predictions = both(features, training=False)
    np.testing.assert_allclose(tf.nn.softmax(logits), predictions, rtol=1e-5, atol=1e-7)


@every_model
def test_gradients_reach_every_trainable_weight(name):
    model = tiny_models.shared(name)
    features, labels = tiny_models.batch(model, clips=4)
    with tiny_models.restored(model), tf.GradientTape() as tape:
        probabilities = model(features, training=True)
        loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, probabilities))
        loss += tf.add_n(model.losses) if model.losses else 0.0
    gradients = tape.gradient(loss, model.trainable_variables)
    dead = [v.name for v, g in zip(model.trainable_variables, gradients) if g is None or not np.any(np.asarray(g))]
    assert not dead


@every_model
def test_without_a_pose_attention_is_equal_and_pictures_decide(name):
    model = tiny_models.shared(name)
    poses = [key for key in model.input if key.startswith("pose")]
    if not poses or len(poses) == len(model.input):
        return  # of poses alone, or without
    given, labels = tiny_models.batch(model)
    features = dict(given)
    for key in poses:  # the first clip has none
        features[key] = np.concatenate([np.zeros_like(given[key][:1]), given[key][1:]])
    maps = zoo.attention_maps(model) if zoo.attention.attention_names(model) else lambda *_, **__: {}
    for key, found in maps(features, training=False).items():
        assert np.ptp(found[0]) == 0, key
        np.testing.assert_array_equal(found[1], maps(given, training=False)[key][1], err_msg=key)
    # An untrained image network may give the same for all pictures; a missing pose must not change whether it does.
    of_one_person = {**given, **{key: np.repeat(given[key][:1], len(labels), axis=0) for key in poses}}
    features.update({key: np.zeros_like(given[key]) for key in poses})
    with tiny_models.restored(model), tiny_models.dropout_off(model):
        sees_pictures = np.ptp(model(of_one_person, training=True), axis=0).max() > VISIBLE
    with tiny_models.restored(model), tiny_models.dropout_off(model), tf.GradientTape() as tape:
        predictions = model(features, training=True)
        loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, predictions))
        loss += tf.add_n(model.losses) if model.losses else 0.0
    assert (np.ptp(predictions, axis=0).max() > VISIBLE) == sees_pictures
    gradients = [np.asarray(g) for g in tape.gradient(loss, model.trainable_variables) if g is not None]
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@all_but_the_largest
def test_saved_and_reloaded_model_is_bit_equal(name, tmp_path):
    model = tiny_models.shared(name)
    model.save(tmp_path / "model.keras")
    reloaded = zoo.load_model(tmp_path / "model.keras")
    for before, after in zip(model.get_weights(), reloaded.get_weights()):
        np.testing.assert_array_equal(before, after)
    features, _ = tiny_models.batch(model)
    np.testing.assert_array_equal(model(features, training=False), reloaded(features, training=False))


@_quick("pose_gcn", "resnext3d101")
def test_saved_model_equals_the_keras_model(name, tmp_path):
    model = tiny_models.shared(name)
    specs = {key: tf.TensorSpec(tensor.shape, tensor.dtype, name=key) for key, tensor in model.input.items()}
    serve = tf.function(lambda features: {"probabilities": model(features, training=False)}, input_signature=[specs])
    module = tf.Module()
    module.weights = list(serve.get_concrete_function().graph.variables)
    tf.saved_model.save(module, str(tmp_path), signatures=serve)
    features, _ = tiny_models.batch(model)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](
        **{key: tf.constant(value) for key, value in features.items()}
    )
    np.testing.assert_allclose(served["probabilities"], model(features, training=False), rtol=1e-5, atol=1e-6)


@_quick("pose_gcn", "resnext3d101")
def test_configuration_round_trip(name):
    model = tiny_models.shared(name)
    copy = type(model).from_config(model.get_config())
    layers = [list(_all_layers(m)) for m in (model, copy)]
    assert [(type(layer), layer.name) for layer in layers[0]] == [(type(layer), layer.name) for layer in layers[1]]
    # A network inside is its layers: Keras 2 writes down with it which of them were built by an input.
    simple = [[layer.get_config() for layer in found if not hasattr(layer, "layers")] for found in layers]
    assert simple[0] == simple[1]
    copy.set_weights(model.get_weights())
    features, _ = tiny_models.batch(model)
    np.testing.assert_array_equal(model(features, training=False), copy(features, training=False))


@_quick("pose_gcn", "pose_cnn")
def test_two_replicas_step_as_one_device(name, two_replicas):
    """Batch normalisation uses its stored statistics here: by design each replica has its own of a batch."""

    def step(strategy):
        with strategy.scope():
            model = tiny_models.build(name, **tiny_models.without_dropout(name))
            for layer in _all_layers(model):
                if isinstance(layer, tf.keras.layers.BatchNormalization):
                    layer.trainable = False
            model.compile(tf.keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
        data = tf.data.Dataset.from_tensor_slices(tiny_models.batch(model, clips=4)).batch(4)
        history = model.fit(data, epochs=1, verbose=0)
        return history.history["loss"][0], model.get_weights()

    loss_of_one, one = step(tf.distribute.OneDeviceStrategy("CPU:0"))
    loss_of_two, two = step(two_replicas)
    np.testing.assert_allclose(loss_of_one, loss_of_two, rtol=1e-5)
    for a, b in zip(one, two):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def _all_layers(model):
    for layer in model.layers:
        yield layer
        yield from _all_layers(layer) if hasattr(layer, "layers") else ()


@every_model
def test_batch_statistics_are_those_of_a_short_training_too(name):
    """Keras's momentum of 0.99 needs hundreds of steps to forget the statistics that layers start from."""
    for layer in _all_layers(tiny_models.shared(name)):
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            assert layer.momentum < 0.99, layer.name


@_quick("pose_gcn", "temporal")
def test_mixed_precision_has_attention_and_output_in_float32(name):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = tiny_models.build(name)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    features, _ = tiny_models.batch(model)
    probabilities = np.asarray(model(features, training=False))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    attention = [layer for layer in _all_layers(model) if layer.name.endswith(("_attention", "nonlocal.softmax"))]
    assert all(layer.compute_dtype == "float32" for layer in attention)
    np.testing.assert_allclose(probabilities, tiny_models.shared(name)(features, training=False), atol=0.05)


@every_model
def test_docstring_documents_every_option(name):
    text = inspect.getdoc(registry.get(name).builder)
    arguments = text.partition("Args:")[2].partition("Returns:")[0]
    undocumented = [option for option in registry.options(name) if f"{option}:" not in arguments]
    assert not undocumented
    assert "Example:" in text


@every_model
def test_every_option_has_a_type_hint_that_its_default_fits(name):
    hints = registry.hints(name)
    assert Any not in hints.values()
    checks.check_options(name, registry.options(name), hints)


@every_model
def test_options_of_another_type_are_refused(name):
    hints = registry.hints(name)
    for option, default in registry.options(name).items():
        for value in (object(), *([] if default is None or type(None) in get_args(hints[option]) else [None])):
            with pytest.raises(zoo.ZooError, match=f"{name}: {option} is {value}, expected "):
                checks.check_options(name, {option: value}, hints)


@all_but_the_largest
def test_description_matches_the_model(name):
    """Also that the parameters without head are those of any number of classes."""
    described = zoo.describe(name, num_classes=tiny_models.CLASSES + 1, **tiny_models.options(name))
    model = tiny_models.shared(name)
    assert complexity.parameters(model) == sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert described["parameters"] > complexity.parameters(model)
    assert described["parameters_without_head"] == complexity.parameters(model, head=False)
    assert described["inputs"] == {key: tuple(tensor.shape[1:]) for key, tensor in model.input.items()}
    assert described["paper"] == registry.get(name).paper
    assert " " in described["paper"]
    assert described["reported"] == papers.figures(
        registry.reported(name), registry.facts(name, tiny_models.options(name))
    )
