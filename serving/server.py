"""A server of TF-Serving's gRPC interface in one Python process.

``python -m serving.server --model_base_path BASE/<model> --model_name NAME --port 8500``

It answers ``PredictionService`` (Predict, GetModelMetadata) and ``ModelService`` (GetModelStatus) as TF-Serving does,
with the same status codes, so a client cannot tell them apart; it is meant for a laptop, for tests and for
demonstrations. :class:`Manager` loads versions and finds the one a request asks for.
"""

import concurrent.futures
import logging
import pathlib
import signal
import sys
import threading

import grpc

from serving import versions
from serving.servable import MAX_MESSAGE_BYTES, Refused, Servable, invalid
from tfrecords import command_line
from tfrecords.errors import UserError

MESSAGE_LIMIT = 1024  # characters of an error message, as TF-Serving cuts them
GRACE_SECONDS = 10.0  # for requests under way when the server is told to stop
SIGNATURE_FIELD = "signature_def"  # the one metadata field there is

_log = logging.getLogger(__name__)


# -------------------------------------------------------------------------------------------- all the versions


class Manager:
    """The versions of a model: which there are, in which state, and which of them a request gets.

    Args:
        name: The model's name.
        base_path: ``BASE/<model>``, whose folders with a number for a name are versions.

    Example:
        >>> manager = Manager("adl", "/models/adl")  # doctest: +SKIP
        >>> manager.load_newest().version  # doctest: +SKIP
        1
    """

    def __init__(self, name, base_path):
        self.name = name
        self.base_path = pathlib.Path(base_path)
        self._lock = threading.Lock()
        self._servables = {}  # version -> Servable, AVAILABLE
        self._states = {}  # version -> (state, error message)

    def load_newest(self):
        """Loads the version with the highest number.

        Returns:
            The :class:`Servable`, warmed up and AVAILABLE.

        Raises:
            UserError: There is no version, or it cannot be loaded.
        """
        version, folder = list(versions.require(self.base_path).items())[-1]
        self._enter(version, "LOADING")
        try:
            servable = Servable(self.name, version, folder)
        except ValueError as error:
            self._enter(version, "END", str(error))
            raise UserError(f"{error}; export the model again") from error
        with self._lock:
            self._servables[version] = servable
        self._enter(version, "AVAILABLE")
        return servable

    def _enter(self, version, state, error=""):
        with self._lock:
            self._states[version] = (state, error)
        _log.info("%s version %d: %s %s", self.name, version, state, error)

    def servable(self, spec):
        """The version that a ``ModelSpec`` asks for; the newest if it names none.

        Raises:
            Refused: No such model, version or label.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        with self._lock:
            servables = self._servables if spec.name == self.name else {}
            version = spec.version.value if choice == "version" else max(servables, default=None)
            if version in servables:
                return servables[version]
        wanted = f"Specific({spec.name}, {version})" if choice == "version" else f"Latest({spec.name})"
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")

    def states(self, spec):
        """Version -> (state, error message) of the versions that a ``ModelSpec`` asks about.

        Raises:
            Refused: No such model, version or label.
        """
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        with self._lock:
            states = dict(self._states) if spec.name == self.name else {}
        if choice == "version":
            version = spec.version.value
            if version not in states:
                message = f"Could not find version {version} of model {spec.name}"
                raise Refused(grpc.StatusCode.NOT_FOUND, message)
            return {version: states[version]}
        if not states:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return states


# ----------------------------------------------------------------------------------------------- the services


def _predict(manager, request):
    _require_spec(request)
    return manager.servable(request.model_spec).predict(request)


def _get_model_metadata(manager, request):
    from tensorflow_serving.apis import get_model_metadata_pb2

    _require_spec(request)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_FIELD:
            raise invalid(f"Metadata field {field} is not supported")
    servable = manager.servable(request.model_spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.signature_defs.items():
        signatures.signature_def[name].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.name
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_FIELD].Pack(signatures)
    return response


def _get_model_status(manager, request):
    from tensorflow_serving.apis import get_model_status_pb2

    _require_spec(request)
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, (state, error) in manager.states(request.model_spec).items():
        status = response.model_version_status.add(version=version, state=state)
        if error:
            status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
            status.status.error_message = error
    return response


def _handle_reload_config(manager, request):
    raise Refused(
        grpc.StatusCode.UNIMPLEMENTED,
        "HandleReloadConfigRequest is not implemented by this server: start it again to change what it serves",
    )


def _require_spec(request):
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _handler(answer, manager, request_type):
    """The gRPC handler of a function (manager, request) -> response."""

    def handle(request, context):
        try:
            return answer(manager, request)
        except Refused as refusal:
            code, message = refusal.code, str(refusal)
        except Exception as error:
            _log.exception("a request failed")
            code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        if len(message) > MESSAGE_LIMIT:
            message = message[:MESSAGE_LIMIT] + "...TRUNCATED"
        return context.abort(code, message)

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request_type.FromString, response_serializer=lambda r: r.SerializeToString()
    )


def _services(manager):
    """Handlers of both services; other methods of theirs answer UNIMPLEMENTED."""
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        predict_pb2,
    )

    services = {
        "tensorflow.serving.PredictionService": {
            "Predict": (_predict, predict_pb2.PredictRequest),
            "GetModelMetadata": (_get_model_metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": (_get_model_status, get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": (_handle_reload_config, model_management_pb2.ReloadConfigRequest),
        },
    }
    return [
        grpc.method_handlers_generic_handler(
            service, {method: _handler(answer, manager, kind) for method, (answer, kind) in methods.items()}
        )
        for service, methods in services.items()
    ]


class Server:
    """A gRPC server of a :class:`Manager`'s model.

    The port is taken when the object is made, so that a port in use is known before a model is loaded; requests are
    answered from :meth:`start` on.

    Args:
        manager: The :class:`Manager`.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        threads: Requests answered at the same time; TensorFlow's own threads are shared by all.

    Raises:
        UserError: The port is not free.

    Attributes:
        address: ``HOST:PORT``.
    """

    def __init__(self, manager, *, host="127.0.0.1", port=8500, threads=8):
        self._grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="request"),
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),  # else a second server on the port would take half of the requests
            ],
        )
        self._grpc.add_generic_rpc_handlers(_services(manager))
        try:
            bound = self._grpc.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            bound = 0
        if not bound:
            raise UserError(f"cannot listen on {host}:{port}: it is in use or not an address of this machine")
        self.address = f"{host}:{bound}"

    def start(self):
        """Begins to answer requests."""
        self._grpc.start()

    def stop(self, grace=GRACE_SECONDS):
        """Takes no more requests, lets those under way end, and returns when they have.

        Args:
            grace: Seconds after which a request under way is broken off.
        """
        self._grpc.stop(grace).wait()


def main(argv=None):
    """The command line; returns when SIGTERM or SIGINT has stopped the server."""
    parser = command_line.ArgumentParser(prog="python -m serving.server", description="Serve a model over gRPC.")
    parser.add_argument("--model_base_path", required=True, help="folder BASE/<model> with the version folders")
    parser.add_argument("--model_name", required=True, help="name by which clients ask for the model")
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all networks")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    versions.require(arguments.model_base_path)  # a wrong path is told before TensorFlow is loaded
    stopping = threading.Event()
    manager = Manager(arguments.model_name, arguments.model_base_path)
    server = Server(manager, host=arguments.host, port=arguments.port)
    servable = manager.load_newest()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server.start()
    print(f"Serving {servable.name} version {servable.version} on {server.address}", flush=True)
    stopping.wait()
    _log.info("stopping: requests under way have %g s to end", GRACE_SECONDS)
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
