"""Smoothing over successive windows, shared with the evaluation of whole videos; see :mod:`zoo.shared.smoothing`."""

from zoo.shared.smoothing import Exponential, MovingAverage, Smoothing, parse

__all__ = ["Exponential", "MovingAverage", "Smoothing", "parse"]
