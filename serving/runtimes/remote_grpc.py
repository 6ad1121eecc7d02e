"""A network that a server of the open inference protocol runs, over gRPC."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.runtimes import grpc_protocol
from serving.runtimes.remote import TIMEOUT
from serving.runtimes.settings import Settings
from zoo.shared import messages
from zoo.shared.errors import UserError

SCHEME = "grpc"
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),  # no proxy, as over HTTP
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class Network:
    """As :class:`serving.runtimes.remote.Network`, over gRPC.

    Args:
        address: ``grpc://HOST:PORT``, not encrypted.
        model: The model's name.
        version: Its version; 0 for the server's choice.
        stated: Its :class:`~serving.runtimes.settings.Settings`.

    Raises:
        UserError: The address is invalid.
    """

    def __init__(self, address: str, model: str, version: int, stated: Settings):
        import grpc

        target = address.removeprefix(f"{SCHEME}://")
        if not target.rpartition(":")[0] or not target.rpartition(":")[2].isdecimal():
            raise UserError(f"{messages.without_password(address)}: expected {SCHEME}://HOST:PORT")
        self._address = messages.without_password(address)
        self._request = functools.partial(
            grpc_protocol.new, "ModelInferRequest", model_name=model, model_version=str(version or "")
        )
        self._outputs = list(stated.outputs)
        self._infer = grpc.insecure_channel(target, options=_OPTIONS).unary_unary(
            f"/{grpc_protocol.SERVICE}/ModelInfer", request_serializer=lambda message: message.SerializeToString()
        )

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array, for input features ``[B, ...]``; ``UserError`` if the server does not respond."""
        import grpc
        from google.protobuf.message import DecodeError

        tensors, blocks = grpc_protocol.encode({name: np.asarray(one, np.float32) for name, one in features.items()})
        wanted = [{"name": name} for name in self._outputs]
        try:
            answer = self._infer(
                self._request(inputs=tensors, outputs=wanted, raw_input_contents=blocks), timeout=TIMEOUT
            )
        except grpc.RpcError as error:
            raise UserError(self._failure(error)) from error
        try:
            response: Any = grpc_protocol.types()["ModelInferResponse"].FromString(answer)
            arrays = grpc_protocol.decode(response.outputs, response.raw_output_contents)
            return {name: arrays[name] for name in self._outputs}
        except (DecodeError, ValueError, KeyError) as error:
            reason = messages.one_line(f"{type(error).__name__}: {error}")
            raise UserError(f"{self._address} sent no response of the open inference protocol ({reason})") from error

    def _failure(self, error: Any) -> str:
        import grpc

        reason = messages.one_line(error.details())
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return f"{self._address} does not respond ({reason}): is the server running?"
        return f"{self._address} refused the request with status {error.code().name}: {reason}"
