"""Connections to TensorFlow Serving's REST API: JSON over HTTP.

Requests use the columnar format with JPEG files in base64, as TensorFlow Serving's page "RESTful API" describes. JSON
writes numbers as text, so use REST only for networks that gRPC cannot pass, and send frames as JPEG.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np

from serving import urls
from serving.client.connection import TransportError
from serving.client.credentials import Tls
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message
    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

_CHUNK = 1 << 16
_TOO_LARGE = 413
# HTTP status -> name of the corresponding gRPC status code.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    412: "FAILED_PRECONDITION",
    _TOO_LARGE: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def is_address(address: str) -> bool:
    """Whether an address is a REST address: ``http://HOST:PORT`` or ``https://HOST:PORT``."""
    return address.startswith(tuple(f"{scheme}://" for scheme in urls.SCHEMES))


class RestConnection:
    """A server's REST API, with the interface of :class:`serving.client.connection.GrpcConnection`.

    Every request opens its own connection, so several threads can use the object.

    Args:
        address: ``http://HOST:PORT`` or ``https://HOST:PORT``, with a path before ``/v1`` if a proxy needs one.
        tls: A :class:`serving.client.credentials.Tls`; for ``https`` only, where ``None`` means the defaults.
        limit: Largest body in bytes, either way.

    Raises:
        UserError: The address is invalid.
    """

    def __init__(self, address: str, tls: Tls | None, limit: int):
        found = urls.of_server(address)
        if found is None:
            raise UserError(
                f"{messages.without_password(address)}: expected http://HOST:PORT or https://HOST:PORT, with an IPv6 "
                "address in brackets"
            )
        parts, self._host, self._port = found
        self._prefix = parts.path.rstrip("/")
        self._context = (tls or Tls()).context() if parts.scheme == "https" else None
        self._limit = limit

    def call(self, method: str, request: Any, timeout: float) -> Message:
        """As :meth:`serving.client.connection.GrpcConnection.call`."""
        deadline = time.monotonic() + timeout
        path = self._prefix + model_path(request.model_spec)
        if method == "Predict":
            body = json.dumps(predict_body(request)).encode()
            status, data = self._exchange("POST", f"{path}:predict", body, deadline)
        else:
            status, data = self._exchange("GET", f"{path}/metadata", None, deadline)
        if status != http.client.OK:
            raise TransportError(_status_code(status), _error_message(status, data), of_size=status == _TOO_LARGE)
        try:
            return _READERS[method](json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = messages.one_line(f"{type(error).__name__}: {error}")
            raise TransportError(_status_code(500), f"JSON that is no response of {method} ({reason})") from None

    def _exchange(self, verb: str, path: str, body: bytes | None, deadline: float) -> tuple[int, bytes]:
        """Status and body of one HTTP request, before the deadline."""
        import grpc

        if body and len(body) > self._limit:
            raise TransportError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the request has {len(body)} bytes, the limit here is {self._limit}",
            )
        connection = self._connection(_left(deadline))
        try:
            connection.connect()
            connection.sock.settimeout(_left(deadline))
            connection.request(verb, path, body, {"Content-Type": "application/json"} if body else {})
            connection.sock.settimeout(_left(deadline))
            sock = connection.sock  # the response takes it over
            response = connection.getresponse()
            return response.status, self._body(response, sock, deadline)
        except socket.timeout:
            raise TransportError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        except (OSError, http.client.HTTPException) as error:  # refused, closed early, not HTTP
            raise TransportError(grpc.StatusCode.UNAVAILABLE, urls.failure(error)) from None
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._context:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _body(self, response: http.client.HTTPResponse, sock: socket.socket, deadline: float) -> bytes:
        """The body, read in pieces, so that the deadline also holds for a server that sends a byte now and then."""
        import grpc

        data = bytearray()
        while piece := response.read1(_CHUNK):
            data += piece
            if len(data) > self._limit:
                raise TransportError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a response of more than {self._limit} bytes")
            left = _left(deadline)
            if not response.isclosed():
                sock.settimeout(left)
        if response.length:
            raise http.client.IncompleteRead(bytes(data[:0]), response.length)
        return bytes(data)

    def close(self) -> None:
        """Does nothing: no connection is kept open."""


