"""A server of TF-Serving's gRPC and REST interfaces in one Python process.

``python -m serving.server --model_base_path BASE/<model> --model_name NAME --port 8500``

It answers ``PredictionService`` (Predict, GetModelMetadata), ``ModelService`` (GetModelStatus,
HandleReloadConfigRequest) and gRPC's health service as TF-Serving does, with the same status codes, so a client cannot
tell them apart; it is meant for tests, for demonstrations and for small sites.
"""

import concurrent.futures
import json
import logging
import pathlib
import signal
import socket
import threading

import grpc

from serving.savedmodel import versions
from serving.savedmodel.servable import MAX_MESSAGE_BYTES, Refused
from serving.server import batching, rest, tls
from serving.server.manager import Manager, configure_from
from serving.server.metrics import Metrics
from serving.server.services import Services
from zoo.shared import command_line
from zoo.shared.errors import UserError

GRACE_SECONDS = 10.0  # for requests under way when the server is told to stop
THREADS = 16
MAX_REQUESTS = 64
LAST_PORT = 65535

_log = logging.getLogger(__name__)


def _handler(services, method, request_type):
    """The gRPC handler of a method of :class:`~serving.server.services.Services`."""

    def handle(request, context):
        try:
            return services.answer(method, request, "gRPC")
        except Refused as refusal:
            return context.abort(refusal.code, str(refusal))

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request_type.FromString, response_serializer=lambda r: r.SerializeToString()
    )


def _grpc_handlers(services):
    """Handlers of both services; other methods of theirs answer UNIMPLEMENTED."""
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
    return [
        grpc.method_handlers_generic_handler(
            service, {name: _handler(services, *one) for name, one in of_service.items()}
        )
        for service, of_service in methods.items()
    ]


class Server:
    """A server of a :class:`~serving.server.manager.Manager`'s models.

    The ports are taken when the object is made, so that a port in use is known before a model is loaded; requests are
    answered from :meth:`start` on.

    Args:
        manager: The :class:`~serving.server.manager.Manager`.
        host: Address to listen on.
        port: gRPC port; 0 takes a free one.
        threads: Requests answered at the same time; TensorFlow's own threads are shared by all.
        rest_port: REST port; 0 takes a free one, ``None`` is no REST.
        tls: A :class:`serving.server.tls.Tls`, or ``None``: no encryption, no authentication.
        max_message_bytes: Longest message; a longer one is answered RESOURCE_EXHAUSTED (REST: 413).
        max_requests: gRPC requests under way or waiting; one more is answered RESOURCE_EXHAUSTED.
        metrics: The :class:`~serving.server.metrics.Metrics` to fill.

    Raises:
        UserError: A port is not free, or is none.

    Attributes:
        address: ``HOST:PORT`` of gRPC.
        rest_address: ``HOST:PORT`` of REST, or ``None``.
    """

    def __init__(
        self,
        manager,
        *,
        host="127.0.0.1",
        port=8500,
        threads=THREADS,
        rest_port=None,
        tls=None,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_requests=MAX_REQUESTS,
        metrics=None,
    ):
        from grpc_health.v1 import health, health_pb2_grpc

        for one in (port, rest_port):
            if one is not None and not 0 <= one <= LAST_PORT:  # gRPC would take the rest of a division
                raise UserError(f"cannot listen on {host}:{one}: a port is 0 to {LAST_PORT}, where 0 takes a free one")
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
        self.address = f"{host}:{self._bind(f'{host}:{port}', tls)}"
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

    def start(self):
        """Begins to answer requests."""
        self._grpc.start()
        if self._rest:
            threading.Thread(target=self._rest.serve_forever, name="rest", daemon=True).start()
        self._set_health(serving=True)

    def stop(self, grace=GRACE_SECONDS):
        """Takes no more requests, lets those under way end, and returns when they have.

        Args:
            grace: Seconds after which a request under way is broken off.
        """
        self._set_health(serving=False)
        stopped = self._grpc.stop(grace)
        if self._rest:
            self._rest.stop(grace)
        stopped.wait()


class StopSignals:
    """SIGTERM and SIGINT, to be waited for by the main thread.

    The signal's number comes through a socket: a handler that sets an event can find the lock of that event held by the
    thread it interrupts, and a signal that reaches another thread does not wake a main thread that waits for a lock.
    """

    def __init__(self):
        self._told, sender = socket.socketpair()
        sender.setblocking(False)
        self._sender = sender  # kept open
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # Python writes the number to the socket
        signal.set_wakeup_fd(sender.fileno())

    def wait(self):
        """Returns when the process has been told to stop."""
        self._told.recv(1)


