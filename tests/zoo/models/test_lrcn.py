"""LRCN: every frame goes through one network, and the order of the frames matters."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import outputs
from zoo.models import i3d, lrcn


def test_frames_share_a_network():
    model = tiny_models.build("lrcn")
    features, _ = tiny_models.batch(model)
    (per_frame,) = outputs(model, ["frames_from_batch"], features)
    frame = features["rgb"][1, 5][None]
    alone = model.get_layer("frame_network")(frame, training=False)
    np.testing.assert_allclose(per_frame[1, 5], alone[0], rtol=1e-3, atol=1e-5)


def test_statistics_are_learned_within_a_short_training():
    """MobileNetV2's own momentum, 0.999, would need thousands of steps."""
    network = tiny_models.shared("lrcn").get_layer("frame_network")
    normalizing = [layer for layer in network.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in normalizing} == {i3d.BN_MOMENTUM}


@pytest.mark.slow
def test_a_picture_is_to_inception_v1_what_it_is_to_i3d_while_it_stands_still(monkeypatch):
    """In the middle of a long video, where little is left of the borders in time."""
    video = zoo.build("i3d", num_classes=2, frames=96, size=32)
    rng = np.random.default_rng(0)
    for layer in video.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    monkeypatch.setattr(lrcn.factory, "build", lambda name, **options: video)
    picture = rng.uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    (steps,) = outputs(video, ["Mixed_5c"], {"rgb": np.repeat(picture[:, np.newaxis], 96, axis=1)})
    cnn = lrcn.frame_network("inception_v1", 32, "kinetics400")
    np.testing.assert_allclose(cnn(picture, training=False), steps[:, 6].mean(axis=(1, 2)), atol=5e-4)


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def unreachable(**options):
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setattr(tf.keras.applications, "MobileNetV2", unreachable)
    with pytest.raises(zoo.ZooError, match=r"'imagenet' of mobilenet_v2 cannot be read .URL fetch failure.*, give"):
        lrcn.frame_network("mobilenet_v2", 32, "imagenet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "resnet50"}, "did you mean 'resnet50_v2'"),
        ({"network": "inception_v3", "size": 64}, "size is 64, expected at least 75"),
        ({"network": "mobilenet_v2", "size": 32, "network_weights": "no/such.h5"}, "weights 'no/such.h5'"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("lrcn", num_classes=3, **options)
