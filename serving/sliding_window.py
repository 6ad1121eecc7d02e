"""Public names for long video and streams; see :mod:`serving.client.sliding_window`."""

from serving.client.sliding_window import IN_FLIGHT, Plan, poses_between, predict, predict_async, windows
from serving.client.smoothing import Exponential, MovingAverage
from serving.client.smoothing import parse as smoothing
from serving.client.time_line import Row, Segment, TimeLine

__all__ = [
    "IN_FLIGHT",
    "Exponential",
    "MovingAverage",
    "Plan",
    "Row",
    "Segment",
    "TimeLine",
    "poses_between",
    "predict",
    "predict_async",
    "smoothing",
    "windows",
]
