"""The cameras of SynthADL: where they stand and how they project."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrecords.synthadl.randomness import generator

CAMERAS = {1: 0.0, 2: -45.0, 3: 45.0}
"""Camera -> azimuth in degrees: as in NTU RGB+D, camera 1 stands between cameras 2 and 3."""

SETUPS = 4
FRAME_SIZE = (640, 480)  # width, height of the source frame in pixels
FOCAL_LENGTH = 525.0  # pixels


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera; its coordinates are Kinect's: X to the right of the picture, Y up, Z away from the camera.

    Attributes:
        position: ``[3]``, metres in the room.
        axes: ``[3, 3]``, rows X, Y and Z in the room.
    """

    position: np.ndarray
    axes: np.ndarray

    def transform(self, points: np.ndarray) -> np.ndarray:
        """Points ``[..., 3]`` of the room in the camera's coordinates."""
        return (points - self.position) @ self.axes.T

    @staticmethod
    def project(points: np.ndarray) -> np.ndarray:
        """Pixels ``[..., 2]`` of points ``[..., 3]`` in the camera's coordinates."""
        x, y, z = np.moveaxis(points, -1, 0)
        width, height = FRAME_SIZE
        return np.stack([width / 2 + FOCAL_LENGTH * x / z, height / 2 - FOCAL_LENGTH * y / z], axis=-1)


def camera(seed: int, setup: int, number: int) -> Camera:
    """The :class:`Camera` of that number in a setup: setups differ in the cameras' distance and height.

    Args:
        seed: The dataset's seed.
        setup: Number of the setup.
        number: Number of the camera, a key of :data:`CAMERAS`.

    Returns:
        The camera. Persons stand near the room's origin, facing -Z.
    """
    rng = generator(seed, "camera", setup, number)
    azimuth = np.radians(CAMERAS[number] + rng.uniform(-4, 4))
    height = {1: 1.45, 2: 1.75, 3: 1.15}[number] + rng.uniform(-0.1, 0.1)
    distance = rng.uniform(2.9, 3.25)
    position = np.array([distance * np.sin(azimuth), height, -distance * np.cos(azimuth)])
    z = np.array([0.0, 0.95, 0.0]) - position
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return Camera(position, np.stack([x, np.cross(z, x), z]))
