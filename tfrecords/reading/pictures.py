"""Pictures: decoded, cropped, resized, in the range that networks expect."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfrecords.reading import graph

FRAMINGS = ("centre", "whole", "person")
CORNER_CROP = 0.875  # side of the corner crops, as a fraction of the picture's shorter side: 224 of 256 pixels
SMALLEST_CROP = 0.8  # side of the smallest random training crop, as the same fraction
ANTIALIAS_ABOVE = 1.25  # pictures that shrink by a larger factor are smoothed
EXIF_WITHIN = 65536  # bytes at the beginning of a JPEG file that hold its EXIF data
_ORIENTATION, _SHORT, _LONG = 0x112, 3, 4  # a tag and types of EXIF
_MIRRORED, _FLIPPED = [2, 3, 6, 7], [3, 4, 7, 8]  # EXIF orientations; 5 to 8 first exchange rows and columns

_PICTURE = tf.TensorSpec([None, None, 3], tf.uint8)

Window = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (height, width) of a picture -> top, left, height, width


def prepare(images: tf.Tensor, size: int, square: bool = True) -> tf.Tensor:
    """Decoded pictures as the networks expect them.

    Args:
        images: ``[T, H, W, 3]`` uint8.
        size: Height and width of the result; the shorter of both if pictures keep their proportions.
        square: Whether the result is square.

    Returns:
        ``[T, size, size, 3]`` float32 in [-1, 1]; ``[T, height, width, 3]`` where it is not square.
    """
    return to_network_range(resize(images, size, square))


def to_network_range(images: tf.Tensor) -> tf.Tensor:
    """uint8 pictures (or float32 of the same range) as float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def resize(images: tf.Tensor, size: int, square: bool = True) -> tf.Tensor:
    """Resizes pictures ``[T, H, W, 3]`` to ``[T, size, size, 3]``, values as they came in; float32.

    Pictures that are not made ``square`` keep their proportions; ``size`` is their shorter side.

    Interpolation is bilinear. Pictures that shrink by more than :data:`ANTIALIAS_ABOVE` are also smoothed: otherwise
    small objects would flicker. Below that factor every pixel still counts, and smoothing would take five times as long
    as the rest.
    """
    images = tf.cast(images, tf.float32)  # TensorFlow resizes these in two thirds of the time it takes for uint8
    shape = tf.shape(images)[1:3]
    if square:
        side, new, known = tf.reduce_max(shape), tf.constant([size, size]), size
    else:
        side, known = tf.reduce_min(shape), None
        new = tf.cast(tf.round(tf.cast(shape * size, tf.float32) / tf.cast(side, tf.float32)), tf.int32)

    def shrunk_or_enlarged():
        return tf.cond(
            tf.cast(side, tf.float32) > ANTIALIAS_ABOVE * size,
            lambda: tf.image.resize(images, new, antialias=True),
            lambda: tf.image.resize(images, new),
        )

    images = tf.cond(tf.reduce_all(shape == new), lambda: images, shrunk_or_enlarged)
    images.set_shape([None, known, known, 3])
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


