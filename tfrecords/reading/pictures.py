"""Pictures: decoded, cropped, resized, in the range that networks expect."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

CORNER_CROP = 0.875  # side of the corner crops, as a fraction of the picture's shorter side: 224 of 256 pixels
SMALLEST_CROP = 0.8  # side of the smallest random training crop, likewise
ANTIALIAS_ABOVE = 1.25  # pictures that shrink by a larger factor are smoothed

Window = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (height, width) of a picture -> top, left, height, width


def prepare(images: tf.Tensor, size: int) -> tf.Tensor:
    """Decoded pictures as the networks expect them.

    Args:
        images: ``[T, H, W, 3]`` uint8.
        size: Height and width of the result.

    Returns:
        ``[T, size, size, 3]`` float32 in [-1, 1].
    """
    return to_network_range(resize(images, size))


def to_network_range(images: tf.Tensor) -> tf.Tensor:
    """uint8 pictures (or float32 of the same range) as float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def resize(images: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes pictures ``[T, H, W, 3]`` to ``[T, size, size, 3]``, values as they came in; float32.

    Bilinear. Pictures that shrink by more than :data:`ANTIALIAS_ABOVE` are smoothed as well: small objects would
    flicker otherwise. Below that every pixel still counts, and smoothing would take five times as long as the rest.
    """
    images = tf.cast(images, tf.float32)  # TensorFlow resizes these in two thirds of the time it takes for uint8
    shape = tf.shape(images)
    side = tf.cast(tf.maximum(shape[1], shape[2]), tf.float32)

    def shrunk_or_enlarged():
        return tf.cond(
            side > ANTIALIAS_ABOVE * size,
            lambda: tf.image.resize(images, [size, size], antialias=True),
            lambda: tf.image.resize(images, [size, size]),
        )

    right = tf.logical_and(tf.equal(shape[1], size), tf.equal(shape[2], size))
    images = tf.cond(right, lambda: images, shrunk_or_enlarged)
    images.set_shape([None, size, size, 3])
    return images


def mirror(images: tf.Tensor) -> tf.Tensor:
    """Pictures ``[T, H, W, 3]`` as a mirror shows them: left and right are exchanged."""
    shape = tf.shape(images)
    rows = tf.reshape(images, [-1, shape[2], 3])  # TensorFlow reverses these four times as fast as [T, H, W, 3]
    return tf.reshape(tf.reverse(rows, [1]), shape)


def centre_square(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Window (top, left, height, width) of the largest centred square."""
    side = tf.minimum(height, width)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def corner_square(height: tf.Tensor, width: tf.Tensor, corner: tf.Tensor) -> tf.Tensor:
    """Window of the crop at the top left (``corner`` 0) or at the bottom right (1)."""
    side = tf.cast(CORNER_CROP * tf.cast(tf.minimum(height, width), tf.float32), tf.int32)
    return tf.stack([corner * (height - side), corner * (width - side), side, side])


def random_square(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Window of a random training crop: sides from :data:`SMALLEST_CROP` to all of the picture."""
    random = tf.random.stateless_uniform([3], seed)
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.cast(shorter * (SMALLEST_CROP + (1.0 - SMALLEST_CROP) * random[0]), tf.int32)
    room = tf.cast(tf.stack([height - side, width - side]), tf.float32)
    corner = tf.cast(random[1:] * (room + 1.0), tf.int32)
    return tf.concat([corner, [side, side]], axis=0)


def decode_frames(jpegs: tf.Tensor, indices: tf.Tensor, window: Window) -> tf.Tensor:
    """Decodes the chosen frames of a clip, and of each only the window.

    Args:
        jpegs: ``[frames in the recording]`` strings.
        indices: ``[T]`` int32, the frames to decode; one that comes twice is decoded once.
        window: Function (height, width) -> ``[4]`` int32: top, left, height, width.

    Returns:
        ``[T, h, w, 3]`` uint8.
    """
    chosen, where = tf.unique(indices)
    jpegs = tf.gather(jpegs, chosen)
    shape = tf.io.extract_jpeg_shape(jpegs[0])
    cut = window(shape[0], shape[1])
    pictures = tf.map_fn(
        lambda jpeg: tf.io.decode_and_crop_jpeg(jpeg, cut, channels=3, dct_method="INTEGER_FAST"),
        jpegs,
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )
    return tf.gather(pictures, where)


def pixels_in_window(xy: tf.Tensor, boxes: tf.Tensor, shape: tf.Tensor, window: Window, size: int) -> tf.Tensor:
    """Pixel coordinates of joints in what a network is fed, from those in the source frames.

    Args:
        xy: ``[T, M, J, 2]`` float32, pixels of the source frames.
        boxes: ``[T, 4]`` float32, where the stored pictures were cut out of them.
        shape: ``[3]`` int32, height and width (and channels) of a stored picture.
        window: As for :func:`decode_frames`: the part of a stored picture that is fed.
        size: Height and width it is fed with.

    Returns:
        ``[T, M, J, 2]`` float32; 0 is the middle of the first pixel.
    """
    height, width = shape[0], shape[1]
    low, high = boxes[:, tf.newaxis, tf.newaxis, :2], boxes[:, tf.newaxis, tf.newaxis, 2:]
    stored = (xy - low) / (high - low) * tf.cast(tf.stack([width, height]), tf.float32)
    top, left, rows, columns = tf.unstack(tf.cast(window(height, width), tf.float32))
    return (stored - tf.stack([left, top])) * size / tf.stack([columns, rows]) - 0.5
