"""Unit vectors and rotations about the axes."""

from __future__ import annotations

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors ``[..., 3]`` scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def rotation(axis: int, angle: np.ndarray | float) -> np.ndarray:
    """Rotations ``[..., 3, 3]`` by angles ``[...]`` in radians about axis 0, 1 or 2."""
    angle = np.asarray(angle, float)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., i, j], matrix[..., j, i] = -np.sin(angle), np.sin(angle)
    return matrix
