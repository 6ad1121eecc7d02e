"""Person and hand crops: boxes from 2D joints, and square pictures cut from frames.

::

    joints (pixels) ─► box around them + margin ─► square ─► cut, black where it leaves the frame ─► resize ─► JPEG

The papers this project builds on first crop the person (WACV19, ICCV19), and the input of every network is a square.
A square box keeps the person's proportions; resizing a narrow box to a square would not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo import skeletons
from zoo.shared import extras

if TYPE_CHECKING:
    import cv2
    from scipy import ndimage
else:
    cv2, ndimage = extras.lazy("cv2"), extras.lazy("scipy.ndimage")

MARGIN = 0.15  # added on each side, as a fraction of the longer side: joints lie inside the body, boxes around it
JPEG_QUALITY = 90
SMOOTHING = 0.5  # seconds over which boxes are averaged: joints jitter, and a jittering crop looks like motion
HAND_SIDE = 0.4  # side of a hand crop in metres: it shows the hand and an object in it
# Lengths of an adult in metres: from the middle of the shoulders to the middle of the hips, and from shoulder to
# shoulder. They give the size of a body known only in pixels. A length that points towards the camera looks shorter,
# but seldom both lengths do at once.
TORSO, SHOULDERS = 0.5, 0.36
FARTHEST_HAND = 4  # times the frame's longer side: a hand crop's largest distance from the frame, and its largest side
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_MARKER = re.compile(rb"\xff+([^\x00\xff])")  # between the segments of a JPEG file, and never in coded pixels
_END_OF_IMAGE = b"\xd9"
_EXIF_WITHIN = 65536  # bytes at the beginning of a JPEG file that hold its EXIF data
_ORIENTATION, _NUMBERS = 0x112, {3: "H", 4: "I"}  # the EXIF tag; EXIF integer types and their struct codes
_WITHOUT_LENGTH = [bytes([marker]) for marker in (0x01, *range(0xD0, 0xD9))]


class IncompletePicture(ValueError):
    """Only the beginning of a picture file is there; another program may still be writing the rest."""


def project(xyz: np.ndarray, focal_length: float, width: int, height: int) -> np.ndarray:
    """Projects points in camera coordinates (x right, y up, z forwards) to pixels, by a centred pinhole camera.

    Args:
        xyz: ``[..., 3]``, metres.
        focal_length: In pixels, for a picture of this width.
        width: Width of the picture in pixels.
        height: Its height.

    Returns:
        ``[..., 2]`` float32, x to the right and y downwards; NaN for points at or behind the camera.
    """
    x, y, z = np.moveaxis(np.asarray(xyz, np.float32), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(z > 0, focal_length / z, np.nan)
    return np.stack([width / 2 + x * scale, height / 2 - y * scale], axis=-1).astype(np.float32)


def person_box(xy: np.ndarray, width: int, height: int, margin: float = MARGIN) -> tuple[int, int, int, int]:
    """The square around a person's joints, or around the whole frame where no joint lies in it.

    Args:
        xy: ``[J, 2]`` joints in pixels; NaN where unknown.
        width: Width of the frame in pixels.
        height: Its height.
        margin: Fraction of the longer side that is added on each side.

    Returns:
        ``(x_min, y_min, x_max, y_max)``, whole pixels; may reach beyond the frame.

    Example:
        >>> person_box(np.array([[100.0, 50.0], [140.0, 150.0]]), 320, 240)
        (55, 35, 185, 165)
    """
    inside = np.all((xy >= 0) & (xy < (width, height)), axis=-1)  # comparisons with NaN are false
    if not inside.any():
        return square_box((width / 2, height / 2), max(width, height))
    # Clipped to the frame: a joint that the sensor reports far away must not shrink the person to a dot.
    known = np.clip(xy[np.isfinite(xy).all(axis=-1)], 0, (width, height))
    low, high = known.min(axis=0), known.max(axis=0)
    return square_box((low + high) / 2, max(high - low) * (1 + 2 * margin))


def part_boxes(
    xy: np.ndarray,
    visible: np.ndarray,
    parts: Sequence[str],
    *,
    layout: str,
    width: int,
    height: int,
    fps: float,
    xyz: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The box of every part in every frame.

    ::

        full body: joints of all persons ─► box + margin ─► smooth over time ─► square ─► into the frame
        hand:      pixels per metre of the body ─► a square of HAND_SIDE around the hand of the first person, no
                   farther from the frame than FARTHEST_HAND
        full image: the frame

    A frame without joints takes its box from its neighbours; a clip without any is cut as a whole.

    Args:
        xy: ``[T, M, J, 2]`` joints in pixels.
        visible: ``[T, M, J]`` bool: which of them are known.
        parts: Some of :data:`zoo.skeletons.PARTS`.
        layout: Name of the skeleton layout.
        width: Width of the frames in pixels.
        height: Their height.
        fps: Frames per second.
        xyz: ``[T, M, J, 3]`` joints in metres, from which the size of the body is computed; default: it is computed
            from shoulders and hips in the picture.

    Returns:
        Part -> ``[T, 4]`` int32, x_min, y_min, x_max, y_max. All are even, because each colour value of a video frame
        covers two by two pixels; only those of a whole frame may be odd. A full body's square lies inside the frame;
        where it is larger than the frame, it exceeds the frame equally on two opposite sides.
    """
    visible = visible & np.isfinite(xy).all(axis=-1)
    window = max(round(fps * SMOOTHING), 1)
    scale = None
    boxes = {}
    for part in parts:
        if part == "full_body":
            centres, sides = _bodies(xy, visible, width, height, window)
            squares = [_into_frame(_even_box(c, s), width, height) for c, s in zip(centres, sides)]
        elif part == skeletons.FULL_IMAGE:
            squares = [(0, 0, width, height)] * len(xy)
        else:
            if scale is None:
                scale = _fill(pixels_per_metre(xy, visible, skeletons.get(layout), xyz))
                scale = None if scale is None else ndimage.median_filter(scale, window, mode="nearest")
            centres = _fill(_first_hand(xy, visible, getattr(skeletons.get(layout), part)))
            if centres is None or scale is None:
                squares = [whole_box(width, height)] * len(xy)
            else:
                farthest = FARTHEST_HAND * max(width, height)
                centres = np.clip(centres, -farthest, np.add((width, height), farthest))
                squares = [_even_box(c, s) for c, s in zip(centres, np.minimum(HAND_SIDE * scale, farthest))]
        boxes[part] = np.array(squares, np.int32)
    return boxes


