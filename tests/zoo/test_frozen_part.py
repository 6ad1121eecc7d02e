"""The frozen part of a model, cut off: the two parts compute what the whole does, in training too."""

import fnmatch

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import frozen_part


def frozen(model, *patterns):
    found = [layer for layer in model.layers if any(fnmatch.fnmatchcase(layer.name, p) for p in patterns)]
    for layer in found:
        layer.trainable = False
    return found


def test_both_parts_together_are_the_model_and_frozen_statistics_stay():
    """A frozen batch normalisation is in inference mode when the model is trained."""
    model = zoo.build("i3d", num_classes=3, frames=8, size=32, width=0.1)
    before, after = frozen_part.split(model, frozen(model, "Conv3d_*", "Mixed_[34]*", "Mixed_5b*"))
    features = {"rgb": np.random.default_rng(0).uniform(-1, 1, (2, 8, 32, 32, 3)).astype(np.float32)}
    statistics = [value.copy() for value in before.get_weights()]
    cut = before(features, training=True)
    assert [tuple(value.shape) for value in cut.values()] == [(2, 1, 1, 1, 84)]  # and not a branch's pooling of it
    np.testing.assert_array_equal(before(features, training=False)["cut_0"], cut["cut_0"])
    for old, new in zip(statistics, before.get_weights()):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(after(cut, training=False), model(features, training=False), atol=1e-6)
    trained = [layer for layer in model.layers if layer.name.startswith(("Mixed_5c.", "classifier"))]
    assert len(after.trainable_variables) == sum(len(layer.trainable_weights) for layer in trained)


def test_poses_that_trained_layers_read_beside_the_video_network_are_part_of_the_cut():
    model = zoo.build("separable_sta", num_classes=3, frames=8, size=32, width=0.1, pose_steps=3, lstm_units=4)
    cut = frozen_part.cut(model, frozen(model, "Conv3d_*", "Mixed_*"))
    assert [tuple(tensor.shape[1:]) for tensor in cut] == [(3, 1, 25, 3), (1, 1, 1, 102)]


def test_a_layer_that_is_used_twice_is_named():
    inputs = tf.keras.Input((3,), name="pose")
    twice = tf.keras.layers.Dense(3, name="twice")
    model = tf.keras.Model({"pose": inputs}, twice(twice(inputs)), name="model")
    with pytest.raises(zoo.ZooError, match="model uses twice several times, so that it cannot be cut in two"):
        frozen_part.cut(model, [])


@pytest.mark.parametrize(
    ("name", "options"), [("i3d", {"feature_power": 0.5}), ("separable_sta", {"pose_steps": 3, "lstm_units": 4})]
)
def test_networks_of_pictures_and_the_rest_of_the_model_are_the_model(name, options):
    """Maps are those before any pooling, so that both share them."""
    model = zoo.build(name, num_classes=3, frames=8, size=64, width=0.1, **options)
    fixed = frozen_part.cut(model, frozen(model, "Conv3d_*", "Mixed_*", "lstm_*"))
    networks, rest = frozen_part.take_maps(model, fixed)
    draws = np.random.default_rng(0)
    features = {key: tf.constant(draws.uniform(-1, 1, (2, *x.shape[1:])), tf.float32) for key, x in model.input.items()}
    maps = {key: network({key: features[key]}) for key, network in networks.items()}
    assert {tuple(value.shape) for value in maps.values()} == {(2, 1, 2, 2, 102)}
    given = {key: maps.get(key, features[key]) for key in rest.input}
    np.testing.assert_allclose(rest(given), model(features), atol=1e-6)


def test_a_network_that_reads_two_videos_is_not_taken_out():
    model = zoo.build("pi3d", num_classes=3, frames=8, size=64, width=0.1, aggregate_after=1, attention=False)
    fixed = frozen_part.cut(model, frozen(model, "*Conv3d_*", "*Mixed_*"))
    assert frozen_part.take_maps(model, fixed) == ({}, None)
