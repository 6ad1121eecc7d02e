"""Gradient checkpointing: the step of a model that keeps all activations, in less memory."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from zoo import gradient_checkpointing, layers
from zoo.models import i3d


def network(towers=1):
    """A video network of two Inception blocks per tower, weighted by attention from a pose: quick to trace."""
    inputs = {name: tf.keras.Input((8, 32, 32, 3), name=name) for name in ("rgb", "rgb_left_hand")[:towers]}
    maps = []
    for name, rgb in inputs.items():
        x = i3d.unit(rgb, 8, 3, stride=2, name=f"{name}.first")
        x = tf.keras.layers.MaxPooling3D((1, 2, 2), name=f"{name}.pool")(x)
        for block in ("Mixed_3b", "Mixed_3c"):
            x = i3d.inception(x, block, 0.125, prefix=f"{name}.")
        maps.append(x)
    inputs["pose"] = tf.keras.Input((4, 3), name="pose")
    h = tf.keras.layers.Flatten(name="pose_features")(inputs["pose"])
    h = layers.PoseScores(towers, units=5, name="scores")(h)
    weights = layers.AttentionMap((towers,), "softmax", 0.1, name="part_attention")(h)
    x = layers.PartAggregation("sum", towers, name="aggregation")([*maps, weights])
    x = layers.Dropout(0.5, name="dropout")(tf.keras.layers.GlobalAveragePooling3D(name="pooled")(x))
    model = tf.keras.Model(inputs, layers.classify(x, tiny_models.CLASSES), name="network")
    tiny_models.randomize(model)
    return model


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
    features, labels = tiny_models.batch(model)
    features, labels = tf.nest.map_structure(tf.constant, (features, labels))
    weights = model.get_weights()
    generators = [layer.generator for layer in model.layers if isinstance(layer, layers.Dropout)]
    states = [generator.state.numpy() for generator in generators]
    found = []
    for call in (lambda features: model(features, training=True), gradient_checkpointing.training_call(model)):
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
    assert all(np.any(state != after) for state, after in zip(states, drawn))
    return found


def assert_equal(kept, again):
    for key in ("loss", "predictions", "gradients", "weights", "random states"):
        for expected, value in zip(tf.nest.flatten(kept[key]), tf.nest.flatten(again[key])):
            scale = np.abs(np.asarray(expected, float)).max()
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5 * scale + 1e-7, err_msg=key)


@pytest.mark.parametrize("towers", tiny_models.quick([1, 2], 2))
def test_the_step_is_that_of_a_model_that_keeps_everything(towers):
    """Loss with the layers' penalties, gradients, moving averages (moved once), and dropout's masks."""
    kept, again = both(network(towers))
    assert_equal(kept, again)
    assert kept["convolutions"] == 13 * towers  # 1 and twice 6
    assert again["convolutions"] == 2 * kept["convolutions"]


def test_frozen_layers():
    """A block without a weight to train, one with some, a normalisation that is frozen."""
    model = network()
    for layer in model.layers:
        frozen = layer.name.startswith(("rgb.first", "rgb.Mixed_3c.Branch_1"))
        layer.trainable = not frozen and layer.name != "rgb.Mixed_3b.Branch_0.Conv3d_0a_1x1.batch_norm"
    kept, again = both(model)
    assert_equal(kept, again)
    assert 0 < len(again["gradients"]) < len(network().trainable_variables)


def test_the_model_stays_as_it_was(tmp_path):
    """It is saved, checkpointed and loaded as if nothing had been done to it."""
    model, plain = (tiny_models.build("i3d", frames=8, size=32) for _ in range(2))
    features, _ = tiny_models.batch(model)
    gradient_checkpointing.training_call(model)
    assert [weight.name for weight in model.weights] == [weight.name for weight in plain.weights]
    model.save(tmp_path / "model.keras")
    expected = model(features).numpy()
    np.testing.assert_allclose(zoo.load_model(tmp_path / "model.keras")(features), expected, rtol=1e-5)
    for source, target in ((model, plain), (plain, model)):
        tiny_models.randomize(target, seed=2)
        path = tf.train.Checkpoint(model=source).write(str(tmp_path / "checkpoint"))
        tf.train.Checkpoint(model=target).read(path).assert_consumed()
        np.testing.assert_allclose(target(features), expected, rtol=1e-5)


def test_where_the_blocks_of_i3d_end():
    model = zoo.build("i3d", num_classes=3, frames=8, size=32)
    names = {id(layer.output): layer.name for layer in model.layers}
    (ends,) = gradient_checkpointing.block_ends(model).values()
    pooled = ["MaxPool3d_2a_3x3", "MaxPool3d_3a_3x3", "Mixed_3b", "MaxPool3d_4a_3x3"]
    fourth = ["Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "MaxPool3d_5a_2x2"]
    assert [names[id(end)] for end in ends] == [*pooled, *fourth, "Mixed_5b", "Mixed_5c"]


BLOCKS = {"pi3d": 3 * 12, "vpn": 12, "resnext3d101": 6, "i3d_nonlocal": 13}


@pytest.mark.parametrize("name", tiny_models.quick(BLOCKS, "resnext3d101"))
def test_blocks_are_found_in_every_model_built_on_a_video_network(name):
    ends = gradient_checkpointing.block_ends(tiny_models.shared(name))
    assert sum(map(len, ends.values())) == BLOCKS[name]


@pytest.mark.parametrize("name", ["pose_lstm", "lrcn"])
def test_a_model_without_blocks_is_refused(name):
    with pytest.raises(zoo.ZooError, match=f"^{name} has no video network among its own layers: leave gradient"):
        gradient_checkpointing.training_call(tiny_models.shared(name))
