"""From a performance and a camera to pictures.

The room is drawn once per clip with a depth buffer, against which the person's depth is compared in every frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tfrecords.synthadl.cameras import FOCAL_LENGTH, FRAME_SIZE, Camera
from tfrecords.synthadl.geometry import unit
from tfrecords.synthadl.parts import Part, body_parts, object_parts
from tfrecords.synthadl.room import BOX_FACES
from zoo.shared import extras

if TYPE_CHECKING:
    import cv2

    from tfrecords.synthadl.performance import Performance
else:
    cv2 = extras.lazy("cv2")

_SHIFT = 3  # fractional bits of the coordinates given to OpenCV
_CIRCLE = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=-1)


def render(performance: Performance, view: Camera, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draws a performance as a camera sees it.

    Args:
        performance: A :class:`~tfrecords.synthadl.performance.Performance`.
        view: The :class:`~tfrecords.synthadl.cameras.Camera`.
        rng: Random generator of what differs between cameras: the light.

    Yields:
        A source frame ``[480, 640, 3]`` uint8, RGB, for every time; valid until the next one is taken.
    """
    canvas = draw_room(performance, view, rng)
    parts = body_parts(performance)
    if performance.kind is not None:
        # In front of the fingers that hold it.
        parts += object_parts(performance.kind, performance.hues, performance.centre, performance.axes, nearer=0.05)
    outlines, depths, colours = [], [], []
    for part in parts:
        layers = [(part.centres, part.radii, 0.88)]
        if part.round:
            shifted = part.centres + 0.35 * part.radii[:, None] * performance.light
            layers.append((shifted, 0.55 * part.radii, 1.04))
        outlines.append([_outlines(view, centres, radii) for centres, radii, _ in layers])
        colours.append([_to_bytes(part.colour * canvas.exposure * shade) for _, _, shade in layers])
        depths.append(view.transform(part.centres)[..., 2].mean(axis=1) - part.nearer)
    depths = np.stack(depths, axis=1)  # [T, parts]
    everywhere = np.concatenate([layers[0] for layers in outlines], axis=1).reshape(-1, 2) / 2**_SHIFT
    low = np.clip(np.floor(everywhere.min(0)).astype(int) - 2, 0, FRAME_SIZE)
    high = np.clip(np.ceil(everywhere.max(0)).astype(int) + 3, 0, FRAME_SIZE)
    window = slice(low[1], high[1]), slice(low[0], high[0])  # all that ever changes

    frame, room = canvas.image.copy(), np.ascontiguousarray(canvas.image[window])
    # Things up to 12 cm behind a surface count as in front of it: feet on the floor, hands on a table.
    room_depth = canvas.depth[window] + np.float32(0.12)
    depth = np.empty_like(canvas.depth)
    for time, order in enumerate(np.argsort(-depths, axis=1, kind="stable")):
        frame[window] = room
        depth[window] = 0
        for number in order:
            for layer, (points, colour) in enumerate(zip(outlines[number], colours[number])):
                hull = cv2.convexHull(points[time])
                cv2.fillConvexPoly(frame, hull, colour, cv2.LINE_8, _SHIFT)
                if layer == 0:
                    cv2.fillConvexPoly(depth, hull, (float(depths[time, number]),), cv2.LINE_8, _SHIFT)
        hidden = cv2.compare(depth[window], room_depth, cv2.CMP_GT)
        cv2.copyTo(room, hidden, frame[window])
        yield frame


def draw_room(performance: Performance, view: Camera, rng: np.random.Generator) -> Canvas:
    """The :class:`Canvas` with the room; every camera has its own light."""
    exposure = rng.uniform(0.85, 1.12) * rng.uniform(0.94, 1.06, size=3)
    canvas = Canvas(view, performance.light, exposure)
    for corners, colour, stripes in performance.faces:
        canvas.face(corners, colour, stripes)
    for corners, colour in performance.boxes:
        canvas.box(corners, colour)
    # Light falls unevenly into a room.
    uneven: np.ndarray = rng.uniform(0.82, 1.08, size=(4, 5, 1)).astype(np.float32).repeat(3, axis=2)
    uneven = cv2.resize(uneven, FRAME_SIZE, interpolation=cv2.INTER_LINEAR)
    canvas.image = cv2.multiply(canvas.image, uneven, dtype=cv2.CV_8U)
    for kind, centre, axes in performance.lying:
        for part in object_parts(kind, performance.hues, centre[None], axes[None]):
            canvas.part(part)
    return canvas


