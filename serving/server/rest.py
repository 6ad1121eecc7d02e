"""TF-Serving's REST interface: JSON instead of protobuf messages, and the metrics.

``GET /v1/models/NAME[/versions/N|/labels/L][/metadata]``, ``POST ...:predict`` and the path of the metrics. Pictures as
JSON numbers are slow: send JPEG files as ``{"b64": ...}``, or use gRPC.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.server
import io
import json
import logging
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

from serving.savedmodel.servable import ServingError, invalid_argument
from serving.server import addresses, bodies, metrics
from serving.server.bodies import HttpError
from serving.server.services import SIGNATURE_FIELD
from zoo.shared.errors import UserError
from zoo.shared.messages import one_line

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import model_pb2, predict_pb2

    from serving.server.services import Services
    from serving.server.tls import Tls

DISCARD_SECONDS = 2.0  # for a client to send the rest of a rejected request
READ_SECONDS = 30.0  # for a whole request, and for its response: a client that is slower is disconnected
MAX_CONNECTIONS = 64
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_PATH = re.compile(  # matched before percent-decoding: a name may have a slash
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?(?P<what>/metadata|:predict)?"
)
_BYTES = "_bytes"  # an output with this ending is binary
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # a surrogate alone: JSON can write it, UTF-8 cannot

_log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------- JSON and tensors


def predict_request(
    body: bytes,
    spec: Callable[[str], model_pb2.ModelSpec],
    definition: Callable[[model_pb2.ModelSpec], meta_graph_pb2.SignatureDef],
) -> tuple[predict_pb2.PredictRequest, bool]:
    """The ``PredictRequest`` of a JSON body.

    Args:
        body: The bytes.
        spec: Called with the signature's name, gives the ``ModelSpec``.
        definition: Called with a ``ModelSpec``, gives the signature's ``SignatureDef``.

    Returns:
        ``(request, whether the response is row by row)``.

    Raises:
        ServingError: The body is no such JSON, or its values do not have the inputs' types.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    document = _document(body)
    request = predict_pb2.PredictRequest()
    request.model_spec.CopyFrom(spec(document.get("signature_name", "")))
    expected = dict(definition(request.model_spec).inputs)  # the message's own map fails at names that are no UTF-8
    rows = "instances" in document
    given = _columns(document["instances"], expected) if rows else _named(document["inputs"], expected)
    for name, values in given.items():
        if name not in expected:
            raise invalid_argument(
                f"JSON object: input {name} not found in signature, expected {', '.join(sorted(expected))}"
            )
        request.inputs[name].CopyFrom(_tensor(name, values, tf.as_dtype(expected[name].dtype)))
    return request, rows


def _document(body):
    if body.startswith(b"\x1f\x8b"):
        raise invalid_argument("the body is gzip data, expected the header Content-Encoding: gzip")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid_argument("JSON Value: expected an object with instances or inputs")
    if ("instances" in document) == ("inputs" in document):
        raise invalid_argument("JSON object must have one of the keys instances and inputs")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str) or _HALF_CHARACTER.search(signature):
        raise invalid_argument("signature_name must be a string of Unicode characters")
    return document


def _columns(instances, expected):
    """Input name -> values of every clip, from the row format."""
    if not isinstance(instances, list) or not instances:
        raise invalid_argument("instances must be a list that is not empty")
    if not all(isinstance(row, dict) and set(row) != {"b64"} for row in instances):
        return _named(instances, expected)
    if any(set(row) != set(instances[0]) for row in instances):
        raise invalid_argument("instances must all have the same inputs")
    return {name: [row[name] for row in instances] for name in instances[0]}


def _named(values, expected):
    """Input name -> values; a model with one input needs no name."""
    if isinstance(values, dict) and set(values) != {"b64"}:
        return values
    if len(expected) != 1:
        raise invalid_argument(f"the signature has several inputs, name them: {', '.join(sorted(expected))}")
    return {next(iter(expected)): values}


def _tensor(name, values, dtype):
    """The ``TensorProto`` of an input."""
    import tensorflow as tf

    try:
        return tf.make_tensor_proto(_array(name, values, dtype))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise invalid_argument(f"input {name}: {one_line(error)}") from None


def _array(name, values, dtype):
    """The array of an input; strings become bytes."""
    import numpy as np
    import tensorflow as tf

    if dtype == tf.string:
        array = np.array(_strings(name, values), dtype=object)
        if not all(isinstance(value, bytes) for value in array.flat):  # NumPy has left lists in it
            raise invalid_argument(f"input {name}: lists of unequal length or depth, expected those of a tensor")
        return array
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
    array = np.array(values)
    fits = not array.size or array.dtype.kind in kinds.get(dtype.as_numpy_dtype().dtype.kind, "")
    if fits and dtype.is_integer and array.size:
        fits = dtype.min <= array.min() and array.max() <= dtype.max
    if not fits:
        raise invalid_argument(f"input {name}: values are not of the type {dtype.name}")
    return array.astype(dtype.as_numpy_dtype)


