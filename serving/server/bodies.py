"""The body of an HTTP request: of known length or in chunks, as it is or compressed with gzip, and of bounded size."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from email.message import Message
from typing import BinaryIO

_PIECE = 1 << 16  # bytes read, or decompressed, at a time
_LONGEST_LINE = 4096  # of a chunk's size and of a trailer, bytes
_MOST_TRAILERS = 64
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_GZIP = 16 + zlib.MAX_WBITS


class HttpError(Exception):
    """A request that fails with an HTTP status before it comes to the model.

    Attributes:
        status: The status.
    """

    status: int

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Body:
    """The body that a request's headers announce, not yet read.

    Args:
        headers: The request's headers.
        limit: Most bytes, as they are sent and decompressed.

    Raises:
        HttpError: 411 without a length, 413 for one above the limit, 415 and 501 for an encoding that is not supported.
    """

    def __init__(self, headers: Message, limit: int):
        self._limit = limit
        self._compressed = _is_compressed(headers)
        self._length = None if _is_chunked(headers) else self._announced(headers.get("Content-Length", ""))

    def read(self, stream: BinaryIO) -> bytes:
        """Reads, and decompresses, the whole of it.

        Args:
            stream: A buffered reader of the connection.

        Raises:
            HttpError: 400 for a body that is cut off or damaged, 413 for one above the limit.
            socket.timeout: It comes too slowly.
        """
        pieces = self._chunks(stream) if self._length is None else _exactly(stream, self._length, "its Content-Length")
        body = bytearray()
        for piece in _decompressed(pieces) if self._compressed else pieces:
            body += piece
            if len(body) > self._limit:
                raise self._too_long()
        return bytes(body)

    def _announced(self, length):
        if not length.isascii() or not length.isdecimal():
            raise HttpError(411, "a Content-Length is needed, or Transfer-Encoding: chunked")
        # Compared by its digits first: Python reads no number of thousands of them.
        length = length.lstrip("0") or "0"
        if len(length) > len(str(self._limit)) or int(length) > self._limit:
            raise self._too_long()
        return int(length)

    def _chunks(self, stream) -> Iterator[bytes]:
        """The pieces of a chunked body (RFC 9112, section 7.1)."""
        left = self._limit
        while True:
            line = _line(stream)
            match = _CHUNK_SIZE.fullmatch(line)
            if not match:
                raise HttpError(400, f"malformed chunked body: {line[:40]!r} is no size of a chunk")
            size = int(match[1], 16)
            if not size:
                break
            if size > left:
                raise self._too_long()
            left -= size
            yield from _exactly(stream, size, "its last chunk")
            if _line(stream) not in (b"\r\n", b"\n"):
                raise HttpError(400, "malformed chunked body: a chunk is longer than its size")
        for _ in range(_MOST_TRAILERS):
            if _line(stream) in (b"\r\n", b"\n"):
                return
        raise HttpError(400, f"malformed chunked body: more than {_MOST_TRAILERS} trailers")

    def _too_long(self):
        return HttpError(413, f"the body is longer than the {self._limit} bytes that are accepted")


def _tokens(headers, name):
    """The comma-separated values of a header, which may come several times."""
    values = ",".join(headers.get_all(name, [])).lower().split(",")
    return [value.strip() for value in values if value.strip() not in ("", "identity")]


def _is_chunked(headers):
    encodings = _tokens(headers, "Transfer-Encoding")
    if encodings not in ([], ["chunked"]):
        raise HttpError(501, f"Transfer-Encoding {', '.join(encodings)} is not supported, only chunked")
    return bool(encodings)


def _is_compressed(headers):
    encodings = _tokens(headers, "Content-Encoding")
    if encodings not in ([], ["gzip"], ["x-gzip"]):
        raise HttpError(415, f"Content-Encoding {', '.join(encodings)} is not supported, only gzip")
    return bool(encodings)


def _exactly(stream, length, what) -> Iterator[bytes]:
    """The next ``length`` bytes, in pieces."""
    while length:
        piece = stream.read1(min(_PIECE, length))
        if not piece:
            raise HttpError(400, f"the body is shorter than {what}")
        length -= len(piece)
        yield piece


def _line(stream):
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        reason = "a line is too long" if len(line) == _LONGEST_LINE else "it is cut off"
        raise HttpError(400, f"malformed chunked body: {reason}")
    return line


def _decompressed(pieces) -> Iterator[bytes]:
    """gzip data decompressed, never more than a piece at a time: some bytes may stand for millions."""
    gzip = zlib.decompressobj(_GZIP)
    try:
        for piece in pieces:
            while piece:
                if gzip.eof:  # gzip files one after another are one
                    gzip = zlib.decompressobj(_GZIP)
                yield gzip.decompress(piece, _PIECE)
                piece = gzip.unused_data if gzip.eof else gzip.unconsumed_tail
    except zlib.error as error:
        raise HttpError(400, f"the body is no valid gzip data ({error})") from None
    if not gzip.eof:
        raise HttpError(400, "the body's gzip data is cut off")