def whole_square(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Window of the square around a whole frame, as :func:`tfrecords.converting.crops.whole_box`."""
    side = 2 * tf.maximum(tf.cast(tf.round(tf.cast(tf.maximum(height, width), tf.float32) / 2), tf.int32), 1)
    top, left = (tf.where(side <= size, 0, (size - side) // 4 * 2) for size in (height, width))
    return tf.stack([top, left, side, side])


def framed(framing: str) -> Window:
    """The window of a recording's frame that a picture shows.

    Args:
        framing: One of :data:`FRAMINGS`. ``centre``: the largest centred square. ``whole``: all of the frame, in a
            square with black borders. ``person``: the square around the persons, which the sender of a frame has
            cut out; if a frame is not a square, its largest centred square.
    """
    return whole_square if framing == "whole" else centre_square


def all_of_it(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Window of the whole picture."""
    return tf.stack([0, 0, height, width])


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


def inside(window: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The part of a window that lies in a picture of a size ``[2]``, height and width."""
    low, high = tf.maximum(window[:2], 0), tf.minimum(window[:2] + window[2:], size)
    return tf.concat([low, high - low], axis=0)


def bordered(images: tf.Tensor, window: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Pictures ``[T, h, w, 3]``, which show :func:`inside` of a window, with black borders where it leaves them."""
    before = tf.maximum(-window[:2], 0)
    after = tf.maximum(window[:2] + window[2:] - size, 0)
    borders = tf.pad(tf.stack([before, after], axis=1), [[1, 1], [0, 0]])  # [4, 2]
    return tf.cond(tf.reduce_any(borders > 0), lambda: tf.pad(images, borders), lambda: images)


def decode_frames(jpegs: tf.Tensor, indices: tf.Tensor, window: Window, turned: bool = False) -> tf.Tensor:
    """Decodes the chosen frames of a clip, and of each only the window.

    Args:
        jpegs: ``[frames in the recording]`` strings.
        indices: ``[T]`` int32, the frames to decode; a repeated frame is decoded once.
        window: Function (height, width) -> ``[4]`` int32: top, left, height, width. Black where it leaves the picture.
        turned: Whether to turn pictures as the EXIF orientation of their JPEG file says, as in files of telephones;
            TensorFlow's decoder ignores it. The records of converted datasets have no such orientation.

    Returns:
        ``[T, h, w, 3]`` uint8.

    Raises:
        tf.errors.InvalidArgumentError: (when run) a frame that is no JPEG file, or of another size than the first: only
            its upper left corner would be seen.
    """
    chosen, where = tf.unique(indices)
    jpegs = tf.gather(jpegs, chosen)
    sizes = _stored_sizes(jpegs, chosen)
    if not turned:
        wanted = _window(sizes, chosen, window)
        pictures = _decode(jpegs, inside(wanted, sizes[0]))
        return tf.gather(bordered(pictures, wanted, sizes[0]), where)
    marks = _marks(jpegs)
    sizes = tf.where(_is_transposed(marks)[:, tf.newaxis], sizes[:, ::-1], sizes)
    wanted = _window(sizes, chosen, window)
    seen = inside(wanted, sizes[0])
    pictures = tf.cond(
        tf.reduce_any(marks > 1), lambda: _decode_turned(jpegs, marks, sizes[0], seen), lambda: _decode(jpegs, seen)
    )
    return tf.gather(bordered(pictures, wanted, sizes[0]), where)


def _stored_sizes(jpegs, numbers):
    """Height and width ``[T, 2]``."""
    is_jpeg = tf.equal(tf.strings.substr(jpegs, 0, 3), b"\xff\xd8\xff")
    reason = tf.strings.format("frame {} is no JPEG file", numbers[tf.argmin(tf.cast(is_jpeg, tf.int32))])
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_jpeg), [reason])]):
        jpegs = tf.identity(jpegs)
    return graph.map_fn(tf.io.extract_jpeg_shape, jpegs, tf.TensorSpec([3], tf.int32))[:, :2]


def _window(sizes, numbers, window):
    """The window of all frames, given their sizes ``[T, 2]``, which must be equal."""
    differ = tf.reduce_any(tf.not_equal(sizes, sizes[0]), axis=1)
    other = tf.argmax(differ)  # the first; 0 if there is none
    reason = tf.strings.format(
        "frame {} has {} pixels (height and width), frame {} has {}: all frames of a clip must be of one size",
        [numbers[other], sizes[other], numbers[0], sizes[0]],
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(tf.reduce_any(differ)), [reason])]):
        return window(sizes[0, 0], sizes[0, 1])


def _decode(jpegs, window):
    return graph.map_fn(lambda jpeg: _decode_window(jpeg, window), jpegs, _PICTURE)


def _decode_window(jpeg, window):
    return tf.io.decode_and_crop_jpeg(jpeg, window, channels=3, dct_method="INTEGER_FAST")


