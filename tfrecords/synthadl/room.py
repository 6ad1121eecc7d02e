"""The room: furniture, walls, light, and the objects that lie about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfrecords.synthadl import randomness
from tfrecords.synthadl.geometry import rotation, unit
from tfrecords.synthadl.objects import OBJECTS

SEAT = (0.45, 0.38)  # height of the chair's seat, and how far behind the standing pelvis it is, in metres
BOX_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))  # corners of _box


def furnish(
    rng: np.random.Generator,
    support: np.ndarray,
    sign: int,
    to_room: Callable[[np.ndarray], np.ndarray],
    kind: str | None,
) -> dict[str, Any]:
    """Draws the room: chair, table within reach, cabinet, shelves, walls, and objects lying about.

    Args:
        rng: Random generator.
        support: ``[3]``, the point of the table top the hand reaches, in the person's coordinates.
        sign: -1 where the left hand acts.
        to_room: Function from the person's to the room's coordinates.
        kind: Kind of the object that does not lie about because the activity uses it, or ``None``.

    Returns:
        The fields of a :class:`~tfrecords.synthadl.performance.Performance` that describe the room.
    """
    boxes, spots = [], []  # spots: where objects can lie

    def wood():
        return randomness.colour(rng, hue=(0.04, 0.12), saturation=(0.15, 0.5), value=(0.3, 0.85))

    def add(low, high, colour):
        boxes.append((_box(np.array(low), np.array(high), to_room), colour))

    def legs(low, high, colour):
        """Four legs under the rectangle between two points at the height of its lower side."""
        for x in (low[0], high[0] - 0.04):
            for z in (low[2], high[2] - 0.04):
                add((x, 0, z), (x + 0.04, high[1], z + 0.04), colour)

    colour, (height, behind) = wood(), SEAT
    add((-0.22, height - 0.04, behind - 0.2), (0.22, height, behind + 0.22), colour)
    add((-0.22, height + 0.1, behind + 0.2), (0.22, height + rng.uniform(0.4, 0.55), behind + 0.24), colour)
    legs((-0.22, 0, behind - 0.2), (0.22, height - 0.04, behind + 0.22), colour)

    colour, (x, top, z) = wood(), support
    low = np.array([min(x - sign * 0.12, x + sign * 0.40), top - 0.04, z - 0.28])
    high = np.array([max(x - sign * 0.12, x + sign * 0.40), top, z + 0.14])
    add(low, high, colour)
    legs(low, high - (0, 0.04, 0), colour)
    spots += [(x + sign * 0.27, top, z), (x + sign * rng.uniform(0.1, 0.2), top, z - 0.2)]

    colour, x, z = wood(), -sign * rng.uniform(0.62, 0.85), rng.uniform(-0.1, 0.35)
    top = rng.uniform(0.65, 1.0)
    add((x - 0.22, 0, z), (x + 0.22, top, z + 0.4), colour)
    spots += [(x + shift, top, z + rng.uniform(0.1, 0.25)) for shift in (-0.12, 0.1)]

    colour, x, z = wood(), sign * rng.uniform(0.45, 0.8), rng.uniform(0.75, 1.0)
    shelves = np.array([0.35, 0.8, 1.25]) + rng.uniform(-0.05, 0.25)
    for shelf in shelves:
        add((x - 0.4, shelf - 0.03, z), (x + 0.4, shelf, z + 0.28), colour)
        spots.append((x + rng.uniform(-0.3, 0.3), shelf, z + 0.1))
    for side in (-0.4, 0.37):
        add((x + side, 0, z), (x + side + 0.03, shelves[-1], z + 0.28), colour)

    bag = [*OBJECTS, *rng.choice(tuple(OBJECTS), size=2)]  # at least one of each kind
    order, turns = rng.permutation(len(spots)), rotation(1, rng.uniform(0, 2 * np.pi, size=len(bag)))
    lying = [
        (str(name), to_room(np.add(spots[spot], (0, OBJECTS[name].height / 2, 0))), turn)
        for name, spot, turn in zip(bag, order, turns)
    ]
    if kind is not None:
        del lying[bag.index(kind)]
    light = unit(np.array([rng.uniform(-0.7, 0.7), 1.0, rng.uniform(-1.0, -0.4)]))
    hues = {name: rng.uniform(-0.02, 0.02) for name in OBJECTS}
    return {
        "boxes": tuple(boxes), "faces": _walls(rng), "lying": tuple(lying), "hues": hues, "light": light,
    }  # fmt: skip


def _box(low, high, to_room):
    """Corners ``[8, 3]`` of an upright box between two points of the person's coordinates, in room coordinates."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    low, high = np.minimum(low, high), np.maximum(low, high)
    return to_room(low + corners * (high - low))


def _walls(rng):
    """Floor, walls, a rug, and pictures or windows on the walls: ``(corners [4, 3], colour, stripes)`` each."""
    left, right, back, top = -rng.uniform(2.6, 3.3), rng.uniform(2.6, 3.3), rng.uniform(1.6, 2.6), 4.0
    front = -4.0

    def quad(origin, across, along):
        origin, across, along = (np.array(vector, float) for vector in (origin, across, along))
        return np.stack([origin, origin + across, origin + across + along, origin + along])

    def stripes():
        return rng.choice([0.0, rng.uniform(0.1, 0.5)])

    wall = randomness.colour(rng, saturation=(0.03, 0.3), value=(0.5, 0.95))
    wall_stripes = stripes()
    floor = randomness.colour(rng, hue=(0.03, 0.15), saturation=(0.05, 0.45), value=(0.3, 0.8))
    faces = [
        (quad((left, 0, front), (right - left, 0, 0), (0, 0, back - front)), floor, rng.uniform(0.12, 0.3)),
        (quad((left, 0, back), (right - left, 0, 0), (0, top, 0)), wall, wall_stripes),
        (quad((left, 0, front), (0, 0, back - front), (0, top, 0)), wall, wall_stripes),
        (quad((right, 0, front), (0, 0, back - front), (0, top, 0)), wall, wall_stripes),
    ]
    if rng.random() < 0.6:
        size, x, z = rng.uniform(1.0, 1.8, size=2), rng.uniform(-0.8, 0.0), rng.uniform(-0.8, 0.0)
        rug = randomness.colour(rng, saturation=(0.1, 0.5), value=(0.3, 0.8))
        faces.append((quad((x - 0.4, 0.01, z - 0.4), (size[0], 0, 0), (0, 0, size[1])), rug, stripes()))
    for origin, across in (
        ((rng.uniform(left + 0.2, 0.0), 0, back - 0.02), (1, 0, 0)),
        ((rng.uniform(0.3, right - 1.2), 0, back - 0.02), (1, 0, 0)),
        ((left + 0.02, 0, rng.uniform(-0.5, 0.8)), (0, 0, 1)),
        ((right - 0.02, 0, rng.uniform(-0.5, 0.8)), (0, 0, 1)),
    ):
        if rng.random() < 0.7:
            width, height = rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0)
            picture = randomness.colour(rng, saturation=(0.0, 0.5), value=(0.2, 1.0))
            low = np.add(origin, (0, rng.uniform(1.1, 1.5), 0))
            faces.append((quad(low, np.multiply(across, width), (0, height, 0)), picture, 0.0))
    return tuple(faces)
