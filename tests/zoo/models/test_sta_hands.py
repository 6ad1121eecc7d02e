"""STA-Hands (BMVC18), recomputed in NumPy from the layers' weights."""

import pathlib
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import cross_entropy, lstm_step, outputs, sigmoid, softmax
from zoo import complexity, skeletons
from zoo.models import lrcn, sta_hands

OPTIONS = {"dropout": 0.0, "size": 40, "glimpse_pixels": 9}
HANDS = [getattr(skeletons.get(tiny_models.OPTIONS["layout"]), hand) for hand in ("left_hand", "right_hand")]


def _batch(model, clips=3):
    """Random clips; hands lie in the frames, one of them half outside."""
    features, labels = tiny_models.batch(model, clips=clips)
    if "pose_xy" in features:
        rng = np.random.default_rng(5)
        features["pose_xy"] = rng.uniform(4, 35, features["pose_xy"].shape).astype("float32")
        features["pose_xy"][0, 0, 0, HANDS[0]] = 39, 20
    return features, labels


def _perceptron(x, hidden_kernel, hidden_bias, kernel, bias):
    return sigmoid(sigmoid(x @ hidden_kernel + hidden_bias) @ kernel + bias)


def _dense(model, name, x):
    kernel, bias = model.get_layer(name).get_weights()
    return x @ kernel + bias


def _rgb_stream(model, v, s, choice):
    """Logits of the RGB stream and both attentions, from the glimpses' features V ``[B, T, G, D]``."""
    attention = choice.get("attention", "spatio_temporal")
    seen = s if choice.get("conditioning", True) else s[:, :0]
    batch, steps, glimpses, _ = v.shape
    lstm, perceptron = (
        model.get_layer("glimpse_lstm").get_weights()[:3],
        model.get_layer("glimpse_lstm").get_weights()[3:],
    )
    h = c = np.zeros((batch, lstm[1].shape[0]))
    p, u = np.ones((batch, steps, glimpses)), []
    for t in range(steps):
        if perceptron:
            p[:, t] = _perceptron(np.concatenate([h, seen], axis=1), *perceptron)
        v_t = v[:, t] * p[:, t, :, np.newaxis]
        v_t = v_t.reshape(batch, -1) if choice.get("aggregation") == "concat" else v_t.sum(axis=1)
        h, c = lstm_step(v_t, h, c, *lstm)
        u.append(np.maximum(_dense(model, "step_features", h), 0))
    weights = np.ones((batch, steps))
    if "temporal" in attention:
        flat = p.reshape(batch, -1) if perceptron else p[:, 0, :0]
        weights = _perceptron(
            np.concatenate([seen, flat], axis=1),
            *model.get_layer("temporal_hidden").get_weights(),
            *model.get_layer("temporal_attention").get_weights(),
        )
    summed = np.einsum("btd,bt->bd", np.stack(u, axis=1), weights)
    return _dense(model, "classifier", summed), p, weights


@pytest.mark.parametrize(
    "choice",
    tiny_models.quick(
        [
            *({"attention": attention} for attention in get_args(sta_hands.Attention)),
            {"conditioning": False},
            {"attention": "spatial", "conditioning": False},
            {"glimpses": "frames"},
            {"joint_order": "random"},
            {"network_trainable": True},
            {"aggregation": "concat"},
            {"aggregation": "concat", "attention": "none"},
        ],
        {"attention": "spatio_temporal"},
        {"glimpses": "frames"},
    ),
    ids=str,
)
def test_predictions_attention_and_training_loss(choice):
    model = tiny_models.build("sta_hands", **OPTIONS, **choice)
    features, labels = _batch(model)
    v, s = outputs(model, ["glimpse_features", "pose_features"], features)
    logits, p, weights = _rgb_stream(model, v, s, choice)
    pose_logits = _dense(model, "pose_cnn.classifier", s)
    np.testing.assert_allclose(model(features, training=False), softmax(pose_logits + logits), rtol=1e-3, atol=1e-6)
    attention = choice.get("attention", "spatio_temporal")
    expected = {"spatial_attention": p, "temporal_attention": weights}
    kinds = {"none": (), "spatio_temporal": ("spatial", "temporal")}.get(attention, (attention,))
    if kinds:
        maps = zoo.attention_maps(model)(features)
        assert sorted(maps) == [f"{kind}_attention" for kind in kinds]
        for name, value in maps.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6)
    loss = tiny_models.training_loss(model, features, labels)
    streams = cross_entropy(softmax(pose_logits), labels) + cross_entropy(softmax(logits), labels)
    np.testing.assert_allclose(loss, streams, rtol=1e-4)


