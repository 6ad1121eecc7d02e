"""Joints, bones and letters drawn onto a picture."""

from __future__ import annotations

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
_FARTHEST = 1e4  # pixels that OpenCV draws to


def joints(picture: np.ndarray, xy: np.ndarray, visible: np.ndarray, layout: Layout, width: int = 1) -> None:
    """Draws bones and joints of persons.

    Args:
        picture: ``[H, W, 3]`` uint8, RGB; drawn onto.
        xy: ``[M, J, 2]`` in its pixels.
        visible: ``[M, J]`` bool: which joints are drawn.
        layout: The skeleton layout.
        width: Of a bone, pixels.
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
    """Draws letters with a dark rim, which can be read on any picture.

    Args:
        picture: ``[H, W, 3]`` uint8; drawn onto.
        line: The letters; those that are no ASCII become question marks.
        where: Column and row of their lower left corner.
        colour: RGB.
        size: 1 is 22 pixels high.
    """
    for shade, width in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(picture, line, tuple(where), _LETTERS, size, shade, width, cv2.LINE_AA)