def whole_box(width: int, height: int) -> tuple[int, int, int, int]:
    """The square around a whole frame, ``(x_min, y_min, x_max, y_max)``: centred on it, as wide as its longer side."""
    return _into_frame(_even_box((width / 2, height / 2), max(width, height)), width, height)


def _even_box(centre, side):
    return tuple(2 * value for value in square_box(np.asarray(centre) / 2, side / 2))


def _bodies(xy, visible, width, height, window):
    """Centres ``[T, 2]`` and sides ``[T]`` of the squares around all persons, smooth over ``window`` frames."""
    inside = visible & np.all((xy >= 0) & (xy < (width, height)), axis=-1)  # [T, M, J]
    corners = np.full((len(xy), 4), np.nan)
    for frame in np.flatnonzero(inside.any(axis=(1, 2))):
        # Clipped to the frame: a joint that the sensor reports far away must not shrink the person to a dot.
        known = np.clip(xy[frame][visible[frame]], 0, (width, height))
        corners[frame] = *known.min(axis=0), *known.max(axis=0)
    corners = _fill(corners)
    if corners is None:
        return np.tile((width / 2, height / 2), (len(xy), 1)), np.full(len(xy), float(max(width, height)))
    # First the largest extent in the window, then the mean over it: a hand stretched out briefly stays in the crop.
    low = ndimage.minimum_filter1d(corners[:, :2], window, axis=0, mode="nearest")
    high = ndimage.maximum_filter1d(corners[:, 2:], window, axis=0, mode="nearest")
    low, high = (ndimage.uniform_filter1d(c, window, axis=0, mode="nearest") for c in (low, high))
    return (low + high) / 2, (high - low).max(axis=1) * (1 + 2 * MARGIN)


