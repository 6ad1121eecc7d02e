"""Former name of :mod:`zoo.fusion`; estimators that were saved under it are read through it."""

from zoo.fusion.estimator import *  # noqa: F403
