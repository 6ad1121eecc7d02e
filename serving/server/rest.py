"""TF-Serving's REST interface: JSON instead of protobuf messages, and the metrics.

``GET /v1/models/NAME[/versions/N|/labels/L][/metadata]``, ``POST ...:predict`` and the path of the metrics; in addition
the open inference protocol (:mod:`serving.server.open_inference`). Pictures as JSON numbers are slow: send JPEG files
as ``{"b64": ...}``, or use gRPC.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import concurrent.futures
import contextlib
import functools
import json
import logging
import re
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving.savedmodel.servable import ServingError, invalid_argument
from serving.server import bodies, connections, metrics, open_inference, web
from serving.server.bodies import HttpError
from serving.server.services import SIGNATURE_FIELD, limited
from zoo.shared.messages import one_line

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import model_pb2, predict_pb2

    from serving.server.services import Services
    from serving.server.tls import Tls

DISCARD_SECONDS = 2.0  # for a client to send the rest of a rejected request
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_PATH = re.compile(  # matched before percent-decoding: a name may have a slash
    rf"/v1/models/(?P<name>[^/:]+)(?:{open_inference.VERSION}|/labels/(?P<label>[^/:]+))?(?P<what>/metadata|:predict)?"
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
        ServingError: The body is not JSON of a predict request, or its values do not have the inputs' types.
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
            text = "".join(values["b64"].split())  # line breaks, and an end without padding, are accepted
            return base64.b64decode(text if "=" in text else text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise invalid_argument(f"input {name}: no base64: {error}") from None
    raise invalid_argument(f'input {name}: expected strings or {{"b64": ...}}')


def predict_json(response: predict_pb2.PredictResponse, rows: bool) -> dict[str, Any]:
    """The JSON of a ``PredictResponse``, row by row (``predictions``) or column by column (``outputs``)."""
    import tensorflow as tf

    columns = {name: _plain(name, _values(tf.make_ndarray(proto))) for name, proto in response.outputs.items()}
    if not rows:
        return {"outputs": columns if len(columns) != 1 else next(iter(columns.values()))}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}


def _values(array):
    """An output as nested lists; float32 as the shortest decimals with the same value: 0.1, without further digits."""
    return array.astype(str).astype(float).tolist() if array.dtype == "float32" else array.tolist()


def _plain(name, value):
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if name.endswith(_BYTES) else value.decode("utf-8", "replace")
    return value


# ---------------------------------------------------------------------------------------------------- methods


def _parts(verb, path, *allowed):
    """The parts of a path, whose ending must be one of ``allowed``."""
    match = _PATH.fullmatch(path)
    if not match or match["what"] not in allowed:
        raise HttpError(404 if not path.startswith("/v1/") else 400, f"Malformed request: {verb} {path}")
    return match


def _get(services, match):
    from google.protobuf import json_format
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

    if match["what"]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURE_FIELD])
        request.model_spec.CopyFrom(_spec(match))
        response = services.call("get_model_metadata", request, "REST")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_FIELD].Unpack(signatures)
        spec = response.model_spec
        return {
            "model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version.value)},
            "metadata": {SIGNATURE_FIELD: json_format.MessageToDict(signatures, preserving_proto_field_name=True)},
        }
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.CopyFrom(_spec(match))
    response = services.call("get_model_status", request, "REST")
    return {"model_version_status": [_status(version) for version in response.model_version_status]}


def _predict(services, match, body):
    def definition(spec):
        return services.manager.servable(spec).signature_def(spec.signature_name or "serving_default")

    def run():
        request, rows = predict_request(body, lambda signature: _spec(match, signature), definition)
        return services.predict(request), rows

    return predict_json(*services.measured(run, urllib.parse.unquote(match["name"]), "REST"))


def _spec(match, signature=""):
    spec = open_inference.spec_of(urllib.parse.unquote(match["name"]), match["version"] or "")
    spec.signature_name = signature
    if match["label"]:
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


# --------------------------------------------------------------------------------------------------- requests


class _Rejection(Response):
    """A response to a request whose body is not read.

    The rest of the body is received and dropped for some time. If the connection were closed at once, the client would
    see a broken pipe and no response.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_discard(receive), DISCARD_SECONDS)
        await send({"type": "http.response.body", "body": b""})