def _strings(name, values):
    if isinstance(values, list):
        return [_strings(name, value) for value in values]
    if isinstance(values, str):
        return values.encode()
    if isinstance(values, dict) and set(values) == {"b64"} and isinstance(values["b64"], str):
        try:
            return base64.b64decode(values["b64"], validate=True)
        except binascii.Error as error:
            raise invalid_argument(f"input {name}: no base64: {error}") from None
    raise invalid_argument(f'input {name}: expected strings or {{"b64": ...}}')


def predict_json(response: predict_pb2.PredictResponse, rows: bool) -> dict[str, Any]:
    """The JSON of a ``PredictResponse``, row by row (``predictions``) or column by column (``outputs``)."""
    import tensorflow as tf

    columns = {name: _plain(name, tf.make_ndarray(proto).tolist()) for name, proto in response.outputs.items()}
    if not rows:
        return {"outputs": columns if len(columns) != 1 else next(iter(columns.values()))}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}


def _plain(name, value):
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if name.endswith(_BYTES) else value.decode("utf-8", "replace")
    return value


# --------------------------------------------------------------------------------------------------- requests


class _Limited(io.RawIOBase):
    """A connection with one time limit for all its reads and writes: a socket's timeout starts anew with every byte.

    Args:
        connection: The socket.
        seconds: The limit; ``socket.timeout`` is raised after it.
    """

    def __init__(self, connection: socket.socket, seconds: float):
        super().__init__()
        self._connection = connection
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """Starts a new time limit."""
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads what has arrived, or waits for it."""
        self._check_time()
        return self._connection.recv_into(buffer)

    def write(self, data: Any) -> int:
        """Writes all of the data."""
        left = memoryview(data)
        while left:
            self._check_time()
            left = left[self._connection.send(left) :]
        return len(data)

    def _check_time(self):
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._connection.settimeout(left)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection, one request: a slow reader or writer holds a thread for a bounded time."""

    services: Services  # set in the subclass that a server makes
    max_bytes: int
    body_unread = False
    protocol_version = "HTTP/1.1"  # a body in chunks, or after "100 Continue", is none of 1.0

    def setup(self):
        """Sets up the connection and starts the time limit of the request."""
        self.connection = self.request
        self.wfile = _Limited(self.connection, READ_SECONDS)
        self.rfile = io.BufferedReader(self.wfile)

    def do_GET(self):
        self._respond(self._get)

    def do_POST(self):
        self.body_unread = True
        self._respond(self._post)

    def _respond(self, make):
        self.path = self.path.partition("?")[0]  # a query is no part of a name
        try:
            if self.path == metrics.PATH and self.command == "GET":
                return self._send(200, self.services.metrics.text(), "text/plain; version=0.0.4")
            status, body = 200, json.dumps(make())
        except ServingError as error:
            status, body = _HTTP.get(error.code, 500), _error(error)
        except HttpError as error:
            status, body = error.status, _error(error)
        except OSError:  # of the connection: the client has gone
            raise
        except Exception as error:
            _log.exception("a request failed")
            status, body = 500, _error(f"{type(error).__name__}: {one_line(error)}")
        self._send(status, body.encode(), "application/json")

    def _send(self, status, body, kind):
        self.close_connection = True
        self.wfile.allow(READ_SECONDS)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if self.body_unread:
            self._discard()

    def _discard(self):
        """Reads a rejected body for a while: closed at once, the client would see a broken pipe and no response."""
        self.wfile.allow(DISCARD_SECONDS)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass

    def _parts(self, *allowed):
        match = _PATH.fullmatch(self.path)
        if not match or match["what"] not in allowed:
            raise HttpError(
                404 if not self.path.startswith("/v1/") else 400, f"Malformed request: {self.command} {self.path}"
            )
        return match

    def _get(self):
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

        match = self._parts(None, "/metadata")
        if match["what"]:
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURE_FIELD])
            request.model_spec.CopyFrom(_spec(match))
            response = self.services.call("get_model_metadata", request, "REST")
            signatures = get_model_metadata_pb2.SignatureDefMap()
            response.metadata[SIGNATURE_FIELD].Unpack(signatures)
            spec = response.model_spec
            return {
                "model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version.value)},
                "metadata": {SIGNATURE_FIELD: json_format.MessageToDict(signatures, preserving_proto_field_name=True)},
            }
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.CopyFrom(_spec(match))
        response = self.services.call("get_model_status", request, "REST")
        return {"model_version_status": [_status(version) for version in response.model_version_status]}

    def _post(self):
        match = self._parts(":predict")
        body = self._body()
        manager = self.services.manager

        def definition(spec):
            return manager.servable(spec).signature_def(spec.signature_name or "serving_default")

        request, rows = predict_request(body, lambda signature: _spec(match, signature), definition)
        return predict_json(self.services.call("predict", request, "REST"), rows)

    def _body(self):
        body = bodies.Body(self.headers, self.max_bytes)
        if self.headers.get("Expect", "").lower() == "100-continue" and self.request_version != "HTTP/1.0":
            self.send_response_only(100)
            self.end_headers()
        try:
            data = body.read(self.rfile)
        except socket.timeout:
            raise HttpError(408, f"the request took longer than {READ_SECONDS:g} s") from None
        self.body_unread = False
        return data

    def handle_expect_100(self) -> bool:
        """Leaves the answer to :meth:`_body`: a request that fails before it need not send its body."""
        return True

    def send_error(self, *arguments: Any, **options: Any) -> None:
        """Responds to a request that is no GET or POST, or not HTTP."""
        super().send_error(*arguments, **options)
        self._discard()

    def log_message(self, template, *values):
        _log.debug("rest=%s %s", self.client_address[0], template % values)


