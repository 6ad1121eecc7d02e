"""The open inference protocol (V2) over HTTP, as KServe, Triton and OpenVINO Model Server speak it.

:mod:`serving.server.open_inference_grpc` is the same over gRPC.

``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/NAME[/versions/N][/ready]`` and
``POST /v2/models/NAME[/versions/N]/infer``, JSON or with binary tensors.

The protocol has no signatures. A request gets the first signature that has exactly its inputs: ``serving_default`` for
``frames`` and ``poses``, ``serve_jpeg`` for ``jpegs``; the parameter ``signature_name`` chooses another. A model that
is no SavedModel also has the signature ``network``, which takes the network's input features, as under Triton and
OpenVINO Model Server.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc

import zoo
from serving.runtimes import protocol
from serving.savedmodel import signatures, tensor_messages, versions
from serving.savedmodel.servable import ServingError, invalid_argument
from zoo.shared.messages import one_line

if TYPE_CHECKING:
    import numpy as np
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import model_pb2

    from serving.savedmodel.servable import Servable
    from serving.server.services import Services

PREFIX = "/v2"
SERVER = {"name": "serving.server", "version": zoo.__version__}
SIGNATURE = "signature_name"  # a parameter of a request
LONGEST_VERSION = 19  # digits
VERSION = rf"/versions/(?P<version>\d{{1,{LONGEST_VERSION}}})"
_MODEL = re.compile(rf"/v2/models/(?P<name>[^/]+)(?:{VERSION})?(?P<what>/ready|/infer)?")
_PLATFORMS = {  # our name of the format -> <project>_<format>
    "savedmodel": "tensorflow_savedmodel",
    "openvino": "openvino_ir",
    "onnx": "onnx_onnxv1",
    "litert": "litert_tflite",
}
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
    spec = spec_of(urllib.parse.unquote(match["name"]), match["version"] or "")
    servable = services.manager.servable(spec)
    if match["what"] == "/infer":
        length = next(
            (value for name, value in (headers or {}).items() if name.lower() == protocol.LENGTH.lower()), None
        )
        return _infer(services, spec, servable, body, length)
    return protocol.join({"ready": True} if match["what"] else metadata(services, servable), [])


def _server(services: Services, path: str) -> dict[str, Any]:
    if path == PREFIX:
        return {**SERVER, "extensions": [protocol.EXTENSION]}
    if path.endswith("live"):
        return {"live": True}
    if not services.manager.servables():
        raise ServingError(grpc.StatusCode.UNAVAILABLE, "no model is loaded yet")
    return {"ready": True}


def spec_of(name: str, version: str) -> model_pb2.ModelSpec:
    """The ``ModelSpec`` of a model, with the version if the client names one; ``version``: only digits, or empty.

    Raises:
        ServingError: The version's number does not fit into a message.
    """
    from tensorflow_serving.apis import model_pb2

    spec = model_pb2.ModelSpec(name=name)
    if version:
        if int(version) > versions.LAST_VERSION:
            raise invalid_argument(f"version {version}: expected at most {versions.LAST_VERSION}")
        spec.version.value = int(version)
    return spec


def metadata(services: Services, servable: Servable) -> dict[str, Any]:
    """A model's metadata in the protocol: its versions, and the tensors of its default signature."""
    loaded = [one.version for one in services.manager.servables() if one.name == servable.name]
    definition = servable.signature_defs[_default(servable)]
    return {
        "name": servable.name,
        "versions": [str(version) for version in loaded],
        "platform": _PLATFORMS[servable.format],
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
    try:
        document, rest = protocol.split(body, length)
        arrays = protocol.decode(document["inputs"], rest)
        parameters = dict(document.get("parameters") or {})
        wanted = {str(one["name"]): dict(one.get("parameters") or {}) for one in document.get("outputs") or []}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise not_of_protocol(error) from None
    version, found = infer(services, spec, servable, arrays, str(parameters.get(SIGNATURE) or ""), wanted, "REST")
    outputs, blocks = [], []
    for name, array in found.items():
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
    response = {"model_name": servable.name, "model_version": version, "outputs": outputs}
    return protocol.join({**response, **({"id": document["id"]} if "id" in document else {})}, blocks)


def not_of_protocol(error: Exception) -> ServingError:
    """The error for a request that is not valid in the protocol."""
    reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else one_line(error)
    return invalid_argument(f"no request of the open inference protocol: {reason}")


def infer(
    services: Services,
    spec: model_pb2.ModelSpec,
    servable: Servable,
    arrays: Mapping[str, np.ndarray],
    signature: str,
    wanted: Iterable[str],
    entrypoint: str,
) -> tuple[str, dict[str, np.ndarray]]:
    """Runs a model on arrays.

    Args:
        services: The :class:`~serving.server.services.Services`.
        spec: The model, and the version if the client names one.
        servable: The version that is served.
        arrays: Input name -> array.
        signature: The signature's name; empty: the first one with these inputs.
        wanted: Names of outputs; none: all.
        entrypoint: ``gRPC`` or ``REST``.

    Returns:
        ``(version, output name -> array)``.

    Raises:
        ServingError: The request does not fit the model, or running it fails.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(model_spec=spec)
    request.model_spec.signature_name = signature or _signature(servable, set(arrays))
    request.output_filter.extend(wanted)
    for name, array in arrays.items():
        tensor_messages.fill(request.inputs[name], array)
    response = services.call("predict", request, entrypoint)
    names = request.output_filter or sorted(response.outputs)
    return str(response.model_spec.version.value), {name: tf.make_ndarray(response.outputs[name]) for name in names}


def _signature(servable: Servable, given: set[str]) -> str:
    """The first signature that has exactly these inputs."""
    for name, definition in servable.signature_defs.items():
        if name != signatures.ATTENTION and definition.inputs and set(definition.inputs) == given:
            return name
    offered = {name: sorted(one.inputs) for name, one in servable.signature_defs.items() if one.inputs}
    raise invalid_argument(f"no signature has the inputs {json.dumps(sorted(given))}, expected {json.dumps(offered)}")
