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
    ],
)
def test_networks_and_sizes(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("lrcn", num_classes=3, **options)
