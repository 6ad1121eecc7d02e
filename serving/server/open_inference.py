"""The open inference protocol (V2) over HTTP, as KServe, Triton and OpenVINO Model Server speak it.

``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/NAME[/versions/N][/ready]`` and
``POST /v2/models/NAME[/versions/N]/infer``, JSON or with binary tensors.

The protocol knows no signatures. A request is for the first signature that has exactly its inputs: ``frames`` and
``poses`` for ``serving_default``, ``jpegs`` for ``serve_jpeg``; the parameter ``signature_name`` chooses another. Of a
model that is no SavedModel, the signature ``network`` takes the input features themselves, as the two others serve it.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

import zoo
from serving.runtimes import protocol
from serving.savedmodel import signatures
from serving.savedmodel.servable import ServingError, invalid_argument
from zoo.shared.messages import one_line

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import model_pb2

    from serving.savedmodel.servable import Servable
    from serving.server.services import Services

PREFIX = "/v2"
_MODEL = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d{1,18}))?(?P<what>/ready|/infer)?")
_NAMES = {"DT_FLOAT": "FP32", "DT_UINT8": "UINT8", "DT_STRING": "BYTES", "DT_BOOL": "BOOL"}


def is_path(path: str) -> bool:
    """Whether a path belongs to this protocol.

    Example:
        >>> is_path("/v2/models/adl/infer"), is_path("/v1/models/adl:predict")
        (True, False)
    """
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def respond(
    services: Services, verb: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[bytes, dict[str, str]]:
    """Responds to a request.

    Args:
        services: The :class:`~serving.server.services.Services`.
        verb: ``GET`` or ``POST``.
        path: The path, not decoded.
        body: The body.
        headers: The headers; names in any case.

    Returns:
        ``(body, headers)`` of the response.

    Raises:
        ServingError: The request cannot be answered.
    """
    if verb == "GET" and path in (PREFIX, f"{PREFIX}/health/live", f"{PREFIX}/health/ready"):
        return protocol.join(_server(services, path), [])
    match = _MODEL.fullmatch(path)
    if not match or (verb == "POST") != (match["what"] == "/infer"):
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"Malformed request: {verb} {path}")
    spec = _spec(match)
    servable = services.manager.servable(spec)
    if match["what"] == "/infer":
        length = next(
            (value for name, value in (headers or {}).items() if name.lower() == protocol.LENGTH.lower()), None
        )
        return _infer(services, spec, servable, body, length)
    return protocol.join({"ready": True} if match["what"] else _metadata(services, servable), [])


def _server(services: Services, path: str) -> dict[str, Any]:
    if path == PREFIX:
        return {
            "name": "serving.server",
            "version": zoo.__version__,
            "extensions": [protocol.EXTENSION],
        }
    if path.endswith("live"):
        return {"live": True}
    if not services.manager.servables():
        raise ServingError(grpc.StatusCode.UNAVAILABLE, "no model is loaded yet")
    return {"ready": True}


def _spec(match: re.Match) -> model_pb2.ModelSpec:
    from tensorflow_serving.apis import model_pb2

    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"]))
    if match["version"]:
        spec.version.value = int(match["version"])
    return spec


def _metadata(services: Services, servable: Servable) -> dict[str, Any]:
    from tensorflow_serving.apis import model_pb2

    states = services.manager.states(model_pb2.ModelSpec(name=servable.name))
    definition = servable.signature_defs[_default(servable)]
    return {
        "name": servable.name,
        "versions": [str(version) for version in sorted(states)],
        "platform": "tensorflow_savedmodel",
        "inputs": [_described(name, info) for name, info in sorted(definition.inputs.items())],
        "outputs": [_described(name, info) for name, info in sorted(definition.outputs.items())],
    }


def _default(servable: Servable) -> str:
    """The signature that the metadata describe."""
    offered = servable.signature_defs
    return next(name for name in (signatures.DEFAULT, signatures.EXAMPLES, *offered) if name in offered)


def _described(name: str, info: meta_graph_pb2.TensorInfo) -> dict[str, Any]:
    from tensorflow.core.framework import types_pb2

    shape = [dimension.size for dimension in info.tensor_shape.dim]
    return {"name": name, "datatype": _NAMES[types_pb2.DataType.Name(info.dtype)], "shape": shape}


def _infer(
    services: Services, spec: model_pb2.ModelSpec, servable: Servable, body: bytes, length: str | None
) -> tuple[bytes, dict[str, str]]:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    try:
        document, rest = protocol.split(body, length)
        arrays = protocol.decode(document["inputs"], rest)
        parameters = dict(document.get("parameters") or {})
        wanted = {str(one["name"]): dict(one.get("parameters") or {}) for one in document.get("outputs") or []}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else one_line(error)
        raise invalid_argument(f"no request of the open inference protocol: {reason}") from None
    request = predict_pb2.PredictRequest(model_spec=spec)
    request.model_spec.signature_name = str(parameters.get("signature_name") or _signature(servable, set(arrays)))
    request.output_filter.extend(wanted)
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    response = services.call("predict", request, "REST")
    outputs, blocks = [], []
    for name in wanted or sorted(response.outputs):
        array = tf.make_ndarray(response.outputs[name])
        described, block = protocol.encode(name, array)
        if wanted.get(name, {}).get("binary_data", parameters.get("binary_data_output", False)):
            blocks.append(block)
        else:
            del described["parameters"]
            described["data"] = [
                value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                for value in array.ravel().tolist()
            ]
        outputs.append(described)
    version = str(response.model_spec.version.value)
    found = {"model_name": servable.name, "model_version": version, "outputs": outputs}
    return protocol.join({**found, **({"id": document["id"]} if "id" in document else {})}, blocks)


def _signature(servable: Servable, given: set[str]) -> str:
    """The first signature that has exactly these inputs."""
    for name, definition in servable.signature_defs.items():
        if name != signatures.ATTENTION and definition.inputs and set(definition.inputs) == given:
            return name
    offered = {name: sorted(one.inputs) for name, one in servable.signature_defs.items() if one.inputs}
    raise invalid_argument(f"no signature has the inputs {json.dumps(sorted(given))}, expected {json.dumps(offered)}")