@pytest.mark.parametrize("conditioning", tiny_models.quick([True, False], True))
def test_the_hands_alone(conditioning):
    """Without the pose stream in the output; the pose still drives the attention."""
    choice = {"aggregation": "concat", "conditioning": conditioning}
    model = tiny_models.build("sta_hands", **OPTIONS, **choice, streams="rgb")
    features, labels = _batch(model)
    names = ["glimpse_features", *(["pose_features"] if conditioning else [])]
    v, *s = outputs(model, names, features)
    logits, *_ = _rgb_stream(model, v, s[0] if s else np.zeros((len(v), 0)), choice)
    np.testing.assert_allclose(model(features, training=False), softmax(logits), rtol=1e-3, atol=1e-6)
    loss = tiny_models.training_loss(model, features, labels)
    np.testing.assert_allclose(loss, cross_entropy(softmax(logits), labels), rtol=1e-4)
    assert any(layer.name.startswith("pose_conv") for layer in model.layers) == conditioning
    assert not any(layer.name == "pose_cnn.classifier" for layer in model.layers)


@pytest.mark.slow
def test_hand_crops_are_resized_and_go_through_one_frozen_network():
    model = tiny_models.build("sta_hands", **OPTIONS)
    features, _ = _batch(model)
    glimpses, v = outputs(model, ["glimpses", "glimpse_features"], features)
    size = tiny_models.OPTIONS["glimpse_size"]
    right = tf.image.resize(features["rgb_right_hand"][1], (size, size))
    np.testing.assert_allclose(glimpses[1, 5], right[2], atol=1e-6)  # step 2, after its left hand
    alone = model.get_layer("frame_network")(right[2:3], training=False)
    np.testing.assert_allclose(v[1, 2, 1], alone[0], rtol=1e-3, atol=1e-5)
    assert not model.get_layer("frame_network").trainable_variables
    before = model.get_layer("frame_network").get_weights()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    model.fit(features, np.array([0, 1, 2]), verbose=0)
    for old, new in zip(before, model.get_layer("frame_network").get_weights()):
        np.testing.assert_array_equal(old, new)  # nor do its statistics move


def test_glimpses_are_cut_around_the_hands_of_all_persons():
    """A cut of 9 pixels at a whole pixel, not resized, is a part of the picture; black outside of it."""
    layer = sta_hands.HandGlimpses(tiny_models.OPTIONS["layout"], pixels=9, size=9)
    rng = np.random.default_rng(0)
    frames = rng.uniform(-1, 1, (2, 3, 40, 50, 3)).astype("float32")
    joints = np.full((2, 3, 2, 13, 2), np.nan, "float32")
    joints[..., HANDS, :] = rng.integers(4, 36, (2, 3, 2, 2, 2))
    joints[0, 0, 0, HANDS[0]] = 48, 10  # two columns too far to the right
    joints[1, 2, 1, HANDS[1]] = np.nan
    glimpses = np.asarray(layer([frames, joints])).reshape(2, 3, 2, 2, 9, 9, 3)
    padded = np.pad(frames, ((0, 0), (0, 0), (4, 4), (4, 4), (0, 0)), constant_values=-1)
    for index in np.ndindex(2, 3, 2, 2):
        clip, step, person, hand = index
        x, y = joints[clip, step, person, HANDS[hand]]
        if np.isnan(x):
            assert (glimpses[index] == -1).all()
            continue
        expected = padded[clip, step, int(y) : int(y) + 9, int(x) : int(x) + 9]
        np.testing.assert_allclose(glimpses[index], expected, atol=1e-4)


@pytest.mark.parametrize("glimpses", tiny_models.quick(get_args(sta_hands.Glimpses), "frames"))
def test_an_absent_person_has_no_features(glimpses):
    model = tiny_models.build("sta_hands", **OPTIONS, glimpses=glimpses)
    features, _ = _batch(model)
    (both,) = outputs(model, ["glimpse_features"], features)
    absent = 0 if glimpses == "hand_crops" else 1  # hand crops are the first person's
    features["pose"][:, 2:, absent] = 0
    (alone,) = outputs(model, ["glimpse_features"], features)
    hands = slice(2 * absent, 2 * absent + 2)
    assert np.abs(both[:, 2:, hands]).max() > 0
    assert not alone[:, 2:, hands].any()
    alone[:, 2:, hands] = both[:, 2:, hands]
    np.testing.assert_array_equal(alone, both)


