"""Random access to the records of a shard, without reading the shard in order or holding it in memory.

A shard is a TFRecord file. It has for every record: its length (8 bytes), a checksum of the length (4), the record, and
a checksum of the record (4). ``python -m tfrecords.inspect --verify`` compares the checksums; here only
the lengths are used.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

from tfrecords import schema, storage
from zoo.shared.errors import UserError

_Read = TypeVar("_Read")
_HEADER, _FOOTER = 12, 4
_HEAD = 8192  # bytes that are read of a record for its context, which has about 400 bytes and the clip's id


@dataclasses.dataclass(frozen=True)
class Location:
    """Where a record lies.

    Attributes:
        path: The shard.
        offset: First byte of the record.
        length: Bytes of the record.
    """

    path: str
    offset: int
    length: int

    def read(self) -> schema.Clip:
        """The :class:`tfrecords.schema.Clip`; ``UserError`` if the shard is damaged."""
        with storage.location(self.path).open("rb") as file:
            file.seek(self.offset)
            record = file.read(self.length)
        try:
            return schema.decode(record)
        except (ValueError, IndexError) as error:
            raise UserError(f"{self.path} at byte {self.offset}: {error}, convert again") from None

    def checksum(self) -> bytes:
        """The record's checksum as stored in the shard."""
        with storage.location(self.path).open("rb") as file:
            file.seek(self.offset + self.length)
            return file.read(_FOOTER)


def locations(path: str | os.PathLike | storage.Remote) -> list[Location]:
    """The :class:`Location` of every record of a shard, in order.

    Args:
        path: Path of the file.

    Returns:
        A list.

    Raises:
        UserError: The file ends within a record.
    """
    return [Location(str(path), offset, length) for offset, length, _ in _walk(path, 0)]


def labels(path: str | os.PathLike | storage.Remote) -> list[tuple[int, int]]:
    """Where :class:`tf.data.TFRecordDataset` finds every record of a shard, and the record's stored label.

    Args:
        path: Path of the file.

    Returns:
        A list of ``(first byte of the record's header, label)``.

    Raises:
        UserError: The file is damaged.
    """
    return [(place.offset - _HEADER, label) for place, label in _heads(path, schema.label_of)]


def outlines(path: str | os.PathLike | storage.Remote) -> list[tuple[Location, schema.Clip]]:
    """Every record of a shard without its values per frame, which are not read.

    Args:
        path: Path of the file.

    Returns:
        A list of each record's :class:`Location` and its clip, see :func:`tfrecords.schema.outline`.

    Raises:
        UserError: The file is damaged.
    """
    return list(_heads(path, schema.outline))


def _heads(path, read: Callable[[bytes], _Read]) -> Iterator[tuple[Location, _Read]]:
    """Location of every record of a shard, and what is read in its first bytes."""
    for offset, length, head in _walk(path, _HEAD):
        try:
            yield Location(str(path), offset, length), read(head)
        except ValueError as error:
            raise UserError(f"{path} at byte {offset}: {error} ({length} bytes), convert again") from None


def _walk(path, head):
    """``(offset, length, first bytes)`` of every record of a shard, in order; ``head`` bytes at most."""
    path = storage.location(path)
    size, end, number = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while end < size:
            file.seek(end)
            read = file.read(_HEADER + head)
            length = struct.unpack("<Q", read[:8])[0] if len(read) >= _HEADER else size
            offset, end = end + _HEADER, end + _HEADER + length + _FOOTER
            if end > size:
                raise UserError(f"{path}: ends within record {number}, the shard is damaged: convert again")
            yield offset, length, read[_HEADER : _HEADER + length]
            number += 1
