"""Rows and segments of a stream, shared with the evaluation of whole videos; see :mod:`zoo.shared.time_line`."""

from zoo.shared.time_line import Row, RowBuilder, Segment, TimeLine

__all__ = ["Row", "RowBuilder", "Segment", "TimeLine"]
