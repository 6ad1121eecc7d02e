"""Connections to a server over gRPC, and the attempts of a request.

A connection sends and returns the messages of TensorFlow Serving's ``PredictionService``;
:mod:`serving.client.rest_client` has the same interface over REST.
"""

from __future__ import annotations

import ipaddress
import os
import random
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serving.client.credentials import Tls
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

FIRST_PAUSE = 0.1  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 5.0
_OF_SIZE = re.compile("large|bytes|size", re.IGNORECASE)  # in the details of RESOURCE_EXHAUSTED
_SERVICE = "/tensorflow.serving.PredictionService/"


class TransportError(Exception):
    """A failed attempt.

    Attributes:
        code: The ``grpc.StatusCode``.
        details: The reason that the server, or gRPC, gives.
        of_size: Whether a message was refused for its size; any other RESOURCE_EXHAUSTED means too many requests.
            Default: decided from ``details``.
    """

    code: grpc.StatusCode
    details: str
    of_size: bool

    def __init__(self, code: grpc.StatusCode, details: str, of_size: bool | None = None):
        super().__init__(details)
        self.code = code
        self.details = details
        if of_size is None:
            of_size = code.name == "RESOURCE_EXHAUSTED" and bool(_OF_SIZE.search(details or ""))
        self.of_size = of_size

    @property
    def is_passing(self) -> bool:
        """Whether a further attempt may succeed."""
        return self.code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED") and not self.of_size


class Attempts:
    """The attempts of one request: a further one only after a temporary error, never past the deadline.

    Pauses double from 0.1 to 5 seconds. Each is shortened at random by up to a half, so that clients that lost a server
    at the same time do not return at the same time. gRPC's own retry policy allows five attempts, and does not retry a
    request above 256 kB.

    Args:
        timeout: Seconds for all attempts together.
        retries: Attempts after the first one.
        clock: Seconds, as ``time.monotonic``.
    """

    def __init__(self, timeout: float, retries: int, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._deadline = clock() + timeout
        self._left = retries
        self._pause = FIRST_PAUSE

    def remaining(self) -> float:
        """Seconds left for this attempt."""
        return max(self._deadline - self._clock(), 0.0)

    def pause(self, error: TransportError) -> float | None:
        """Seconds to wait after a failed attempt; ``None`` if no further attempt follows."""
        pause = self._pause * random.uniform(0.5, 1.0)
        if not error.is_passing or not self._left or pause >= self.remaining():
            return None
        self._left -= 1
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return pause


def response_types() -> dict[str, Any]:
    """Method of the service -> type of its response."""
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

    return {
        "Predict": predict_pb2.PredictResponse,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    }


def serialised(request: Message, limit: int) -> bytes:
    """The bytes of a message; :class:`TransportError` if there are more than ``limit``."""
    import grpc

    size = request.ByteSize()
    if size > limit:
        raise TransportError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"the request has {size} bytes, the limit set here is {limit}"
        )
    return request.SerializeToString()


def parsed(method: str, data: bytes) -> Message:
    """The response of a method; :class:`TransportError` if the bytes are not one."""
    import grpc
    from google.protobuf.message import DecodeError

    try:
        return response_types()[method].FromString(data)
    except DecodeError:
        details = f"{len(data)} bytes that are no response of {method}"
        raise TransportError(grpc.StatusCode.INTERNAL, details) from None


def proxy_to(address: str) -> str | None:
    """The proxy, without its password, that gRPC uses for an address; ``None`` if none is used, as for this machine.

    Args:
        address: ``HOST:PORT``.
    """
    host = host_of(address)
    if _is_local(host) or _is_exempt(host):
        return None
    found = (os.environ.get(name) for name in ("grpc_proxy", "https_proxy", "http_proxy"))
    return next((messages.without_password(address) for address in found if address), None)


def _is_exempt(host: str) -> bool:
    """Whether the environment exempts a host from the proxy; as in gRPC, an entry is the end of the host's name."""
    exempt = next(filter(None, map(os.environ.get, ("no_grpc_proxy", "no_proxy"))), "")
    return any(host.lower().endswith(entry.strip().lower()) for entry in exempt.split(",") if entry.strip())


