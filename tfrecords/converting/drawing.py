"""Joints, bones and letters drawn onto a picture."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from zoo.skeletons import Layout

Colour = tuple[int, int, int]
# RGB; left is green and right is red, as on ships.
LEFT: Colour = (60, 220, 90)
RIGHT: Colour = (240, 70, 60)
MIDDLE: Colour = (250, 220, 80)
_LETTERS = cv2.FONT_HERSHEY_SIMPLEX
_FARTHEST = 1e4  # pixels; coordinates are clipped to it for OpenCV


def joints(picture: np.ndarray, xy: np.ndarray, visible: np.ndarray, layout: Layout, width: int = 1) -> None:
    """Draws bones and joints of persons.

    Args:
        picture: ``[H, W, 3]`` uint8, RGB; drawn onto.
        xy: ``[M, J, 2]`` in pixels of the picture.
        visible: ``[M, J]`` bool: which joints are drawn.
        layout: The skeleton layout.
        width: Width of a bone in pixels.
    """
    for person, seen in zip(np.rint(np.clip(xy, -_FARTHEST, _FARTHEST)).astype(int).tolist(), visible):
        for joint, name in enumerate(layout.joints):
            colour = LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE
            for first, second in layout.bones:
                if joint == second and seen[first] and seen[second]:
                    cv2.line(picture, person[first], person[joint], colour, width, cv2.LINE_AA)
            if seen[joint]:
                cv2.circle(picture, person[joint], width + 1, colour, -1, cv2.LINE_AA)


def text(picture: np.ndarray, line: str, where: Sequence[int], colour: Colour, size: float = 0.5) -> None:
    """Draws text with a dark outline, so that it is readable on any picture.

    Args:
        picture: ``[H, W, 3]`` uint8; drawn onto.
        line: The text. OpenCV draws only ASCII; other text is drawn in matplotlib's font, or, if matplotlib is not
            installed, with question marks.
        where: Column and row of the text's lower left corner.
        colour: RGB.
        size: Capitals are 22 pixels high at size 1.
    """
    rim: Colour = (0, 0, 0)
    drawn = None if line.isascii() else _masks(line, size)
    if drawn is None:
        for shade, width in ((rim, 3), (colour, 1)):
            cv2.putText(picture, line, tuple(where), _LETTERS, size, shade, width, cv2.LINE_AA)
        return
    ascent, masks = drawn
    for mask, shade in zip(masks, (rim, colour)):
        _blend(picture, mask, where[0], where[1] - ascent, shade)


@functools.lru_cache(maxsize=256)  # a label is drawn in every frame
def _masks(line: str, size: float) -> tuple[int, tuple[np.ndarray, np.ndarray]] | None:
    """Height above the base line, and masks of the letters with and without outline, ``[h, w]`` from 0 to 1."""
    try:
        from matplotlib import font_manager
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        return None
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), max(round(30 * size), 6))  # a capital of 22 pixels
    box = font.getbbox(line, anchor="ls", stroke_width=1)
    (left, top), (right, bottom) = map(math.floor, box[:2]), map(math.ceil, box[2:])

    def mask(rim: int) -> np.ndarray:
        image = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(image).text((-left, -top), line, 255, font, anchor="ls", stroke_width=rim)
        return np.asarray(image, np.float32) / 255

    return -top, (mask(1), mask(0))


def _blend(picture: np.ndarray, mask: np.ndarray, left: int, top: int, colour: Colour) -> None:
    """Colours a picture under a mask whose upper left corner is given; the mask is cut at the picture's edges."""
    rows, columns = (slice(max(start, 0), max(start + length, 0)) for start, length in zip((top, left), mask.shape))
    part = picture[rows, columns]
    seen = mask[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1], np.newaxis]
    part[:] = np.rint(part * (1 - seen) + np.array(colour) * seen)
