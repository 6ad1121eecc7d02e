"""What a server answers, whichever way it is asked: predictions, metadata, states, and a new configuration."""

import logging
import time

import grpc

from serving.savedmodel.servable import Refused, invalid

SIGNATURE_FIELD = "signature_def"  # the one metadata field there is
MESSAGE_LIMIT = 1024  # characters of an error message, as TF-Serving cuts them

_log = logging.getLogger(__name__)


class Services:
    """The answers of a server.

    Args:
        manager: The :class:`~serving.server.manager.Manager`.
        metrics: The :class:`~serving.server.metrics.Metrics`.
    """

    def __init__(self, manager, metrics):
        self.manager = manager
        self.metrics = metrics

    def answer(self, method, request, entrypoint):
        """Answers a request of one of the methods below, and measures it.

        Args:
            method: ``predict``, ``get_model_metadata``, ``get_model_status`` or ``handle_reload_config``.
            request: Its message.
            entrypoint: ``gRPC`` or ``REST``.

        Returns:
            The response.

        Raises:
            Refused: With a message cut to :data:`MESSAGE_LIMIT`; a fault of the server is INTERNAL.
        """
        begin, code = time.monotonic(), grpc.StatusCode.OK
        try:
            return getattr(self, method)(request)
        except Refused as refusal:
            code, message = refusal.code, str(refusal)
        except Exception as error:
            _log.exception("a request failed")
            code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        finally:
            if method == "predict":
                self._measure(request, entrypoint, code, time.monotonic() - begin)
        raise Refused(code, message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + "...TRUNCATED")

    def _measure(self, request, entrypoint, code, seconds):
        # A name nobody serves is the client's text: as a label it would let the metrics grow without end.
        known = request.model_spec.name in self.manager.names()
        model = request.model_spec.name if known else ""
        self.metrics.request(model, "Predict", entrypoint, code.name, seconds)
        _log.debug("entrypoint=%s model=%s status=%s ms=%.1f", entrypoint, model, code.name, 1000 * seconds)

    def predict(self, request):
        """``PredictRequest`` -> ``PredictResponse``."""
        _require_spec(request)
        servable = self.manager.servable(request.model_spec)
        begin = time.monotonic()
        response = servable.predict(request)
        self.metrics.runtime(servable.name, time.monotonic() - begin)
        return response

    def get_model_metadata(self, request):
        """``GetModelMetadataRequest`` -> ``GetModelMetadataResponse``."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        _require_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        servable = self.manager.servable(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_FIELD].Pack(signatures)
        return response

    def get_model_status(self, request):
        """``GetModelStatusRequest`` -> ``GetModelStatusResponse``."""
        from tensorflow_serving.apis import get_model_status_pb2

        _require_spec(request)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, (state, error) in sorted(self.manager.states(request.model_spec).items(), reverse=True):
            status = response.model_version_status.add(version=version, state=state)
            if error:
                status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
                status.status.error_message = error
        return response

    def handle_reload_config(self, request):
        """``ReloadConfigRequest`` -> ``ReloadConfigResponse``."""
        from tensorflow_serving.apis import model_management_pb2

        self.manager.configure(request.config)
        return model_management_pb2.ReloadConfigResponse()


def _require_spec(request):
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