def _into_frame(box, width, height):
    """A box moved into the frame; one that is larger than the frame is centred on it."""
    out = list(box)
    for low, high, size in ((0, 2, width), (1, 3, height)):
        side = box[high] - box[low]
        out[low] = min(max(box[low], 0), (size - side) // 2 * 2) if side <= size else (size - side) // 4 * 2
        out[high] = out[low] + side
    return tuple(out)


def _first_hand(xy, visible, joint):
    """Pixels ``[T, 2]`` of the hand of the first person seen; NaN where no hand is seen."""
    out = np.full((len(xy), 2), np.nan)
    for person in reversed(range(xy.shape[1])):  # the first person comes last and overwrites the others
        seen = visible[:, person, joint]
        out[seen] = xy[seen, person, joint]
    return out


def pixels_per_metre(
    xy: np.ndarray, visible: np.ndarray, layout: skeletons.Layout, xyz: np.ndarray | None
) -> np.ndarray:
    """Size of the first person seen in every frame, in pixels per metre.

    Args:
        xy: ``[T, M, J, 2]`` joints in pixels.
        visible: ``[T, M, J]`` bool: which of them are known.
        layout: The skeleton layout.
        xyz: ``[T, M, J, 3]`` the joints in metres; ``None``: shoulders and hips in the picture give the size.

    Returns:
        ``[T]``; NaN where it is not known.
    """
    out = np.full(len(xy), np.nan)
    for person in reversed(range(xy.shape[1])):
        size = _size(xy[:, person], visible[:, person], layout, None if xyz is None else xyz[:, person])
        out = np.where(np.isfinite(size), size, out)
    return out


def _size(xy, visible, layout, xyz):
    """Pixels per metre ``[T]`` of one person, ``[T, J, 2]``; ``xyz`` is ``[T, J, 3]`` or ``None``."""

    def length(points, ends):
        first, second = (np.mean([points[:, joint] for joint in joints], axis=0) for joints in ends)
        return np.linalg.norm((first - second)[:, :2], axis=-1)  # across the line of sight

    def seen(ends):
        return np.all([visible[:, joint] for joints in ends for joint in joints], axis=0)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if xyz is not None:
            bones = [((a,), (b,)) for a, b in layout.bones]
            pixels, metres = (sum(length(points, b) * seen(b) for b in bones) for points in (xy, xyz))
            return np.where(metres > 0, pixels / metres, np.nan)
        shoulders = layout.joints.index("left_shoulder"), layout.joints.index("right_shoulder")
        hips = layout.left_hip, layout.right_hip
        torso, across = (shoulders, hips), (shoulders[:1], shoulders[1:])
        sizes = [np.where(seen(e), length(xy, e) / m, np.nan) for e, m in ((torso, TORSO), (across, SHOULDERS))]
    return np.fmax(*sizes)


def _fill(values):
    """Fills NaN rows of ``[T]`` or ``[T, n]`` by linear interpolation of known rows; ``None`` if all are NaN."""
    rows = values.reshape(len(values), -1)
    known = np.isfinite(rows).all(axis=1)
    if not known.any():
        return None
    frames = np.arange(len(rows))
    columns = [np.interp(frames, frames[known], column[known]) for column in rows.T]
    return np.stack(columns, axis=1).reshape(values.shape)


def square_box(centre: Sequence[float] | np.ndarray, side: float) -> tuple[int, int, int, int]:
    """The square of whole pixels nearest to a centre and a side, ``(x_min, y_min, x_max, y_max)``."""
    side = max(round(float(side)), 1)
    x, y = (round(float(value) - side / 2) for value in centre)
    return x, y, x + side, y + side


def cut_size(box: Sequence[int] | np.ndarray, size: int) -> tuple[int, int]:
    """Height and width of the result of :func:`cut`: the box's proportions, a shorter side of ``size`` pixels.

    Example:
        >>> cut_size((0, 0, 320, 240), 120)
        (120, 160)
    """
    x0, y0, x1, y1 = map(int, box)
    shorter = min(x1 - x0, y1 - y0)
    height, width = (max(round(side * size / shorter), 1) for side in (y1 - y0, x1 - x0))
    return height, width


def cut(image: np.ndarray, box: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Cuts a box out of a frame and resizes it; black where the box leaves the frame.

    Args:
        image: ``[H, W, 3]`` uint8.
        box: ``(x_min, y_min, x_max, y_max)``, whole pixels.
        size: Side of the result in pixels; its shorter side if the box is not a square.

    Returns:
        ``[size, size, 3]`` uint8; if the box is not a square, of the height and width that :func:`cut_size` gives.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    left, top = min(max(x0, 0), width), min(max(y0, 0), height)
    right, bottom = min(max(x1, left), width), min(max(y1, top), height)
    picture = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    picture[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return _resize(picture, *cut_size(box, size))


def _resize(picture, height, width):
    """Resizes a picture, which keeps its proportions.

    First, blocks of two by two pixels are averaged, so that each pixel counts in the result: skipped pixels would
    flicker from frame to frame. Averaging such blocks is far quicker than averaging areas of arbitrary size.
    """
    while len(picture) >= 2 * height and len(picture) % 2 == 0 and picture.shape[1] % 2 == 0:
        halved = picture.shape[1] // 2, len(picture) // 2
        picture = cv2.resize(picture, halved, interpolation=cv2.INTER_AREA)
    shrinks = len(picture) >= 2 * height
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def decode_picture(data: bytes) -> np.ndarray:
    """Decodes a PNG or JPEG file's bytes to the picture that a viewer shows.

    The picture is turned as the file's EXIF orientation says and converted to 8-bit RGB from any other depth and colour
    space; transparency is left out. Bytes after the picture's end, such as a telephone's second picture, are ignored.

    Args:
        data: Bytes.

    Returns:
        ``[H, W, 3]`` uint8, RGB.

    Raises:
        ValueError: The bytes are no PNG or JPEG file, or only the beginning of one (:class:`IncompletePicture`).
    """
    if data.startswith(_JPEG) or not data:
        return decode_jpeg(data)
    if not data.startswith(_PNG):
        raise ValueError("neither a JPEG nor a PNG file")
    if not _is_whole_png(data):  # OpenCV does not report it, as with JPEG
        raise IncompletePicture("not a whole PNG file")
    return _decode(data, "PNG")


def _is_whole_png(data):
    position = len(_PNG)
    while position < len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(data[position : position + 4], "big")  # length, type, ..., checksum
    return False


def decode_jpeg(data: bytes) -> np.ndarray:
    """Decodes a JPEG file's bytes as :func:`decode_picture` does.

    Args:
        data: Bytes.

    Returns:
        ``[H, W, 3]`` uint8, RGB.

    Raises:
        ValueError: The bytes are no JPEG file, or only the beginning of one (:class:`IncompletePicture`).
    """
    data = whole_jpeg(data)
    # OpenCV itself overlooks an EXIF orientation that follows other metadata.
    image = _decode(data, "JPEG", cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    mark = exif_orientation(data)
    if mark >= 5:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(image[:: -1 if mark in (3, 4, 7, 8) else 1, :: -1 if mark in (2, 3, 6, 7) else 1])


def exif_orientation(jpeg: bytes) -> int:
    """The orientation in a JPEG file's EXIF data: 1 (shown as stored) to 8; 1 if the file states none.

    :func:`tfrecords.reading.pictures.decode_frames` reads it in the same way.
    """
    _, found, exif = jpeg[:_EXIF_WITHIN].partition(b"Exif\0\0")
    if not found:
        return 1
    order = "<" if exif.startswith(b"I") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _ORIENTATION and kind in _NUMBERS:
                (mark,) = struct.unpack_from(order + _NUMBERS[kind], exif, entry + 8)
                return mark if 1 <= mark <= 8 else 1
    except struct.error:  # damaged: viewers show the picture as it is stored
        pass
    return 1


def whole_jpeg(data: bytes) -> bytes:
    """A JPEG file's bytes up to the picture's end.

    OpenCV fills the missing part of a truncated file with grey and reports nothing. A preview inside a file has its own
    end marker, so this function steps through the file's segments.

    Raises:
        ValueError: The bytes are no JPEG file, or only the beginning of one (:class:`IncompletePicture`).
    """
    if data[: len(_JPEG)] != _JPEG[: len(data)]:
        raise ValueError("a PNG file" if data.startswith(_PNG) else "no JPEG file")
    end = len(_JPEG)
    while match := _MARKER.search(data, end):
        end = match.end()
        if match[1] == _END_OF_IMAGE:
            return data[:end]
        if match[1] not in _WITHOUT_LENGTH:
            end += int.from_bytes(data[end : end + 2], "big")
    raise IncompletePicture("not a whole JPEG file")


def scaled(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A picture ``[H, W, 3]`` uint8 stretched to another height and width, as a player does."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _decode(data, name, flags=None):
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if flags is None else flags)
    except cv2.error:  # a damaged header that promises more pixels than OpenCV decodes
        image = None
    if image is None:
        raise ValueError(f"a {name} file that cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_jpeg(image: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """The bytes of a JPEG file.

    Args:
        image: ``[H, W, 3]`` uint8, RGB.
        quality: 0 to 100.

    Returns:
        Bytes.

    Raises:
        ValueError: A side has more than 65,500 pixels, which the format cannot hold.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"no JPEG file can hold a picture of {image.shape[1]} x {image.shape[0]} pixels")
    return data.tobytes()
