"""Person and hand crops: boxes from 2D joints, and square pictures cut from frames.

::

    joints (pixels) ─► box around them + margin ─► square ─► cut, black where it leaves the frame ─► resize ─► JPEG

The works this project builds on crop the person before anything else (WACV19 section 3, ICCV19 section 5.2) and feed
every network a square. A square box keeps the person's proportions, which resizing a slim box would not.
"""

import cv2
import numpy as np

MARGIN = 0.15  # added on each side, as a share of the longer side: joints lie inside the body, boxes around it
JPEG_QUALITY = 90
_END_OF_IMAGE = b"\xff\xd9"


def project(xyz, focal_length, width, height):
    """Pixels of points in camera coordinates (x right, y up, z forwards), by a pinhole centred on the picture.

    Args:
        xyz: ``[..., 3]``, metres.
        focal_length: In pixels of a picture that wide.
        width: Width of the picture in pixels.
        height: Its height.

    Returns:
        ``[..., 2]`` float32, x to the right and y downwards; NaN for points at or behind the camera.
    """
    x, y, z = np.moveaxis(np.asarray(xyz, np.float32), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(z > 0, focal_length / z, np.nan)
    return np.stack([width / 2 + x * scale, height / 2 - y * scale], axis=-1).astype(np.float32)


def person_box(xy, width, height, margin=MARGIN):
    """The square around a person's joints, or around the whole frame where no joint lies in it.

    Args:
        xy: ``[J, 2]`` joints in pixels; NaN where unknown.
        width: Width of the frame in pixels.
        height: Its height.
        margin: Share of the longer side that is added on each side.

    Returns:
        ``(x_min, y_min, x_max, y_max)``, whole pixels; may reach beyond the frame.

    Example:
        >>> person_box(np.array([[100.0, 50.0], [140.0, 150.0]]), 320, 240)
        (55, 35, 185, 165)
    """
    inside = np.all((xy >= 0) & (xy < (width, height)), axis=-1)  # comparisons with NaN are false
    if not inside.any():
        return square_box((width / 2, height / 2), max(width, height))
    # Into the frame: a joint the sensor flung far away must not shrink the person to a dot.
    known = np.clip(xy[np.isfinite(xy).all(axis=-1)], 0, (width, height))
    low, high = known.min(axis=0), known.max(axis=0)
    return square_box((low + high) / 2, max(high - low) * (1 + 2 * margin))


def square_box(centre, side):
    """The square of whole pixels nearest to a centre and a side, ``(x_min, y_min, x_max, y_max)``."""
    side = max(round(float(side)), 1)
    x, y = (round(float(value) - side / 2) for value in centre)
    return x, y, x + side, y + side


def cut(image, box, size):
    """Cuts a square out of a frame and resizes it; black where the box leaves the frame.

    Args:
        image: ``[H, W, 3]`` uint8.
        box: ``(x_min, y_min, x_max, y_max)``, whole pixels.
        size: Side of the result in pixels.

    Returns:
        ``[size, size, 3]`` uint8.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    left, top = min(max(x0, 0), width), min(max(y0, 0), height)
    right, bottom = min(max(x1, left), width), min(max(y1, top), height)
    square = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    square[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    # INTER_AREA averages the pixels it merges; the other filters would leave aliases that flicker from frame to frame.
    shrinks = square.shape[0] > size
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def decode_jpeg(data):
    """The picture of a JPEG file's bytes.

    Args:
        data: Bytes.

    Returns:
        ``[H, W, 3]`` uint8, RGB.

    Raises:
        ValueError: The bytes are no JPEG file or not the whole of one.
    """
    # OpenCV fills the missing part of a truncated file with grey and reports nothing.
    if not data.startswith(b"\xff\xd8") or _END_OF_IMAGE not in data[-1024:]:
        raise ValueError("not a whole JPEG file")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a JPEG file that cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_jpeg(image, quality=JPEG_QUALITY):
    """The bytes of a JPEG file.

    Args:
        image: ``[H, W, 3]`` uint8, RGB.
        quality: 0 to 100.

    Returns:
        Bytes.
    """
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
