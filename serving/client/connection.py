"""Connections to a server over gRPC, and how often a request is tried.

A connection takes and gives the messages of TensorFlow Serving's ``PredictionService``, whatever carries them:
:mod:`serving.client.rest_client` has the same interface.
"""

import random
import time

FIRST_PAUSE = 0.1  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 5.0
_SERVICE = "/tensorflow.serving.PredictionService/"


class Fault(Exception):
    """An attempt that failed.

    Attributes:
        code: The ``grpc.StatusCode``.
        details: What the server, or gRPC, says about it.
    """

    def __init__(self, code, details):
        super().__init__(details)
        self.code = code
        self.details = details


class Attempts:
    """The attempts of one request: again after UNAVAILABLE alone, later each time, never past the deadline.

    Pauses double from 0.1 to 5 seconds, less up to half by chance, so that clients which lost a server together do
    not come back together. gRPC's own retry policy would allow five attempts, and none with a request above 256 kB.

    Args:
        timeout: Seconds for all attempts together.
        retries: Attempts after the first one.
        clock: Seconds, as ``time.monotonic``.
    """

    def __init__(self, timeout, retries, clock=time.monotonic):
        self._clock = clock
        self._deadline = clock() + timeout
        self._left = retries
        self._pause = FIRST_PAUSE

    def remaining(self):
        """Seconds left for this attempt."""
        return max(self._deadline - self._clock(), 0.0)

    def pause(self, code):
        """Seconds to wait before the next attempt after one that failed with ``code``; ``None``: no further attempt."""
        import grpc

        pause = self._pause * random.uniform(0.5, 1.0)
        if code != grpc.StatusCode.UNAVAILABLE or not self._left or pause >= self.remaining():
            return None
        self._left -= 1
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return pause


def response_types():
    """Method of the service -> type of its response."""
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

    return {
        "Predict": predict_pb2.PredictResponse,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    }


def serialised(request, limit):
    """The bytes of a message; :class:`Fault` if there are more than ``limit``."""
    import grpc

    size = request.ByteSize()
    if size > limit:
        raise Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the request has {size} bytes, the limit set here is {limit}")
    return request.SerializeToString()


def parsed(method, data):
    """The response of a method; :class:`Fault` where the bytes are none."""
    import grpc
    from google.protobuf.message import DecodeError

    try:
        return response_types()[method].FromString(data)
    except DecodeError:
        raise Fault(grpc.StatusCode.INTERNAL, f"{len(data)} bytes that are no response of {method}") from None


def _options(limit):
    return [
        ("grpc.max_send_message_length", limit),
        ("grpc.max_receive_message_length", limit),  # gRPC's own, 4 MB, is less than attention maps of a clip
        # Else a lost connection is tried again after a second at the earliest, whatever attempts are made.
        ("grpc.initial_reconnect_backoff_ms", int(1000 * FIRST_PAUSE)),
        ("grpc.max_reconnect_backoff_ms", int(1000 * LONGEST_PAUSE)),
    ]


def _channel(module, address, tls, limit):
    """A channel of ``grpc`` or ``grpc.aio``."""
    if tls:
        return module.secure_channel(address, tls.channel_credentials(), options=_options(limit))
    return module.insecure_channel(address, options=_options(limit))


class GrpcConnection:
    """A connection over gRPC; usable from several threads.

    Args:
        address: ``HOST:PORT``.
        tls: A :class:`serving.client.credentials.Tls`, or ``None``.
        limit: Bytes that a message may have, either way.
    """

    def __init__(self, address, tls, limit):
        import grpc

        self._limit = limit
        self._channel = _channel(grpc, address, tls, limit)
        # Bytes both ways: what gRPC cannot parse itself it reports with a traceback in the log.
        self._methods = {method: self._channel.unary_unary(_SERVICE + method) for method in response_types()}

    def call(self, method, request, timeout):
        """The response to a request.

        Args:
            method: ``Predict`` or ``GetModelMetadata``.
            request: Its message.
            timeout: Seconds.

        Raises:
            Fault: There is none.
        """
        import grpc

        try:
            data = self._methods[method](serialised(request, self._limit), timeout=timeout)
        except grpc.RpcError as error:
            raise Fault(error.code(), error.details()) from None
        return parsed(method, data)

    def close(self):
        """Ends the connection."""
        self._channel.close()


class AsyncGrpcConnection:
    """:class:`GrpcConnection` for ``asyncio``; it belongs to the event loop of its first call."""

    def __init__(self, address, tls, limit):
        self._address, self._tls, self._limit = address, tls, limit
        self._channel = None  # made in the loop

    async def call(self, method, request, timeout):
        """As :meth:`GrpcConnection.call`."""
        import grpc

        if self._channel is None:
            self._channel = _channel(grpc.aio, self._address, self._tls, self._limit)
        try:
            data = await self._channel.unary_unary(_SERVICE + method)(serialised(request, self._limit), timeout=timeout)
        except grpc.RpcError as error:
            raise Fault(error.code(), error.details()) from None
        return parsed(method, data)

    async def close(self):
        """Ends the connection."""
        if self._channel is not None:
            await self._channel.close()
