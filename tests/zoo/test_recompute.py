"""Activation checkpointing: the step of a model that keeps everything, in less memory."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import small
from zoo import layers, recompute


def step(model, call, features, labels):
    """``(loss, predictions, gradients)`` of a step's backward pass, and how many 3D convolutions its graph has."""

    @tf.function
    def backward():
        with tf.GradientTape() as tape:
            predictions = call(features)
            loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, predictions))
            loss += tf.add_n([tf.cast(term, loss.dtype) for term in model.losses]) if model.losses else 0.0
        return loss, predictions, tape.gradient(loss, model.trainable_variables)

    graph = backward.get_concrete_function().graph
    return backward(), sum(operation.type == "Conv3D" for operation in graph.get_operations())


def both(model):
    """The same step, with all activations kept and with those of blocks computed again; weights are as before each."""
    features, labels = small.batch(model)
    features, labels = tf.nest.map_structure(tf.constant, (features, labels))
    weights = model.get_weights()
    generators = [layer.generator for layer in model.layers if isinstance(layer, layers.Dropout)]
    states = [generator.state.numpy() for generator in generators]
    found = []
    for call in (lambda features: model(features, training=True), recompute.training_call(model)):
        model.set_weights(weights)
        for generator, state in zip(generators, states):
            generator.state.assign(state)
        (loss, predictions, gradients), convolutions = step(model, call, features, labels)
        drawn = [generator.state.numpy() for generator in generators]
        found.append(
            {
                "loss": loss.numpy(),
                "predictions": predictions.numpy(),
                "gradients": [tf.convert_to_tensor(gradient).numpy() for gradient in gradients],
                "weights": model.get_weights(),
                "random states": drawn,
                "convolutions": convolutions,
            }
        )
    assert any(np.any(state != after) for state, after in zip(states, drawn)) or not generators
    return found


def assert_equal(kept, again):
    for key in ("loss", "predictions", "gradients", "weights", "random states"):
        for expected, value in zip(tf.nest.flatten(kept[key]), tf.nest.flatten(again[key])):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6 + 1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("separable_sta", {"dropout": 0.5, "spatial_regularization": 0.1}),
        ("pi3d", {"parts": ("full_body", "left_hand"), "aggregate_after": 1}),
        ("resnext3d101", {}),
    ],
)
def test_the_step_is_that_of_a_model_that_keeps_everything(name, options):
    """Loss with the layers' penalties, gradients, moving averages (moved once), and dropout's masks."""
    model = small.build(name, **options)
    kept, again = both(model)
    assert_equal(kept, again)
    repeated = again["convolutions"] - kept["convolutions"]
    if name == "separable_sta":
        assert repeated == kept["convolutions"]  # all of I3D
    assert 0.5 * kept["convolutions"] < repeated <= kept["convolutions"]


def test_frozen_layers_and_bfloat16():
    """Blocks without a weight to train, some with, a normalisation that is frozen; variables stay float32."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = small.build("i3d")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for layer in model.layers:
        early = layer.name.startswith(("Conv3d", "Mixed_3"))
        layer.trainable = not early and layer.name != "Mixed_4b.Branch_0.Conv3d_0a_1x1.batch_norm"
    kept, again = both(model)
    assert_equal(kept, again)
    assert len(again["gradients"]) < len(small.shared("i3d").trainable_variables)
    assert {gradient.dtype.name for gradient in again["gradients"]} == {"float32"}


def test_the_model_stays_as_it_was(tmp_path):
    """It is saved, checkpointed and loaded as if nothing had been done to it."""
    model, plain = small.build("separable_sta"), small.build("separable_sta")
    small.randomize(plain, seed=1)
    features, _ = small.batch(model)
    recompute.training_call(model)(features)
    assert [weight.name for weight in model.weights] == [weight.name for weight in plain.weights]
    model.save(tmp_path / "model.keras")
    expected = model(features).numpy()
    np.testing.assert_allclose(zoo.load_model(tmp_path / "model.keras")(features), expected, rtol=1e-5)
    for source, target in ((model, plain), (plain, model)):
        small.randomize(target, seed=2)
        path = tf.train.Checkpoint(model=source).write(str(tmp_path / "checkpoint"))
        tf.train.Checkpoint(model=target).read(path).assert_consumed()
        np.testing.assert_allclose(target(features), expected, rtol=1e-5)


def test_where_the_blocks_of_i3d_end():
    model = zoo.build("i3d", num_classes=3, frames=8, size=32)
    names = {id(layer.output): layer.name for layer in model.layers}
    (ends,) = recompute.block_ends(model).values()
    pooled = ["MaxPool3d_2a_3x3", "MaxPool3d_3a_3x3", "Mixed_3b", "MaxPool3d_4a_3x3"]
    fourth = ["Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "MaxPool3d_5a_2x2"]
    assert [names[id(end)] for end in ends] == [*pooled, *fourth, "Mixed_5b", "Mixed_5c"]


@pytest.mark.parametrize("name", ["pose_lstm", "lrcn"])
def test_a_model_without_blocks_is_refused(name):
    with pytest.raises(zoo.ZooError, match=f"^{name} has no video network of its own .* leave recompute out$"):
        recompute.training_call(small.shared(name))