async def _discard(receive):
    while (await receive()).get("more_body"):
        pass


class RestServer:
    """The REST interface on a port.

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
        max_bytes: The argument.
    """

    address: str
    max_bytes: int

    def __init__(self, services: Services, host: str, port: int, max_bytes: int, tls: Tls | None = None):
        self.max_bytes = max_bytes
        self._services = services
        # A thread for each connection, as requests that are joined to a batch wait for each other. These are no daemon
        # threads: Python must not end while one of them is in TensorFlow.
        self._threads = concurrent.futures.ThreadPoolExecutor(connections.MAX_CONNECTIONS, thread_name_prefix="rest")
        options = {"http": connections.Connection, "headers": [("Connection", "close")]}
        self._web = web.WebServer(self._application, host, port, tls.context() if tls else None, options)
        self.address = self._web.address

    def connections(self) -> int:
        """How many connections are open."""
        return self._web.connections()

    def start(self) -> None:
        """Starts to handle requests."""
        self._web.start()

    def stop(self, grace: float) -> None:
        """Accepts no more connections, lets requests under way end, and then closes the connections that are left.

        Args:
            grace: Seconds for the requests to end.
        """
        self._web.stop(grace)
        self._threads.shutdown(wait=False)

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Responds to one request, as an ASGI application."""
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except (ClientDisconnect, asyncio.CancelledError):  # the client, or stop(), has closed the connection
            return
        client = request.client.host if request.client else ""
        _log.debug('rest=%s "%s %s" %d', client, request.method, request.url.path, response.status_code)
        await response(scope, receive, send)

    async def _response(self, request):
        # Starlette's router would see a decoded path, in which a name may have a slash.
        path = request.scope["raw_path"].decode("latin-1")
        kind: type[Response] = Response
        try:
            if request.method == "GET":
                call = functools.partial(self._get, path)
            elif request.method == "POST":
                kind = _Rejection  # while its body is not read
                match = None if open_inference.is_path(path) else _parts("POST", path, ":predict")
                body = await self._body(request)
                kind = Response
                call = functools.partial(self._post, path, match, body, request.headers)
            else:
                kind = _Rejection
                raise HttpError(501, f"the method {request.method} is not supported, only GET and POST")
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except ServingError as error:
            return _json({"error": limited(str(error))}, _HTTP.get(error.code, 500), kind)
        except HttpError as error:
            return _json({"error": str(error)}, error.status, kind)
        except ClientDisconnect:
            raise
        except Exception as error:
            _log.exception("a request failed")
            return _json({"error": f"{type(error).__name__}: {one_line(error)}"}, 500, kind)

    async def _body(self, request):
        bodies.check(request.headers, self.max_bytes)
        left = request.scope["state"][connections.DEADLINE] - asyncio.get_running_loop().time()
        try:
            return await asyncio.wait_for(bodies.read(request, self.max_bytes), left)
        except asyncio.TimeoutError:
            raise HttpError(408, f"the request took longer than {connections.READ_SECONDS:g} s") from None

    def _get(self, path):
        if path == metrics.PATH:
            return Response(self._services.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})
        if open_inference.is_path(path):
            return _mounted(open_inference.respond(self._services, "GET", path))
        return _json(_get(self._services, _parts("GET", path, None, "/metadata")))

    def _post(self, path, match, body, headers):
        body = bodies.decompressed(body, headers, self.max_bytes)
        if match is None:
            return _mounted(open_inference.respond(self._services, "POST", path, body, headers))
        return _json(_predict(self._services, match, body))


def _mounted(response):
    body, headers = response
    return Response(body, headers=headers)


def _json(document, status=200, kind=Response):
    # Starlette's JSONResponse would refuse NaN, which a model may answer, and a lone surrogate from a request.
    return kind(json.dumps(document), status, media_type="application/json")
