"""Former location of :mod:`zoo.fusion.dense_trajectories`."""

from zoo.fusion.dense_trajectories import Trajectories, extract

__all__ = ["Trajectories", "extract"]
