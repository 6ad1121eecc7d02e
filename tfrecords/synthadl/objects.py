"""The kinds of objects that persons hold and that lie about."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Object:
    """A kind of object: its height in metres and its pieces ``(spheres [n, 4], hue, saturation, value)``.

    A sphere is x, y, z and radius in the object's own axes; a piece is the convex hull of its spheres.
    """

    height: float
    pieces: tuple


def _ring(radius, height):
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    return [(radius * np.cos(a), height, radius * np.sin(a), 0.0) for a in angle]


def _slab(x, y, z, up=0.0):
    return [(sx * x / 2, up + sy * y / 2, sz * z / 2, 0.0) for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)]


def _pieces(*pieces):
    return tuple((np.array(spheres), *colour) for spheres, *colour in pieces)


# A little larger than life, so that at 64 x 64 pixels an object is 3 to 6 pixels wide.
OBJECTS = {
    "cup": Object(
        0.14,
        _pieces(
            ([(0.075, 0.0, 0.0, 0.022)], 0.0, 0.85, 0.8),
            (_ring(0.050, -0.07) + _ring(0.062, 0.07), 0.0, 0.9, 0.9),
            (_ring(0.054, 0.07), 0.0, 0.6, 0.35),
        ),
    ),
    "pill box": Object(
        0.10,
        _pieces(
            (_slab(0.14, 0.07, 0.10, up=-0.015), 0.36, 0.9, 0.75),
            (_slab(0.14, 0.03, 0.10, up=0.035), 0.0, 0.0, 1.0),
        ),
    ),
    "phone": Object(
        0.18,
        _pieces(
            (_slab(0.09, 0.18, 0.03), 0.6, 0.3, 0.12),
            (_slab(0.07, 0.135, 0.034), 0.54, 0.75, 1.0),
        ),
    ),
    "cloth": Object(
        0.18,
        _pieces(
            ([(-0.07, -0.05, 0.0, 0.03), (0.06, -0.06, 0.02, 0.03), (0.0, 0.06, 0.01, 0.03)], 0.145, 0.95, 1.0),
            ([(-0.04, -0.05, 0.02, 0.01), (0.0, 0.06, 0.04, 0.008)], 0.125, 0.95, 0.75),
        ),
    ),
}
