"""Random access to the records of a shard: for those who cannot hold all clips in memory, nor read them in order.

A shard is a TFRecord file: of every record its length (8 bytes), a checksum of that (4), the record and a checksum of
it (4). ``python -m tfrecords.inspect --verify`` checks the sums; here the lengths alone are followed.
"""

import dataclasses
import pathlib
import struct

from tfrecords import schema
from tfrecords.errors import UserError

_HEADER, _FOOTER = 12, 4


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a record lies.

    Attributes:
        path: The shard.
        offset: First byte of the record.
        length: Bytes of the record.
    """

    path: str
    offset: int
    length: int

    def read(self):
        """The :class:`tfrecords.schema.Clip`; ``UserError`` if the shard is damaged."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            record = file.read(self.length)
        try:
            return schema.decode(record)
        except (ValueError, IndexError) as error:
            raise UserError(f"{self.path} at byte {self.offset}: {error}, convert again") from None


def places(path):
    """The :class:`Place` of every record of a shard, in order.

    Args:
        path: Path of the file.

    Returns:
        A list.

    Raises:
        UserError: The file ends within a record.
    """
    path = pathlib.Path(path)
    size, end, found = path.stat().st_size, 0, []
    with open(path, "rb") as file:
        while end < size:
            file.seek(end)
            header = file.read(_HEADER)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER else size
            offset, end = end + _HEADER, end + _HEADER + length + _FOOTER
            if end > size:
                raise UserError(f"{path}: ends within record {len(found)}, the shard is damaged: convert again")
            found.append(Place(str(path), offset, length))
    return found
