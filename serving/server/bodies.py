"""The body of an HTTP request: as it is or compressed with gzip, and of bounded size."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.requests import Request

_PIECE = 1 << 16  # bytes decompressed at a time
_GZIP = 16 + zlib.MAX_WBITS


class HttpError(Exception):
    """A request that fails with an HTTP status before it reaches the model.

    Attributes:
        status: The status.
    """

    status: int

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def check(headers: Headers, limit: int) -> None:
    """Refuses the body that a request's headers announce, if it cannot be read.

    Args:
        headers: The request's headers.
        limit: Most bytes of the body as it is sent, before decompression.

    Raises:
        HttpError: 411 without a length, 413 for one above the limit, 415 for an encoding that is not supported.
    """
    encodings = _encodings(headers)
    if encodings not in ([], ["gzip"], ["x-gzip"]):
        raise HttpError(415, f"Content-Encoding {', '.join(encodings)} is not supported, only gzip")
    if "transfer-encoding" in headers:
        return  # in chunks: a Content-Length is ignored
    if "content-length" not in headers:
        raise HttpError(411, "a Content-Length is needed, or Transfer-Encoding: chunked")
    if int(headers["content-length"]) > limit:
        raise _too_long(limit)


async def read(request: Request, limit: int) -> bytes:
    """Reads the whole body, as it is sent.

    Args:
        request: The request, whose headers passed :func:`check`.
        limit: Most bytes.

    Raises:
        HttpError: 413 for one above the limit.
        starlette.requests.ClientDisconnect: The client has gone.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise _too_long(limit)
    return bytes(body)


def decompressed(body: bytes, headers: Headers, limit: int) -> bytes:
    """The content of a body; decompression stops at the limit, as a few bytes may expand to millions.

    Args:
        body: The body as it was sent.
        headers: The request's headers, which say whether it is gzip data.
        limit: Most bytes.

    Raises:
        HttpError: 400 for damaged data, 413 for more than the limit.

    Example:
        >>> import gzip
        >>> decompressed(gzip.compress(b"{}"), Headers({"Content-Encoding": "gzip"}), limit=100)
        b'{}'
    """
    if not _encodings(headers):
        return body
    content, gzip = bytearray(), zlib.decompressobj(_GZIP)
    try:
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            while piece:
                if gzip.eof:  # several gzip files, one after another, count as one
                    gzip = zlib.decompressobj(_GZIP)
                content += gzip.decompress(piece, _PIECE)
                piece = gzip.unused_data if gzip.eof else gzip.unconsumed_tail
                if len(content) > limit:
                    raise _too_long(limit)
    except zlib.error as error:
        raise HttpError(400, f"the body is no valid gzip data ({error})") from None
    if not gzip.eof:
        raise HttpError(400, "the body's gzip data is cut off")
    return bytes(content)


def _encodings(headers):
    """The encodings of a body; the header may come several times."""
    values = ",".join(headers.getlist("content-encoding")).lower().split(",")
    return [value.strip() for value in values if value.strip() not in ("", "identity")]


def _too_long(limit):
    return HttpError(413, f"the body is longer than the {limit} bytes that are accepted")
