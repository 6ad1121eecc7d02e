"""A server of TF-Serving's gRPC and REST interfaces in one Python process.

It has ``PredictionService`` (Predict, GetModelMetadata), ``ModelService`` (GetModelStatus, HandleReloadConfigRequest)
and gRPC's health service, with the status codes of TF-Serving, so a client cannot tell it from TF-Serving. It has the
open inference protocol as well. It is meant for tests, demonstrations and small sites.
"""

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING

import grpc

from serving.runtimes import grpc_protocol
from serving.savedmodel.servable import MAX_MESSAGE_BYTES, ServingError
from serving.server import addresses, open_inference_grpc, rest
from serving.server.metrics import Metrics
from serving.server.services import Services
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from serving.server.manager import Manager
    from serving.server.tls import Tls

GRACE_SECONDS = 10.0  # for running requests when the server stops
THREADS = 16
MAX_REQUESTS = 64
LAST_PORT = 65535


def _handler(respond, request_type):
    """The gRPC handler of a function from request to response."""

    def handle(request, context):
        try:
            return respond(request)
        except ServingError as error:
            return context.abort(error.code, str(error))

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request_type.FromString, response_serializer=lambda r: r.SerializeToString()
    )


def _grpc_handlers(services):
    """Handlers of TF-Serving's two services and of the open inference protocol; other methods are UNIMPLEMENTED."""
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        predict_pb2,
    )

    methods = {
        "tensorflow.serving.PredictionService": {
            "Predict": ("predict", predict_pb2.PredictRequest),
            "GetModelMetadata": ("get_model_metadata", get_model_metadata_pb2.GetModelMetadataRequest),
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": ("get_model_status", get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": ("handle_reload_config", model_management_pb2.ReloadConfigRequest),
        },
    }
    handlers = {
        service: {
            name: _handler(functools.partial(services.call, method, entrypoint="gRPC"), request_type)
            for name, (method, request_type) in of_service.items()
        }
        for service, of_service in methods.items()
    }
    handlers[grpc_protocol.SERVICE] = {
        method: _handler(
            functools.partial(open_inference_grpc.respond, services, method), grpc_protocol.types()[f"{method}Request"]
        )
        for method in grpc_protocol.METHODS
    }
    return [grpc.method_handlers_generic_handler(service, of_service) for service, of_service in handlers.items()]


class Server:
    """A server of a :class:`~serving.server.manager.Manager`'s models.

    The ports are taken when the object is made, so that a port in use is reported before a model is loaded; requests
    are handled from :meth:`start` on.

    Args:
        manager: The :class:`~serving.server.manager.Manager`.
        host: Address to listen on, IPv4 or IPv6 (with or without brackets), or a name.
        port: gRPC port; 0 takes a free one.
        threads: Requests handled at the same time; TensorFlow's own threads are shared by all.
        rest_port: REST port; 0 takes a free one, ``None`` is no REST.
        tls: A :class:`serving.server.tls.Tls`, or ``None``: no encryption, no authentication.
        max_message_bytes: Longest message; a longer one fails with RESOURCE_EXHAUSTED (REST: 413).
        max_requests: gRPC requests running or waiting; one more fails with RESOURCE_EXHAUSTED.
        metrics: The :class:`~serving.server.metrics.Metrics` to fill.

    Raises:
        UserError: There is no such address, or a port is not free or not valid.

    Attributes:
        address: ``HOST:PORT`` of gRPC, with an IPv6 address in brackets.
        rest_address: Likewise of REST, or ``None``.
    """

    address: str
    rest_address: str | None

    def __init__(
        self,
        manager: Manager,
        *,
        host: str = "127.0.0.1",
        port: int = 8500,
        threads: int = THREADS,
        rest_port: int | None = None,
        tls: Tls | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_requests: int = MAX_REQUESTS,
        metrics: Metrics | None = None,
    ):
        from grpc_health.v1 import health, health_pb2_grpc

        host = addresses.without_brackets(host)
        for number in (port, rest_port):
            if number is not None and not 0 <= number <= LAST_PORT:  # gRPC would take it modulo 65536
                where = addresses.with_port(host, number)
                raise UserError(f"cannot listen on {where}: a port is 0 to {LAST_PORT}, where 0 takes a free one")
        addresses.family(host)  # gRPC would not say which of the two is wrong, the host or the port
        services = Services(manager, metrics or Metrics())
        self._grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="request"),
            maximum_concurrent_rpcs=max_requests,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),  # else a second server on the port would take half of the requests
            ],
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        self._set_health(serving=False)
        self._grpc.add_generic_rpc_handlers(_grpc_handlers(services))
        self.address = addresses.with_port(host, self._bind(addresses.with_port(host, port), tls))
        self._rest = None
        if rest_port is not None:
            self._rest = rest.RestServer(services, host, rest_port, max_message_bytes, tls)
        self.rest_address = self._rest.address if self._rest else None

    def _bind(self, address, tls):
        try:
            if tls:
                bound = self._grpc.add_secure_port(address, tls.credentials())
            else:
                bound = self._grpc.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise UserError(f"cannot listen on {address}: it is in use or not an address of this machine")
        return bound

    def _set_health(self, serving):
        from grpc_health.v1 import health_pb2

        states = health_pb2.HealthCheckResponse
        self._health.set("", states.SERVING if serving else states.NOT_SERVING)

    def start(self) -> None:
        """Starts to handle requests."""
        self._grpc.start()
        if self._rest:
            self._rest.start()
        self._set_health(serving=True)

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Accepts no more requests and returns when the running ones have ended.

        Args:
            grace: Seconds after which a running request is cancelled.
        """
        self._set_health(serving=False)
        stopped = self._grpc.stop(grace)
        if self._rest:
            self._rest.stop(grace)
        stopped.wait()
