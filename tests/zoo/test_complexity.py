"""Multiply-accumulates and activations against counts by hand."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from zoo import __main__, complexity


def _i3d_by_hand(classes):
    """Counted from the published table: output positions x kernel volume x channels in x channels out."""
    positions = {2: 32 * 112 * 112, 3: 32 * 56 * 56, 4: 32 * 28 * 28, 5: 16 * 14 * 14, 6: 8 * 7 * 7}
    total = positions[2] * 343 * 3 * 64 + positions[3] * (64 * 64 + 27 * 64 * 192)
    blocks = [  # scale, channels in, the six filters
        (4, 192, (64, 96, 128, 16, 32, 32)),
        (4, 256, (128, 128, 192, 32, 96, 64)),
        (5, 480, (192, 96, 208, 16, 48, 64)),
        (5, 512, (160, 112, 224, 24, 64, 64)),
        (5, 512, (128, 128, 256, 24, 64, 64)),
        (5, 512, (112, 144, 288, 32, 64, 64)),
        (5, 528, (256, 160, 320, 32, 128, 128)),
        (6, 832, (256, 160, 320, 32, 128, 128)),
        (6, 832, (384, 192, 384, 48, 128, 128)),
    ]
    for scale, channels, (a, b, c, d, e, f) in blocks:
        total += positions[scale] * (channels * (a + b + d + f) + 27 * (b * c + d * e))
    return total + 7 * 1024 * classes


def test_i3d_at_full_size():
    known = zoo.describe("i3d", num_classes=400)
    assert known["gmacs"] == _i3d_by_hand(400) / 1e9
    assert round(known["gmacs"], 2) == 111.15


def test_pose_lstm_and_graph_network():
    assert (
        zoo.describe("pose_lstm", num_classes=3, pose_steps=4, joints=5, lstm_units=6)["gmacs"]
        == (4 * 4 * 6 * ((15 + 6) + 2 * (6 + 6)) + 6 * 3) / 1e9
    )
    model = tiny_models.shared("vpn")
    inputs = model.get_layer("graph_convolution_1")
    nodes = 2 * 13
    assert complexity._layer(inputs, model) == nodes * 3 * 64 + nodes * nodes * 64


def test_parameters_without_the_head_and_in_inference():
    known = zoo.describe("vpn", num_classes=tiny_models.CLASSES, **tiny_models.options("vpn"))
    model = tiny_models.shared("vpn")
    head, embedding = (
        sum(weight.size for weight in model.get_layer(layer).get_weights()) for layer in ("classifier", "embedding")
    )
    assert known["parameters"] - known["parameters_without_head"] == head
    assert known["parameters"] - known["parameters_in_inference"] == embedding
    features, _ = tiny_models.batch(model)
    before = model(features, training=False)
    with tiny_models.restored(model):
        for weight in model.get_layer("embedding").weights:
            weight.assign(weight + 1.0)
        np.testing.assert_array_equal(before, model(features, training=False))


def test_a_network_of_single_frames_runs_once_per_frame():
    model = tiny_models.shared("lrcn")
    frames = tiny_models.OPTIONS["frames"]
    network = model.get_layer("frame_network")
    lstm = complexity._layer(model.get_layer("lstm"), model)
    once = complexity.multiply_accumulates(network)
    head = tiny_models.OPTIONS["lstm_units"] * tiny_models.CLASSES
    assert complexity.multiply_accumulates(model) == frames * once + lstm + head
    assert complexity.activation_bytes(model) > frames * complexity.activation_bytes(network)


def test_activations_of_a_small_network():
    x = tf.keras.Input((4, 4, 4, 3))
    y = tf.keras.layers.Conv3D(5, 1)(x)
    assert complexity.activation_bytes(tf.keras.Model(x, y)) == 4 * 64 * (3 + 5)


def test_table(capsys, monkeypatch):
    monkeypatch.setattr(zoo, "list_models", lambda: ["i3d", "pose_lstm"])
    assert __main__.main([]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:]}
    assert list(rows) == ["i3d", "pose_lstm"]
    assert rows["i3d"].split()[1:4] == ["12.356", "12.295", "12.356"]


@pytest.mark.slow
def test_table_of_all_models():
    done = subprocess.run([sys.executable, "-m", "zoo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert rows == zoo.list_models()
