"""Video backbones: networks that make a feature map of a video.

A backbone is three functions: ``feature_map(rgb, *, width)`` gives ``g`` [B, t, m, n, c], ``pool(features)`` the pooled
map before the classifier, and ``head(features, num_classes, dropout)`` the softmax [B, C] of the backbone's own paper.
"""

import dataclasses
from typing import Any, Callable, Literal

from zoo.checks import check_choice
from zoo.models import i3d, resnext3d101


@dataclasses.dataclass(frozen=True)
class Backbone:
    """The three functions of a backbone."""

    feature_map: Callable[..., Any]
    pool: Callable[..., Any]
    head: Callable[..., Any]


BackboneName = Literal["i3d", "resnext3d101"]
BACKBONES: dict[str, Backbone] = {
    "i3d": Backbone(i3d.feature_map, i3d.pool, i3d.head),
    "resnext3d101": Backbone(resnext3d101.feature_map, resnext3d101.pool, resnext3d101.head),
}


def get(name: str) -> Backbone:
    """The backbone of that name; :class:`~zoo.checks.ZooError` lists the valid ones."""
    check_choice("backbone", name, BACKBONES)
    return BACKBONES[name]