class Canvas:
    """A picture with a depth buffer, in which things hide what is behind them.

    Args:
        view: The :class:`~tfrecords.synthadl.cameras.Camera`.
        light: ``[3]``, direction towards the light.
        exposure: ``[3]``, factor on the colours.
    """

    def __init__(self, view: Camera, light: np.ndarray, exposure: np.ndarray):
        width, height = FRAME_SIZE
        self.view, self.light, self.exposure = view, light, exposure
        self.image: np.ndarray = np.zeros((height, width, 3), np.uint8)
        self.depth: np.ndarray = np.full((height, width), 1e3, np.float32)
        # A pixel at depth 1 is the point (x, y, 1) of the camera's coordinates.
        self.x = ((np.arange(width) - width / 2) / FOCAL_LENGTH).astype(np.float32)[None, :]
        self.y = ((height / 2 - np.arange(height)) / FOCAL_LENGTH).astype(np.float32)[:, None]

    def face(self, corners: np.ndarray, colour: np.ndarray, stripes: float = 0.0) -> None:
        """Draws a convex polygon.

        Args:
            corners: ``[n, 3]`` in the room, in one plane.
            colour: ``[3]``.
            stripes: Width of a pattern of stripes in metres, across the polygon's first side; 0 for none.
        """
        corners = self.view.transform(corners)
        seen = _in_front(corners)
        if len(seen) < 3:
            return
        outline = np.rint(np.clip(self.view.project(seen), -4000, 4000)).astype(np.int32)
        low, high = np.maximum(outline.min(0), 0), np.minimum(outline.max(0) + 1, FRAME_SIZE)
        if (low >= high).any():
            return
        window = slice(low[1], high[1]), slice(low[0], high[0])
        x, y = self.x[:, window[1]], self.y[window[0]]
        normal = unit(np.cross(corners[1] - corners[0], corners[2] - corners[0]))
        with np.errstate(divide="ignore"):  # a plane seen edge-on covers no pixel there
            depth = np.float32(corners[0] @ normal) / _along(normal, x, y)
        mask = np.zeros(depth.shape, np.uint8)
        cv2.fillConvexPoly(mask, outline - low, (1,))
        mask = (mask > 0) & (depth < self.depth[window])
        shade = 0.72 + 0.28 * abs(self.view.axes.T @ normal @ self.light)
        colour = np.array(_to_bytes(colour * shade * self.exposure), np.uint8)
        _fill(self.image[window], mask, colour)
        if stripes:
            across = unit(corners[1] - corners[0])
            offset = np.where(mask, _along(across, x, y) * depth - np.float32(corners[0] @ across), 0)
            dark = mask & (offset % np.float32(stripes) < stripes / 2)
            _fill(self.image[window], dark, np.rint(0.88 * colour))
        np.copyto(self.depth[window], depth, where=mask)

    def box(self, corners: np.ndarray, colour: np.ndarray) -> None:
        """Draws the sides of a box ``[8, 3]`` that face the camera."""
        middle = corners.mean(axis=0)
        for face in BOX_FACES:
            side = corners[list(face)]
            if (side.mean(axis=0) - middle) @ (side[0] - self.view.position) < 0:
                self.face(side, colour)

    def part(self, part: Part) -> None:
        """Draws a part that does not move, with one depth."""
        outline = cv2.convexHull(_outlines(self.view, part.centres, part.radii)[0])
        x, y, width, height = cv2.boundingRect(outline >> _SHIFT)
        low, high = np.maximum((x - 1, y - 1), 0), np.minimum((x + width + 2, y + height + 2), FRAME_SIZE)
        if (low >= high).any():
            return
        window = slice(low[1], high[1]), slice(low[0], high[0])
        mask = np.zeros(self.depth[window].shape, np.uint8)
        cv2.fillConvexPoly(mask, outline - (low << _SHIFT), (1,), cv2.LINE_8, _SHIFT)
        depth = np.float32(self.view.transform(part.centres)[..., 2].mean() - part.nearer)
        # An object stands on a surface whose front part is nearer than the object's middle.
        mask = (mask > 0) & (depth - np.float32(0.1) < self.depth[window])
        _fill(self.image[window], mask, _to_bytes(part.colour * self.exposure))
        np.copyto(self.depth[window], depth, where=mask)


def _outlines(view, centres, radii):
    """Points ``[T, n * 12, 2]`` on the outlines of spheres in the picture, as OpenCV's fixed-point integers."""
    seen = view.transform(centres)  # [T, n, 3]
    radii = FOCAL_LENGTH * radii / seen[..., 2]  # [T, n], pixels
    points = view.project(seen)[:, :, None] + radii[:, :, None, None] * _CIRCLE  # [T, n, 12, 2]
    return np.rint(points * 2**_SHIFT).astype(np.int32).reshape(len(points), -1, 2)


def _to_bytes(colour):
    """An RGB colour in 0 .. 1 as OpenCV takes it."""
    return tuple(float(value) for value in np.rint(np.clip(colour, 0, 1) * 255))


def _fill(image, mask, colour):
    """Gives the pixels of a mask ``[H, W]`` one colour, in place."""
    for channel, value in enumerate(colour):
        np.copyto(image[..., channel], np.uint8(value), where=mask)


def _along(vector, x, y):
    """Product ``[H, W]`` of a vector ``[3]`` with the points ``(x, y, 1)``, ``x`` ``[1, W]`` and ``y`` ``[H, 1]``."""
    first, second, third = vector.astype(np.float32)
    return first * x + (second * y + third)


def _in_front(corners, nearest=0.1):
    """The polygon ``[n, 3]`` cut off at a plane in front of the camera (Sutherland and Hodgman, 1974)."""
    kept = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0)):
        if start[2] >= nearest:
            kept.append(start)
        if (start[2] >= nearest) != (end[2] >= nearest):
            kept.append(start + (nearest - start[2]) / (end[2] - start[2]) * (end - start))
    return np.array(kept)