class _JsonLines(logging.Formatter):
    """A log record as one JSON object."""

    def format(self, record):
        document = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def _set_up_log(as_json, verbose):
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_JsonLines() if as_json else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("serving").setLevel(logging.DEBUG if verbose else logging.INFO)


def _watch(manager, arguments, stopping):
    """Starts the threads that follow the folders and the configuration file."""

    def every(seconds, look):
        while not stopping.wait(seconds):
            try:
                look()
            except UserError as error:  # the old configuration keeps serving
                _log.error("%s", error)
            except Exception:  # a watch that ends would never see a new version
                _log.exception("looking for changes failed")

    def follow_config():
        configure_from(manager, arguments.model_config_file)

    looks = [(arguments.file_system_poll_wait_seconds, manager.refresh)]
    if arguments.model_config_file:
        looks.append((arguments.model_config_file_poll_wait_seconds, follow_config))
    for seconds, look in looks:
        if seconds > 0:
            threading.Thread(target=every, args=(seconds, look), daemon=True).start()


def _parser():
    parser = command_line.ArgumentParser(prog="python -m serving.server", description="Serve models.")
    parser.add_argument("--model_base_path", help="folder BASE/<model> with the version folders")
    parser.add_argument("--model_name", help="name by which clients ask for the model")
    parser.add_argument("--model_config_file", metavar="FILE", help="several models: a ModelServerConfig as text")
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0 takes a free one")
    parser.add_argument("--rest_api_port", type=int, metavar="PORT", help="REST and metrics; 0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all networks")
    parser.add_argument(
        "--file_system_poll_wait_seconds", type=float, default=1.0, metavar="S", help="look for versions; 0: never"
    )
    parser.add_argument(
        "--model_config_file_poll_wait_seconds", type=float, default=0.0, metavar="S", help="read it again; 0: never"
    )
    parser.add_argument("--enable_batching", action="store_true", help="join requests that arrive together")
    parser.add_argument("--batching_parameters_file", metavar="FILE", help="BatchingParameters as text")
    parser.add_argument("--ssl_config_file", metavar="FILE", help="SSLConfig as text: TLS on every port")
    parser.add_argument("--max_message_bytes", type=int, default=MAX_MESSAGE_BYTES, metavar="N", help="longest request")
    parser.add_argument("--max_requests", type=int, default=MAX_REQUESTS, metavar="N", help="gRPC requests at a time")
    parser.add_argument("--log_json", action="store_true", help="one JSON object per line of the log")
    parser.add_argument("--verbose", action="store_true", help="a line of the log for every request")
    return parser


def _check(parser, arguments):
    one = bool(arguments.model_base_path) + bool(arguments.model_name)
    if one == 1 or bool(one) == bool(arguments.model_config_file):
        parser.error("give --model_base_path and --model_name, or --model_config_file")
    if arguments.batching_parameters_file and not arguments.enable_batching:
        parser.error("--batching_parameters_file needs --enable_batching")
    if not 0 < arguments.max_message_bytes <= MAX_MESSAGE_BYTES or arguments.max_requests < 1:
        parser.error(f"--max_message_bytes is 1 to {MAX_MESSAGE_BYTES}, --max_requests at least 1")


def main(argv=None):
    """The command line; returns when SIGTERM or SIGINT has stopped the server."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check(parser, arguments)
    _set_up_log(arguments.log_json, arguments.verbose)
    if arguments.model_base_path:
        versions.require(arguments.model_base_path)  # a wrong path is told before TensorFlow is loaded
    stopping = threading.Event()
    metrics, batcher = Metrics(), None
    if arguments.enable_batching:
        file = arguments.batching_parameters_file
        parameters = batching.read(file) if file else batching.Parameters()

        def batcher(run):
            return batching.Batcher(run, parameters, metrics.queuing)

    manager = Manager(arguments.model_name, arguments.model_base_path, batcher=batcher)
    server = Server(
        manager,
        host=arguments.host,
        port=arguments.port,
        rest_port=arguments.rest_api_port,
        tls=tls.read(arguments.ssl_config_file) if arguments.ssl_config_file else None,
        max_message_bytes=arguments.max_message_bytes,
        max_requests=arguments.max_requests,
        metrics=metrics,
    )
    if arguments.model_config_file:
        configure_from(manager, pathlib.Path(arguments.model_config_file))
    else:
        manager.load_newest()
    signals = StopSignals()
    server.start()
    for servable in manager.servables():
        print(f"Serving {servable.name} version {servable.version} on {server.address}", flush=True)
    if server.rest_address:
        print(f"REST on {server.rest_address}", flush=True)
    _watch(manager, arguments, stopping)
    signals.wait()
    stopping.set()
    _log.info("stopping: requests under way have %g s to end", GRACE_SECONDS)
    server.stop()
    return 0
