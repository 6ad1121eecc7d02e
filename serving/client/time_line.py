"""Rows and segments of a stream, which evaluation of whole videos shares; see :mod:`zoo.shared.time_line`."""

from zoo.shared.time_line import Row, RowBuilder, Segment, TimeLine

__all__ = ["Row", "RowBuilder", "Segment", "TimeLine"]
