"""The open inference protocol (V2) over gRPC: the service ``inference.GRPCInferenceService``.

ServerLive, ServerReady, ServerMetadata, ModelReady, ModelMetadata and ModelInfer. Signatures are chosen as over HTTP
(:mod:`serving.server.open_inference`). Responses have raw tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.runtimes import grpc_protocol
from serving.savedmodel.servable import ServingError, invalid_argument
from serving.server import open_inference

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from tensorflow_serving.apis import model_pb2

    from serving.server.services import Services


def respond(services: Services, method: str, request: Any) -> Message:
    """The response to a request.

    Args:
        services: The :class:`~serving.server.services.Services`.
        method: One of :data:`serving.runtimes.grpc_protocol.METHODS`.
        request: Its message.

    Raises:
        ServingError: The request cannot be answered.
    """
    return grpc_protocol.new(f"{method}Response", **_METHODS[method](services, request))


def _server_live(services: Services, request: Any) -> dict[str, Any]:
    return {"live": True}


def _server_ready(services: Services, request: Any) -> dict[str, Any]:
    return {"ready": bool(services.manager.servables())}


def _server_metadata(services: Services, request: Any) -> dict[str, Any]:
    return open_inference.SERVER


def _model_ready(services: Services, request: Any) -> dict[str, Any]:
    try:
        services.manager.servable(_spec(request.name, request.version))
    except ServingError:
        return {"ready": False}
    return {"ready": True}


def _model_metadata(services: Services, request: Any) -> dict[str, Any]:
    return open_inference.metadata(services, services.manager.servable(_spec(request.name, request.version)))


def _model_infer(services: Services, request: Any) -> dict[str, Any]:
    spec = _spec(request.model_name, request.model_version)
    servable = services.manager.servable(spec)
    try:
        arrays = grpc_protocol.decode(request.inputs, request.raw_input_contents)
    except ValueError as error:
        raise open_inference.not_of_protocol(error) from None
    signature = next((one.value.string_param for one in request.parameters if one.key == open_inference.SIGNATURE), "")
    wanted = [output.name for output in request.outputs]
    version, outputs = open_inference.infer(services, spec, servable, arrays, signature, wanted, "gRPC")
    tensors, blocks = grpc_protocol.encode(outputs)
    found = {"model_name": servable.name, "model_version": version, "id": request.id}
    return {**found, "outputs": tensors, "raw_output_contents": blocks}


_METHODS = {
    "ServerLive": _server_live,
    "ServerReady": _server_ready,
    "ServerMetadata": _server_metadata,
    "ModelReady": _model_ready,
    "ModelMetadata": _model_metadata,
    "ModelInfer": _model_infer,
}


def _spec(name: str, version: str) -> model_pb2.ModelSpec:
    is_number = version.isascii() and version.isdecimal() and len(version) <= open_inference.LONGEST_VERSION
    if version and not is_number:
        raise invalid_argument(f"version {version!r}: expected a number, or none for the newest")
    return open_inference.spec_of(name, version)
