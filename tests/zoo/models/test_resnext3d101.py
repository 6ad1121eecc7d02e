"""3D ResNeXt-101: published size, grouped convolution against its definition."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.layers import GroupedConv3D


def test_published_structure():
    """33 blocks of three convolutions, the first convolution and the classifier: 101 layers; about 48 M parameters."""
    model = zoo.build("resnext3d101", num_classes=400)
    convolutions = [layer for layer in model.layers if layer.name.rpartition(".")[2] in ("conv_1", "conv_2", "conv_3")]
    layers = [layer for layer in convolutions if isinstance(layer, (tf.keras.layers.Conv3D, GroupedConv3D))]
    assert len(layers) + 1 == 101  # and the classifier
    assert 47e6 < model.count_params() < 49e6
    assert tuple(model.get_layer("stage_4.block_3").output.shape[1:]) == (4, 7, 7, 2048)


@pytest.mark.parametrize("strides", [1, 2])
def test_grouped_convolution(strides):
    """Equal to one dense convolution whose kernel is zero between the groups."""
    groups, channels, filters = 4, 8, 12
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 7, channels)).astype("float32")
    layer = GroupedConv3D(filters, 3, groups, strides)
    y = layer(x)
    (kernel,) = layer.get_weights()
    dense = np.zeros((3, 3, 3, channels, filters), "float32")
    for group in range(groups):
        rows = slice(group * channels // groups, (group + 1) * channels // groups)
        columns = slice(group * filters // groups, (group + 1) * filters // groups)
        dense[..., rows, columns] = kernel[..., columns]
    expected = tf.nn.conv3d(x, dense, (1, strides, strides, strides, 1), "SAME")
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert tuple(y.shape) == layer.compute_output_shape(x.shape)


def test_blocks_must_be_four():
    with pytest.raises(zoo.ZooError, match="expected a list of 4 values"):
        zoo.build("resnext3d101", num_classes=3, blocks=(3, 4, 6))
