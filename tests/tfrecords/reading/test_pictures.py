"""Pictures on their way to a network."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfrecords import recording_files
from tfrecords.converting import crops
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


@pytest.fixture(scope="module")
def decode():
    """:func:`pictures.decode_frames` of all frames of a request, in a graph."""

    def of_all(jpegs):
        return pictures.decode_frames(jpegs, tf.range(tf.size(jpegs)), pictures.centre_square, turned=True)

    return tf.function(of_all, input_signature=[tf.TensorSpec([None], tf.string)])


@pytest.mark.parametrize("exif", recording_files.EXIF_MARKS, ids=str)
def test_the_graph_turns_a_picture_as_its_exif_mark_says(decode, exif):
    jpeg = recording_files.with_exif(crops.encode_jpeg(recording_files.patches(41, 64), 98), **exif)
    expected = crops.decode_jpeg(jpeg)
    height, width, _ = expected.shape
    top, left = (height - 41) // 2, (width - 41) // 2
    (decoded,) = decode([jpeg + bytes(5000)]).numpy().astype(int)
    assert np.abs(decoded - expected[top : top + 41, left : left + 41]).mean() < 4  # other decoder, other rounding


def test_frames_of_different_sizes_are_refused(decode):
    jpeg, other = (crops.encode_jpeg(recording_files.patches(*size)) for size in ((41, 64), (64, 41)))
    turned = recording_files.with_exif(other, 6)  # shown in the size of the first
    assert decode([jpeg, turned, jpeg]).shape == (3, 41, 41, 3)
    for jpegs in ([jpeg, turned, other, jpeg], [jpeg, jpeg, recording_files.with_exif(jpeg, 8)]):
        reason = r"frame 2 has \[64 41\] pixels \(height and width\), frame 0 has \[41 64\]"
        with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
            decode(jpegs)
    with pytest.raises(tf.errors.InvalidArgumentError, match="frame 1 is no JPEG file"):
        decode([jpeg, b"\x89PNG"])


@pytest.mark.parametrize("size", [(41, 64), (64, 40), (33, 33), (23, 51)])
def test_a_whole_frame_is_cut_as_converters_cut_it(size):
    frame = recording_files.patches(*size)
    box = crops.whole_box(size[1], size[0])
    expected = crops.cut(frame, box, box[2] - box[0])
    window = pictures.framed("whole")
    jpegs = tf.constant([crops.encode_jpeg(frame)])
    decoded = pictures.decode_frames(jpegs, tf.constant([0]), window, turned=True)[0].numpy().astype(int)
    assert np.abs(decoded - expected).mean() < 4