def _error(reason):
    """The JSON of an error."""
    return json.dumps({"error": str(reason)})


def _spec(match, signature=""):
    from tensorflow_serving.apis import model_pb2

    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"]), signature_name=signature)
    if match["version"]:
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return spec


def _status(version):
    from tensorflow_serving.apis import get_model_status_pb2

    code = next(code.name for code in grpc.StatusCode if code.value[0] == version.status.error_code)
    return {
        "version": str(version.version),
        "state": get_model_status_pb2.ModelVersionStatus.State.Name(version.state),
        "status": {"error_code": code, "error_message": version.status.error_message},
    }


class RestServer(http.server.ThreadingHTTPServer):
    """Handles REST requests in threads of its own.

    Args:
        services: The :class:`~serving.server.services.Services`.
        host: Address to listen on, without brackets, or a name.
        port: Port; 0 takes a free one.
        max_bytes: Longest body.
        tls: A :class:`~serving.server.tls.Tls`, or ``None`` for plain HTTP.

    Raises:
        UserError: The port is not free.

    Attributes:
        address: ``HOST:PORT``, with an IPv6 address in brackets.
    """

    daemon_threads = False  # Python must not end while one of them is in TensorFlow
    block_on_close = False  # stop() waits, but not for ever
    allow_reuse_address = True

    address: str

    def __init__(self, services: Services, host: str, port: int, max_bytes: int, tls: Tls | None = None):
        self._context = tls.context() if tls else None
        self._open: set[socket.socket] = set()  # connections
        self._closed = threading.Condition()  # notified when a connection closes; its lock guards the set
        handler = type("Handler", (_Handler,), {"services": services, "max_bytes": max_bytes})
        self.address_family = addresses.family(host)
        try:
            super().__init__((host, port), handler)
        except OSError as error:
            raise UserError(
                f"cannot listen on {addresses.with_port(host, port)}: it is in use or not an address of this machine"
            ) from error
        self.address = addresses.with_port(host, self.server_address[1])

    def server_bind(self) -> None:
        """Takes the port; on ``::`` for IPv4 as well, as gRPC does."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; its TLS handshake is left to the thread that serves it."""
        connection, address = super().get_request()
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for a connection, if there are not too many."""
        with self._closed:
            room = len(self._open) < MAX_CONNECTIONS
            if room:
                self._open.add(request)
        if room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection; a new one may take its slot."""
        with self._closed:
            self._open.discard(request)
            self._closed.notify_all()
        super().shutdown_request(request)

    def stop(self, grace: float) -> None:
        """Accepts no more connections, lets the open ones end, and then closes those that are left.

        Args:
            grace: Seconds for the open ones to end.
        """
        self.shutdown()
        self.server_close()
        with self._closed:
            self._closed.wait_for(lambda: not self._open, grace)
            for connection in self._open:
                with contextlib.suppress(OSError):  # its client has closed it
                    # Not SSLSocket's: it drops TLS first, and its thread would go on in plain text.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs a client that left, was too slow or has no certificate: no error of the server."""
        _log.debug("rest=%s the connection failed", client_address[0], exc_info=True)