def _is_local(host: str) -> bool:
    """Whether a host is this machine, by its address or as a name that is reserved for it."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host in ("", "localhost", "ip6-localhost") or host.endswith(".localhost")
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_unspecified


def _require_address(address: str) -> None:
    """Raises ``UserError`` for a gRPC address with an IPv6 host without brackets: gRPC would use another port."""
    host, _, port = address.rpartition(":")
    if _is_ipv6(host) and port.isdecimal():
        example = f"[{host}]:{port}"
    elif _is_ipv6(address):
        example = f"[{address}]:8500"
    else:
        return
    raise UserError(f"{address}: expected an IPv6 address in brackets, such as {example}")


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def host_of(address: str) -> str:
    """The host of ``HOST:PORT``; empty if there is none.

    Example:
        >>> host_of("[::1]:8500")
        '::1'
    """
    try:
        return urllib.parse.urlsplit(f"//{address}").hostname or ""
    except ValueError:
        return ""


def _options(address: str, limit: int) -> list[tuple[str, int]]:
    return [
        # Without this, gRPC would use a proxy from the environment even for a server on this machine.
        ("grpc.enable_http_proxy", int(proxy_to(address) is not None)),
        ("grpc.max_send_message_length", limit),
        ("grpc.max_receive_message_length", limit),  # gRPC's default of 4 MB is less than a clip's attention maps
        # By default gRPC restores a lost connection after a second at the earliest, too late for the first attempts.
        ("grpc.initial_reconnect_backoff_ms", int(1000 * FIRST_PAUSE)),
        ("grpc.max_reconnect_backoff_ms", int(1000 * LONGEST_PAUSE)),
    ]


def _channel(module, address: str, tls: Tls | None, limit: int):
    """A channel of ``grpc`` or ``grpc.aio``."""
    if tls:
        return module.secure_channel(address, tls.channel_credentials(), options=_options(address, limit))
    return module.insecure_channel(address, options=_options(address, limit))


class GrpcConnection:
    """A connection over gRPC; usable from several threads.

    Args:
        address: ``HOST:PORT``.
        tls: A :class:`serving.client.credentials.Tls`, or ``None``.
        limit: Largest message in bytes, either way.

    Raises:
        UserError: An IPv6 address is not in brackets.
    """

    def __init__(self, address: str, tls: Tls | None, limit: int):
        import grpc

        _require_address(address)
        self._limit = limit
        self._channel = _channel(grpc, address, tls, limit)
        # Requests and responses are passed as bytes: gRPC itself would log a traceback for one that it cannot parse.
        self._methods = {method: self._channel.unary_unary(_SERVICE + method) for method in response_types()}

    def call(self, method: str, request: Message, timeout: float) -> Message:
        """The response to a request.

        Args:
            method: ``Predict`` or ``GetModelMetadata``.
            request: The method's request message.
            timeout: Seconds.

        Raises:
            TransportError: There is no response.
        """
        import grpc

        try:
            data = self._methods[method](serialised(request, self._limit), timeout=timeout)
        except grpc.RpcError as error:
            raise TransportError(error.code(), error.details()) from None
        return parsed(method, data)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


class AsyncGrpcConnection:
    """:class:`GrpcConnection` for ``asyncio``; it belongs to the event loop of its first call."""

    def __init__(self, address: str, tls: Tls | None, limit: int):
        _require_address(address)
        self._address, self._tls, self._limit = address, tls, limit
        self._channel: Any = None  # made in the event loop

    async def call(self, method: str, request: Message, timeout: float) -> Message:
        """As :meth:`GrpcConnection.call`."""
        import grpc

        if self._channel is None:
            self._channel = _channel(grpc.aio, self._address, self._tls, self._limit)
        try:
            data = await self._channel.unary_unary(_SERVICE + method)(serialised(request, self._limit), timeout=timeout)
        except grpc.RpcError as error:
            raise TransportError(error.code(), error.details()) from None
        return parsed(method, data)

    async def close(self) -> None:
        """Ends the connection."""
        if self._channel is not None:
            await self._channel.close()