def test_a_trained_pose_cnn_becomes_the_pose_stream():
    pose = tiny_models.build("pose_cnn")
    model = tiny_models.build("sta_hands", **OPTIONS)
    features, _ = _batch(model)
    filled = zoo.transfer_weights(pose, model)
    assert filled == ["pose_conv_1", "pose_conv_2", "pose_conv_3", "pose_cnn.classifier"]
    stream = tf.keras.Model(model.input["pose"], model.get_layer("pose_cnn.classifier").output)
    scores = tf.nn.softmax(stream(features["pose"], training=False))
    np.testing.assert_allclose(scores, pose({"pose": features["pose"]}, training=False), rtol=1e-5)
    other = zoo.build("pose_cnn", num_classes=4, **tiny_models.options("pose_cnn"))
    with pytest.raises(zoo.ZooError, match=r"'classifier' has weights of shapes"):
        zoo.transfer_weights(other, model)


def test_with_the_pose_stream_frozen_the_rgb_stream_is_trained_alone():
    """The gradient is that of the RGB stream's own cross-entropy, for any output of the pose stream."""
    model = tiny_models.build("sta_hands", **OPTIONS)
    start = model.get_weights()

    def gradients(pose_bias):
        model.set_weights(start)
        model.get_layer("pose_cnn.classifier").bias.assign(pose_bias)
        features, labels = _batch(model)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.keras.losses.sparse_categorical_crossentropy(labels, model(features, training=True))
            )
            loss += tf.add_n(model.losses)
        rgb = [model.get_layer(name).kernel for name in ("classifier", "step_features")]
        return tape.gradient(loss, rgb)

    for plain, other in zip(gradients([0, 0, 0]), gradients([2, -1, 1])):
        np.testing.assert_allclose(plain, other, rtol=1e-3, atol=1e-6)


def test_trainable_parameters_at_full_size():
    """BMVC18 states 38 million without the glimpse network; here 38.99, with the unstated sizes chosen."""
    model = zoo.build("sta_hands", num_classes=60, glimpses="frames", network="mobilenet_v2", glimpse_size=32)
    of_d = 4 * 1024 * (2048 - 1280)  # the LSTM's input kernel, had the network the 2048 features of Inception-v3
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) + of_d
    assert count == 38_985_744
    hands = {name: tuple(tensor.shape[1:]) for name, tensor in model.input.items()}
    assert hands == {"pose": (20, 2, 25, 3), "rgb": (20, 224, 224, 3), "pose_xy": (20, 2, 25, 2)}


def test_multiply_accumulates_of_the_recurrence():
    model = tiny_models.shared("sta_hands")
    steps, glimpses, channels, units, hidden, s = 4, 2, 1280, 6, 7, 64
    lstm = 4 * units * (channels + units)
    attention = (units + s) * hidden + hidden * glimpses
    layer = model.get_layer("glimpse_lstm")
    assert complexity._layer(layer, model) == steps * (lstm + attention + glimpses * channels)
    network = model.get_layer("frame_network")
    assert complexity._layer(network, model) == steps * glimpses * complexity.multiply_accumulates(network)


@pytest.mark.slow
def test_weights_of_the_glimpse_network_from_a_file(tmp_path):
    network = lrcn.frame_network("mobilenet_v2", 32)
    path = str(tmp_path / "mobilenet.weights.h5")
    inside = tf.keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    inside.set_weights(network.get_weights())
    inside.save_weights(path)
    model = zoo.build("sta_hands", num_classes=3, **tiny_models.options("sta_hands", network_weights=path))
    model.save(tmp_path / "model.keras")
    pathlib.Path(path).unlink()  # a saved model does not need it
    for found in (model, zoo.load_model(tmp_path / "model.keras")):
        for expected, actual in zip(network.get_weights(), found.get_layer("frame_network").get_weights()):
            np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"glimpses": "hands"}, "glimpses is 'hands', expected one of hand_crops, frames"),
        ({"attention": "spatio_temporl"}, "did you mean 'spatio_temporal'"),
        ({"attention": "temporal", "conditioning": False}, "has no input"),
        ({"joint_order": "tour"}, "joint_order is 'tour', expected one of"),
        ({"network": "inception_v4"}, "did you mean 'inception_v3'"),
        ({"glimpse_size": 64}, "glimpse_size is 64, expected at least 75"),
        ({"glimpse_pixels": 0}, "glimpse_pixels is 0"),
        ({"network": "mobilenet_v2", "glimpse_size": 32, "network_weights": "no/such.h5"}, "weights 'no/such.h5'"),
    ],
)
def test_choices_that_make_no_model(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("sta_hands", num_classes=3, **options)
