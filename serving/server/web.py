"""A web application on an address: uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import uvicorn

from serving.server import addresses
from zoo.shared.errors import UserError

_BACKLOG = 128  # connections that wait to be accepted
_SETTINGS: Mapping[str, Any] = {
    "interface": "asgi3",
    "lifespan": "off",
    "ws": "none",
    "log_config": None,
    "log_level": "error",
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "backlog": _BACKLOG,
}


class WebServer:
    """Serves an ASGI application from a thread.

    The port is taken when the object is made, so that a port in use is reported at once; requests are handled from
    :meth:`start` on.

    Args:
        application: The ASGI application.
        host: Address to listen on, without brackets, or a name.
        port: Port; 0 takes a free one.
        tls: ``ssl.SSLContext``, or ``None`` for plain HTTP.
        options: Further settings of ``uvicorn.Config``.

    Raises:
        UserError: There is no such address, or the port is not free.

    Attributes:
        address: ``HOST:PORT``, with an IPv6 address in brackets.
    """

    address: str

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        self._socket = _listen(host, port)
        self.address = addresses.with_port(host, self._socket.getsockname()[1])
        config = uvicorn.Config(application, **{**_SETTINGS, **(options or {})})
        config.load()
        config.ssl = tls  # uvicorn itself would read its key from a file
        self._uvicorn = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="web", daemon=True)

    def connections(self) -> int:
        """How many connections are open."""
        return len(self._uvicorn.server_state.connections)

    def start(self) -> None:
        """Starts to handle requests."""
        self._thread.start()

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        await self._uvicorn.serve([self._socket])

    def stop(self, grace: float) -> None:
        """Accepts no more connections, lets requests under way end, and then closes the connections that are left.

        Args:
            grace: Seconds for the requests to end.
        """
        self._uvicorn.should_exit = True
        if self._thread.ident is None:
            return self._socket.close()
        self._thread.join(grace)
        if self._thread.is_alive() and self._loop:
            self._loop.call_soon_threadsafe(self._cut)
            self._thread.join()

    def _cut(self):
        """Closes the open connections, and ends uvicorn's wait for them."""
        for connection in list(self._uvicorn.server_state.connections):
            connection.transport.abort()
        self._uvicorn.force_exit = True


def _listen(host, port):
    """A socket that listens; on ``::`` for IPv4 as well, as gRPC does."""
    family = addresses.family(host)
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UserError(
            f"cannot listen on {addresses.with_port(host, port)}: it is in use or not an address of this machine"
        ) from error
    return listening
