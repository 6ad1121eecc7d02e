"""A network that a server of the open inference protocol runs, such as Triton or OpenVINO Model Server."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping

import numpy as np

from serving import urls
from serving.runtimes import protocol
from serving.runtimes.settings import Settings
from zoo.shared import messages
from zoo.shared.errors import UserError

TIMEOUT = 60.0  # seconds


class Network:
    """The network of a version that a server has loaded.

    Args:
        address: ``http://HOST:PORT`` or ``https://HOST:PORT``.
        model: The model's name.
        version: Its version; 0 for the server's choice.
        stated: Its :class:`~serving.runtimes.settings.Settings`.

    Raises:
        UserError: The address is invalid.
    """

    def __init__(self, address: str, model: str, version: int, stated: Settings):
        found = urls.of_server(address)
        if found is None:
            raise UserError(f"{messages.without_password(address)}: expected http://HOST:PORT or https://HOST:PORT")
        parts, self._host, self._port = found
        self._address = messages.without_password(address)
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        of_version = f"/versions/{version}" if version else ""
        self._path = f"{parts.path.rstrip('/')}/v2/models/{urllib.parse.quote(model, safe='')}{of_version}/infer"
        self._outputs = list(stated.outputs)

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array, for input features ``[B, ...]``; ``UserError`` if the server does not respond."""
        tensors = [protocol.encode(name, np.asarray(array, np.float32)) for name, array in features.items()]
        wanted = [{"name": name, "parameters": {"binary_data": True}} for name in self._outputs]
        document = {"inputs": [described for described, _ in tensors], "outputs": wanted}
        body, headers = protocol.join(document, [block for _, block in tensors])
        try:
            status, length, answer = self._exchange(body, headers)
        except (OSError, http.client.HTTPException) as error:
            reason = urls.failure(error)
            raise UserError(f"{self._address} does not respond ({reason}): is the server running?") from error
        if status != http.client.OK:
            raise UserError(f"{self._address} refused the request with HTTP status {status}: {_reason(answer)}")
        try:
            response, rest = protocol.split(answer, length)
            arrays = protocol.decode(response["outputs"], rest)
            return {name: arrays[name] for name in self._outputs}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = messages.one_line(f"{type(error).__name__}: {error}")
            raise UserError(f"{self._address} sent no response of the open inference protocol ({reason})") from error

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None, bytes]:
        """Status, length of the JSON and body of a response."""
        if self._context:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host or "", self._port, timeout=TIMEOUT, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(self._host or "", self._port, timeout=TIMEOUT)
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheader(protocol.LENGTH), response.read()
        finally:
            connection.close()


def _reason(answer: bytes) -> str:
    """The server's message about a refused request."""
    try:
        return messages.one_line(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"
