"""The smoothing of successive windows, which evaluation of whole videos shares; see :mod:`zoo.shared.smoothing`."""

from zoo.shared.smoothing import Exponential, MovingAverage, Smoothing, parse

__all__ = ["Exponential", "MovingAverage", "Smoothing", "parse"]
