"""Random numbers that depend on a key alone, and random colours."""

from __future__ import annotations

import colorsys
import hashlib

import numpy as np


def generator(*key: object) -> np.random.Generator:
    """A random generator that depends on the key alone, the same in every process and on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.0, 1.0),
    value: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """A random colour ``[3]``, RGB in 0 .. 1, with hue, saturation and value each in a range within 0 .. 1."""
    return np.array(colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)))