class AsyncRestConnection:
    """:class:`RestConnection` for ``asyncio``: each request waits in a thread."""

    def __init__(self, address: str, tls: Tls | None, limit: int):
        self._connection = RestConnection(address, tls, limit)

    async def call(self, method: str, request: Any, timeout: float) -> Message:
        """As :meth:`RestConnection.call`."""
        return await asyncio.to_thread(self._connection.call, method, request, timeout)

    async def close(self) -> None:
        """Does nothing: no connection is kept open."""


def _left(deadline: float) -> float:
    """Seconds until a deadline; ``socket.timeout`` when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    return left


def model_path(spec: ModelSpec) -> str:
    """The path of the model of a ``ModelSpec``."""
    path = f"/v1/models/{urllib.parse.quote(spec.name, safe='')}"
    choice = spec.WhichOneof("version_choice")
    if choice == "version":
        return f"{path}/versions/{spec.version.value}"
    if choice == "version_label":
        return f"{path}/labels/{urllib.parse.quote(spec.version_label, safe='')}"
    return path


def predict_body(request: PredictRequest) -> dict[str, Any]:
    """The JSON of a ``PredictRequest``; the REST API has no counterpart of ``output_filter``.

    Example:
        >>> import tensorflow as tf
        >>> from tensorflow_serving.apis import predict_pb2
        >>> request = predict_pb2.PredictRequest()
        >>> request.model_spec.signature_name = "serve_jpeg"
        >>> request.inputs["jpegs"].CopyFrom(tf.make_tensor_proto([[b"image bytes"]]))
        >>> predict_body(request)
        {'signature_name': 'serve_jpeg', 'inputs': {'jpegs': [[{'b64': 'aW1hZ2UgYnl0ZXM='}]]}}
    """
    import tensorflow as tf

    inputs = {name: _jsonable(tf.make_ndarray(tensor).tolist()) for name, tensor in request.inputs.items()}
    return {"signature_name": request.model_spec.signature_name, "inputs": inputs}


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, list) and value and isinstance(value[0], (list, bytes)):
        return [_jsonable(item) for item in value]
    return value


def _predict_response(content: Any) -> Message:
    """The ``PredictResponse`` of decoded JSON."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    response = predict_pb2.PredictResponse()
    for name, value in content["outputs"].items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(_tensor(value)))
    return response


def _tensor(value: Any) -> np.ndarray:
    array = np.array(_plain(value))
    if array.dtype.kind in "US":
        array = np.vectorize(lambda text: text.encode() if isinstance(text, str) else text, otypes=[object])(array)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _plain(value: Any) -> Any:
    """Nested lists with base64 decoded to bytes."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _metadata_response(content: Any) -> Message:
    """The ``GetModelMetadataResponse`` of decoded JSON."""
    from google.protobuf import json_format
    from tensorflow_serving.apis import get_model_metadata_pb2

    signatures = dict(content["metadata"]["signature_def"])
    signatures.pop("@type", None)  # in this JSON the message is an Any
    found = get_model_metadata_pb2.SignatureDefMap()
    try:
        json_format.ParseDict(signatures, found, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from None
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(found)
    return response


_READERS = {"Predict": _predict_response, "GetModelMetadata": _metadata_response}


def _status_code(status: int) -> grpc.StatusCode:
    import grpc

    return grpc.StatusCode[_CODES.get(status, "UNKNOWN")]


def _error_message(status: int, data: bytes) -> str:
    """The server's message about a refused request."""
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {status}, {http.client.responses.get(status, 'unknown')}"
