"""Video backbones: anything that makes a feature map of a video and can classify one.

A backbone is three functions: ``feature_map(rgb, *, width)`` gives ``g`` [B, t, m, n, c], ``pool(features)`` makes of
it what is classified, and ``head(features, num_classes, dropout)`` gives the softmax [B, C] its own paper would.
"""

import dataclasses
from typing import Callable

from zoo.checks import check_choice
from zoo.models import i3d, resnext3d101


@dataclasses.dataclass(frozen=True)
class Backbone:
    """The three functions of a backbone."""

    feature_map: Callable
    pool: Callable
    head: Callable


BACKBONES = {
    "i3d": Backbone(i3d.feature_map, i3d.pool, i3d.head),
    "resnext3d101": Backbone(resnext3d101.feature_map, resnext3d101.pool, resnext3d101.head),
}


def get(name):
    """The backbone of that name; :class:`~zoo.checks.ZooError` lists the valid ones."""
    check_choice("backbone", name, BACKBONES)
    return BACKBONES[name]
