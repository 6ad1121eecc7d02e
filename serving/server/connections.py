"""HTTP connections, limited in number and in the time that a client takes; a REST connection has one request."""

from __future__ import annotations

import asyncio
import http
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_SECONDS = 30.0  # for a whole request, and for its response: a client that is slower is disconnected
MAX_CONNECTIONS = 64
DEADLINE = "deadline"  # key in a request's state: when the whole request must have come, by the event loop's clock
_LONGEST_HEAD = 65536  # bytes of a request's line and headers


class _Parser(h11.Connection):
    """Keeps the parser's error for the response; uvicorn would leave it out."""

    error: h11.RemoteProtocolError | None = None

    def next_event(self) -> Any:
        try:
            return super().next_event()
        except h11.RemoteProtocolError as error:
            self.error = error
            raise


class LimitedConnection(H11Protocol):
    """uvicorn's connection, whose first request has to come in time; there are at most :data:`MAX_CONNECTIONS`."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the request's time limit, unless there are too many connections."""
        too_many = len(self.connections) >= MAX_CONNECTIONS
        super().connection_made(transport)
        if too_many:
            return transport.abort()
        self.app_state: dict[str, Any] = {**self.app_state, DEADLINE: self.loop.time() + READ_SECONDS}
        self._limit = self.loop.call_later(READ_SECONDS, self._end_without_request)

    def _end_without_request(self):
        if self.cycle is None:  # else the application limits the time for the body
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels the time limit."""
        self._end_limit()
        super().connection_lost(exc)

    def _end_limit(self):
        if self._limit:
            self._limit.cancel()


class Connection(LimitedConnection):
    """A connection for one request; a client that closes its sending half still gets the response."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.conn = self._parser = _Parser(h11.SERVER, _LONGEST_HEAD)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Stays open while a client that sends no more waits for its response; responds at once to a cut-off body."""
        if self.conn.their_state is h11.SEND_BODY:
            self.conn.receive_data(b"")
            self.handle_events()
        return self.cycle is not None and not self.transport.is_closing()

    def send_400_response(self, msg: str) -> None:
        """Responds to a request that is not valid HTTP with the reason, as JSON."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # the application has answered
            return self.transport.close()
        error = self._parser.error
        status = http.HTTPStatus(error.error_status_hint if error else 400)
        body = json.dumps({"error": f"malformed request: {error}"}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=status.phrase),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self._close_in_time()
        self.transport.close()

    def on_response_complete(self) -> None:
        """Gives the client some time to read the response."""
        super().on_response_complete()
        self._close_in_time()

    def _close_in_time(self):
        self._end_limit()
        self._limit = self.loop.call_later(READ_SECONDS, self.transport.abort)
