"""From bodies relative to their hips to positions in front of the camera.

An estimator gives a body's joints in metres from the middle of its hips, and in pixels of the picture. A pinhole camera
connects the two: a joint at :math:`(X + t_x, Y + t_y, Z + t_z)` is seen at :math:`u = c_x + f (X + t_x) / (Z + t_z)`,
:math:`v = c_y - f (Y + t_y) / (Z + t_z)`. Multiplied by the depth, these are linear in :math:`t`; the least squares
over all joints have a closed form.
"""

from __future__ import annotations

import math

import numpy as np

FIELD_OF_VIEW = 60.0  # degrees, horizontal: assumed if the focal length is not known
NEAREST, FARTHEST = 0.1, 100.0  # metres: depths that a joint can have


def focal_length(given: float, width: int) -> float:
    """The focal length in pixels: ``given``, or if it is 0 that of a horizontal view of :data:`FIELD_OF_VIEW`."""
    return given or width / 2 / math.tan(math.radians(FIELD_OF_VIEW) / 2)


def depths(xyz: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How far in front of the camera the hips are.

    Args:
        xyz: ``[N, J, 3]`` metres from the hips; x to the right, y upwards, z away from the camera.
        rays: ``[N, J, 2]`` of :func:`rays_of`.
        weights: ``[N, J]``.

    Returns:
        ``[N]`` metres, at least so large that every joint is in front of the camera.
    """
    known = rays * xyz[..., 2:] - xyz[..., :2]  # t_xy - rays t_z = known
    centred, known = (values - _mean(values, weights) for values in (rays, known))
    weights = weights[..., np.newaxis]
    spread = (weights * centred**2).sum(axis=(1, 2))
    found = -(weights * centred * known).sum(axis=(1, 2)) / np.maximum(spread, 1e-12)
    return np.clip(found, NEAREST - xyz[..., 2].min(axis=1), FARTHEST)


def positions(xyz: np.ndarray, rays: np.ndarray, weights: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """The bodies in camera coordinates, their hips at the given depths.

    Args:
        xyz: ``[N, J, 3]``, as of :func:`depths`.
        rays: ``[N, J, 2]``.
        weights: ``[N, J]``.
        depths: ``[N]`` metres.

    Returns:
        ``[N, J, 3]`` metres; x to the right, y upwards, z away from the camera.
    """
    depths = depths[:, np.newaxis, np.newaxis]
    sideways = _mean(rays * (xyz[..., 2:] + depths) - xyz[..., :2], weights)  # [N, 1, 2]
    return xyz + np.concatenate([sideways, depths], axis=-1)


def rays_of(xy: np.ndarray, width: int, height: int, focal: float) -> np.ndarray:
    """Where the joints are seen, ``[..., 2]`` metres right of and above the optical axis at a depth of one metre."""
    return (xy - np.array([width / 2, height / 2], np.float32)) / np.array([focal, -focal], np.float32)


def _mean(values, weights):
    """Weighted mean ``[N, 1, D]`` over the joints of ``[N, J, D]``."""
    weights = weights[..., np.newaxis]
    return (weights * values).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
