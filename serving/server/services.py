"""The methods of the server, over gRPC and REST: predictions, metadata, states, and a new configuration."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import grpc

from serving.savedmodel.servable import ServingError, invalid_argument

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        predict_pb2,
    )

    from serving.server.manager import Manager
    from serving.server.metrics import Metrics

SIGNATURE_FIELD = "signature_def"  # the only metadata field
MESSAGE_LIMIT = 1024  # characters of an error message, the limit of TF-Serving

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Services:
    """The methods of a server.

    Args:
        manager: The :class:`~serving.server.manager.Manager`.
        metrics: The :class:`~serving.server.metrics.Metrics`.
    """

    manager: Manager
    metrics: Metrics

    def __init__(self, manager: Manager, metrics: Metrics):
        self.manager = manager
        self.metrics = metrics

    def call(self, method: str, request: Message, entrypoint: str) -> Message:
        """Calls one of the methods below, and measures it.

        Args:
            method: ``predict``, ``get_model_metadata``, ``get_model_status`` or ``handle_reload_config``.
            request: Its message.
            entrypoint: ``gRPC`` or ``REST``.

        Returns:
            The response.

        Raises:
            ServingError: With a message cut to :data:`MESSAGE_LIMIT`; an error in the server is INTERNAL.
        """
        model = request.model_spec.name if method == "predict" else None
        return self.measured(lambda: getattr(self, method)(request), model, entrypoint)

    def measured(self, run: Callable[[], _T], model: str | None, entrypoint: str) -> _T:
        """The result of a function; raises errors as :meth:`call` does, and is measured as a prediction.

        Args:
            run: The function.
            model: Name of the model that predicts; ``None``: nothing is measured.
            entrypoint: As for :meth:`call`.
        """
        begin, code = time.monotonic(), grpc.StatusCode.OK
        try:
            return run()
        except ServingError as error:
            code, message = error.code, str(error)
        except Exception as error:
            _log.exception("a request failed")
            code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        finally:
            if model is not None:
                self._measure(model, entrypoint, code, time.monotonic() - begin)
        raise ServingError(code, limited(message))

    def _measure(self, model, entrypoint, code, seconds):
        # An unknown name is free text of a client: as a label it would let the metrics grow without limit.
        model = model if model in self.manager.names() else ""
        self.metrics.request(model, "Predict", entrypoint, code.name, seconds)
        _log.debug("entrypoint=%s model=%s status=%s ms=%.1f", entrypoint, model, code.name, 1000 * seconds)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """``PredictRequest`` -> ``PredictResponse``."""
        _require_spec(request)
        servable = self.manager.servable(request.model_spec)
        begin = time.monotonic()
        response = servable.predict(request)
        self.metrics.runtime(servable.name, time.monotonic() - begin)
        return response

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """``GetModelMetadataRequest`` -> ``GetModelMetadataResponse``."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        _require_spec(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_FIELD:
                raise invalid_argument(f"Metadata field {field} is not supported")
        servable = self.manager.servable(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_FIELD].Pack(signatures)
        return response

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
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

    def handle_reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """``ReloadConfigRequest`` -> ``ReloadConfigResponse``."""
        from tensorflow_serving.apis import model_management_pb2

        self.manager.configure(request.config)
        return model_management_pb2.ReloadConfigResponse()


def limited(message: str) -> str:
    """An error message, cut to :data:`MESSAGE_LIMIT`."""
    return message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + "...TRUNCATED"


def _require_spec(request):
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
