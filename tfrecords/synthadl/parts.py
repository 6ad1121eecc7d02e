"""The parts that persons and objects are drawn from.

Every part is the convex hull of a few spheres (points are spheres of radius 0), and so is its outline in the picture.
"""

from __future__ import annotations

import colorsys
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tfrecords.synthadl.geometry import unit
from tfrecords.synthadl.objects import OBJECTS
from tfrecords.synthadl.skeleton import JOINTS

if TYPE_CHECKING:
    from tfrecords.synthadl.performance import Performance


@dataclasses.dataclass(frozen=True)
class Part:
    """The convex hull of spheres in every frame.

    Attributes:
        centres: ``[T, n, 3]`` in the room.
        radii: ``[n]`` in metres.
        colour: ``[3]``.
        nearer: Metres by which the part counts as nearer to the camera than its middle is.
        round: Whether a lighter stripe on the side of the light shows that it is round.
    """

    centres: np.ndarray
    radii: np.ndarray
    colour: np.ndarray
    nearer: float = 0.0
    round: bool = False


def object_parts(
    kind: str, hues: dict[str, float], centre: np.ndarray, axes: np.ndarray, nearer: float = 0.0
) -> list[Part]:
    """Parts of an object with middle ``[T, 3]`` and axes ``[T, 3, 3]``."""
    parts = []
    for number, (spheres, hue, saturation, value) in enumerate(OBJECTS[kind].pieces):
        centres = centre[:, None] + spheres[:, :3] @ np.swapaxes(axes, -1, -2)  # [T, n, 3]
        colour = np.array(colorsys.hsv_to_rgb((hue + hues[kind]) % 1.0, saturation, value))
        parts.append(Part(centres, spheres[:, 3], colour, nearer + 0.002 * number))
    return parts


# Joints, radii in metres and colour of each part of the body; those of one side are written once.
_LIMBS = (
    (("hip", "knee"), (0.080, 0.056), "trousers"),
    (("knee", "ankle"), (0.056, 0.042), "trousers"),
    (("ankle", "foot"), (0.045, 0.038), "shoes"),
    (("shoulder", "elbow"), (0.056, 0.044), "shirt"),
    (("elbow", "wrist"), (0.044, 0.032), "sleeve"),
    (("wrist", "hand", "hand_tip"), (0.030, 0.038, 0.022), "skin"),
    (("wrist", "thumb"), (0.022, 0.014), "skin"),
)


def body_parts(performance: Performance) -> list[Part]:
    """Parts of the person."""
    person, joints = performance.person, performance.joints

    def part(names, radii, colour, nearer=0.0):
        radii = np.array(radii) * (1.0 if colour in ("skin", "shoes") else person.girth)
        return Part(joints[:, [JOINTS[name] for name in names]], radii, person.colours[colour], nearer, round=True)

    parts = [
        part([f"{side}_{name}" for name in names], radii, colour)
        for side in ("left", "right") for names, radii, colour in _LIMBS
    ]  # fmt: skip
    # The trunk counts as farther away: an arm beside it is drawn over it.
    parts.append(part(["left_hip", "right_hip"], (0.095, 0.095), "trousers", nearer=-0.07))
    trunk = ["left_shoulder", "right_shoulder", "left_hip", "right_hip", "spine_shoulder"]
    parts.append(part(trunk, (0.055, 0.055, 0.085, 0.085, 0.075), "shirt", nearer=-0.08))
    parts.append(part(["spine_shoulder", "head"], (0.05, 0.055), "skin", nearer=-0.03))
    head, neck = joints[:, JOINTS["head"]], joints[:, JOINTS["neck"]]
    up = unit(head - neck)
    across = unit(joints[:, JOINTS["right_shoulder"]] - joints[:, JOINTS["left_shoulder"]])
    ahead = unit(np.cross(up, across))
    skull = (head + 0.025 * up - 0.012 * ahead)[:, None]
    face = np.stack([head - 0.005 * up + 0.04 * ahead, head - 0.06 * up + 0.045 * ahead], axis=1)
    parts.append(Part(skull, np.array([0.108]), person.colours["hair"], round=True))
    parts.append(Part(face, np.array([0.082, 0.060]), person.colours["skin"], nearer=0.01, round=True))
    return parts
