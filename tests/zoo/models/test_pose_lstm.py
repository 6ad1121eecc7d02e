"""The pose LSTM's recurrence and its loss over all steps, recomputed in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import lstm_step
from zoo.skeleton_streams import STREAMS, SkeletonStreams

NO_DROPOUT = {"dropout": 0.0}


def _lstm(x, kernel, recurrent, bias):
    """Hidden vectors of an LSTM over ``[B, steps, D]``."""
    h = c = np.zeros((len(x), recurrent.shape[0]))
    states = []
    for step in range(x.shape[1]):
        h, c = lstm_step(x[:, step], h, c, kernel, recurrent, bias)
        states.append(h)
    return np.stack(states, axis=1)


def _step_probabilities(model, pose):
    """Softmax of the classifier at every step, ``[B, tp, C]``."""
    x = pose.reshape(*pose.shape[:2], -1).astype("float64")
    for number in (1, 2, 3):
        x = _lstm(x, *model.get_layer(f"lstm_{number}").get_weights())
    kernel, bias = model.get_layer("classifier").get_weights()
    exp = np.exp(x @ kernel + bias)
    return exp / exp.sum(axis=-1, keepdims=True)


def test_last_hidden_vector_is_classified():
    model = tiny_models.build("pose_lstm", **NO_DROPOUT)
    features, _ = tiny_models.batch(model, clips=3)
    expected = _step_probabilities(model, features["pose"])[:, -1]
    np.testing.assert_allclose(model(features, training=False), expected, rtol=1e-4)


def test_bones_and_motions_are_seen_side_by_side():
    model = tiny_models.build("pose_lstm", joints=13, layout="lcrnet_13", streams=STREAMS, **NO_DROPOUT)
    features, _ = tiny_models.batch(model, clips=3)
    seen = np.asarray(SkeletonStreams(tiny_models.OPTIONS["layout"], STREAMS)(features["pose"]))
    expected = _step_probabilities(model, seen)[:, -1]
    np.testing.assert_allclose(model(features, training=False), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "lcrnet_13"}, "layout lcrnet_13 has 13 joints, expected 5"),
        ({"streams": ("bone",)}, "bones or motions need layout"),
        ({"streams": ("bone",), "layout": "lcrnet"}, "did you mean 'lcrnet_13'"),
        ({"streams": ("bones",)}, "streams is .*, did you mean 'bone'"),
    ],
)
def test_streams_that_cannot_be_seen(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        tiny_models.build("pose_lstm", **options)


def test_loss_of_all_steps_is_their_mean_cross_entropy():
    model = tiny_models.build("pose_lstm", loss="all_steps", **NO_DROPOUT)
    features, labels = tiny_models.batch(model, clips=3)
    steps = _step_probabilities(model, features["pose"])  # [3, tp, C]
    cross_entropy = -np.log(steps[np.arange(3), :, labels])  # [3, tp]
    loss = tiny_models.training_loss(model, features, labels)
    np.testing.assert_allclose(loss, cross_entropy.mean(), rtol=1e-4)
    geometric = np.exp(np.log(steps).mean(axis=1))
    expected = geometric / geometric.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(features, training=False), expected, rtol=1e-4)


def test_padding_changes_neither_predictions_nor_loss():
    short = tiny_models.build("pose_lstm", loss="all_steps", pose_steps=3, **NO_DROPOUT)
    padded = tiny_models.build("pose_lstm", loss="all_steps", pose_steps=5, padded=True, **NO_DROPOUT)
    padded.set_weights(short.get_weights())
    features, labels = tiny_models.batch(short, clips=3)
    filled = {"pose": np.pad(features["pose"], [(0, 0), (0, 2), (0, 0), (0, 0), (0, 0)])}
    np.testing.assert_allclose(padded(filled, training=False), short(features, training=False), rtol=1e-5)
    losses = [tiny_models.training_loss(*given, labels) for given in ((padded, filled), (short, features))]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    with pytest.raises(zoo.ZooError, match="set it to all_steps"):
        tiny_models.build("pose_lstm", padded=True)
    motion = {"streams": ("joint_motion",), "layout": "lcrnet_13", "joints": 13}
    with pytest.raises(zoo.ZooError, match="motions are also zero while a person stands still"):
        tiny_models.build("pose_lstm", loss="all_steps", padded=True, **motion)


def test_dropout_state_survives_a_checkpoint(tmp_path):
    """What makes a resumed training see the masks it would have seen."""
    model = tiny_models.build("pose_lstm", dropout=0.5)
    features, _ = tiny_models.batch(model)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    first = model(features, training=True)
    other = tiny_models.build("pose_lstm", dropout=0.5)
    assert np.abs(other(features, training=True) - first).max() > 0
    tf.train.Checkpoint(model=other).read(path).expect_partial()
    np.testing.assert_array_equal(other(features, training=True), first)
    assert np.abs(other(features, training=True) - first).max() > 0, "the mask must change from call to call"


def test_dropout_drops_its_share_and_keeps_the_mean():
    from zoo.layers import Dropout

    out = np.asarray(Dropout(0.3, seed=1)(tf.ones((200, 200)), training=True))
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.7)}
    np.testing.assert_allclose((out == 0).mean(), 0.3, atol=0.01)
    np.testing.assert_allclose(out.mean(), 1, atol=0.02)
