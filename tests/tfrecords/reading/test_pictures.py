"""Pictures on their way to a network."""

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.reading import pictures


def _noise(side, frames=2):
    return np.random.default_rng(0).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)


def test_a_picture_of_the_right_size_keeps_its_values():
    images = _noise(16)
    np.testing.assert_allclose(pictures.prepare(images, 16), images / 127.5 - 1.0, atol=1e-6)


@pytest.mark.parametrize(("side", "smoothed"), [(12, False), (18, False), (20, False), (21, True), (64, True)])
def test_only_pictures_that_shrink_much_are_smoothed(side, smoothed):
    images = _noise(side).astype("float32")
    expected = tf.image.resize(images, [16, 16], antialias=smoothed)
    np.testing.assert_allclose(pictures.resize(images, 16), expected, atol=1e-4)


def test_a_mirror_changes_columns_alone():
    images = _noise(10)[:, :6]
    np.testing.assert_array_equal(pictures.mirror(images), images[:, :, ::-1])
