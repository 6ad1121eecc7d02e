"""The clips that two-level fusion is trained on: pictures of regions, and poses."""

import dataclasses
from collections.abc import Mapping
from typing import Callable, Literal, Union, get_args

import numpy as np

from zoo.checks import ZooError

Region = Literal["left_hand", "right_hand", "upper_body", "full_body", "full_image"]
REGIONS: tuple[str, ...] = get_args(Region)


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """One clip: an item of ``X``.

    Attributes:
        id: Names the clip in the cache; it must be unique over all datasets that share the cache.
        regions: Name (of :data:`REGIONS`) -> pictures ``[T, H, W, 3]`` uint8 RGB, or a function without arguments
            that returns them. It is called only when a feature is not in the cache.
        poses: ``[T, M, J, 3]`` float32, the normalised poses of every frame. All zeros if no pose is known: appearance
            and motion alone decide then.

    Example:
        >>> still = np.zeros((5, 32, 32, 3), "uint8")
        >>> clip = Clip("a01", {"full_body": lambda: still}, np.zeros((5, 1, 20, 3), "float32"))
        >>> clip.frames("full_body").shape
        (5, 32, 32, 3)
    """

    id: str
    regions: Mapping[str, Union[np.ndarray, Callable[[], np.ndarray]]]
    poses: np.ndarray

    def frames(self, region: str) -> np.ndarray:
        """The pictures of a region; ``ZooError`` if the clip has none."""
        if region not in self.regions:
            raise ZooError(f"clip {self.id} has no region {region!r}, it has {', '.join(self.regions) or 'none'}")
        frames = self.regions[region]
        return frames() if callable(frames) else frames