def _decode_turned(jpegs, marks, size, window):
    """The window, in pixels of the pictures as they are shown, of JPEG files that may be stored turned or mirrored."""
    top, left, height, width = tf.unstack(window)

    def decode(jpeg_and_mark):
        jpeg, mark = jpeg_and_mark
        is_transposed = _is_transposed(mark)
        is_mirrored, is_flipped = (tf.reduce_any(mark == marks) for marks in (_MIRRORED, _FLIPPED))
        y = tf.where(is_flipped, size[0] - top - height, top)
        x = tf.where(is_mirrored, size[1] - left - width, left)
        stored = tf.where(is_transposed, tf.stack([x, y, width, height]), tf.stack([y, x, height, width]))
        picture = _decode_window(jpeg, stored)
        picture = tf.cond(is_transposed, lambda: tf.transpose(picture, [1, 0, 2]), lambda: picture)
        picture = tf.cond(is_mirrored, lambda: picture[:, ::-1], lambda: picture)
        return tf.cond(is_flipped, lambda: picture[::-1], lambda: picture)

    return graph.map_fn(decode, [jpegs, marks], _PICTURE)


def _is_transposed(mark):
    """Whether rows are stored as columns."""
    return mark >= 5


def _marks(jpegs):
    """The EXIF orientations ``[T]`` of JPEG files: 1 (shown as stored; also if a file states none) to 8."""
    heads = tf.strings.substr(jpegs, 0, EXIF_WITHIN)
    has_exif = tf.strings.regex_full_match(heads, r"\C*Exif\x00\x00\C*")

    def mark(head):
        parts = tf.strings.split(head, "Exif\0\0", maxsplit=1)
        return tf.cond(tf.size(parts) > 1, lambda: _mark(parts[1]), lambda: 1)

    spec = tf.TensorSpec([], tf.int32)
    return tf.cond(
        tf.reduce_any(has_exif),
        lambda: graph.map_fn(mark, heads, spec),
        lambda: tf.ones_like(has_exif, tf.int32),
    )


def _mark(exif):
    """The orientation in EXIF data (TIFF 6.0: entries of 12 bytes, each a tag, a type, a count and a value)."""
    data = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)
    data = tf.concat([data, tf.zeros([8], tf.int64)], axis=0)
    is_little_endian = data[0] == ord("I")

    def number(position, size):
        """The numbers of ``size`` bytes at positions ``[n]``; bytes outside the data count as zero."""
        positions = position[..., tf.newaxis] + tf.range(size, dtype=tf.int64)
        digits = tf.gather(data, tf.minimum(positions, tf.size(data, tf.int64) - 1))
        digits = tf.where(is_little_endian, digits, tf.reverse(digits, [-1]))
        return tf.reduce_sum(digits * [256**digit for digit in range(size)], axis=-1)

    start = number(tf.constant(4, tf.int64), 4)
    entries = start + 2 + 12 * tf.range(number(start, 2))
    tags, types = number(entries, 2), number(entries + 2, 2)
    values = tf.where(types == _LONG, number(entries + 8, 4), number(entries + 8, 2))
    values = tf.boolean_mask(values, (tags == _ORIENTATION) & ((types == _SHORT) | (types == _LONG)))
    mark = tf.cast(tf.concat([values, [1]], axis=0)[0], tf.int32)
    return tf.where((mark >= 1) & (mark <= 8), mark, 1)


def pixels_in_window(xy: tf.Tensor, boxes: tf.Tensor, shape: tf.Tensor, window: Window, size: int) -> tf.Tensor:
    """Pixel coordinates of joints in the pictures a network is fed, from those in the source frames.

    Args:
        xy: ``[T, M, J, 2]`` float32, pixels of the source frames.
        boxes: ``[T, 4]`` float32, where the stored pictures were cut out of them.
        shape: ``[3]`` int32, height and width (and channels) of a stored picture.
        window: As for :func:`decode_frames`: the part of a stored picture that is fed.
        size: Height and width of the pictures that are fed.

    Returns:
        ``[T, M, J, 2]`` float32; 0 is the middle of the first pixel.
    """
    height, width = shape[0], shape[1]
    low, high = boxes[:, tf.newaxis, tf.newaxis, :2], boxes[:, tf.newaxis, tf.newaxis, 2:]
    stored = (xy - low) / (high - low) * tf.cast(tf.stack([width, height]), tf.float32)
    top, left, rows, columns = tf.unstack(tf.cast(window(height, width), tf.float32))
    return (stored - tf.stack([left, top])) * size / tf.stack([columns, rows]) - 0.5
