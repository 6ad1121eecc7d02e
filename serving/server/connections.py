"""Connections of HTTP, limited in number and in the time that a client takes; those of REST have one request each."""

from __future__ import annotations

import asyncio
import http
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_SECONDS = 30.0  # for a whole request, and for its response: a client that is slower is disconnected
MAX_CONNECTIONS = 64
DEADLINE = "deadline"  # in a request's state: when all of it must have come, by the event loop's clock
_LONGEST_HEAD = 65536  # bytes of a request's line and headers


class _Parser(h11.Connection):
    """Keeps the error for the response, which uvicorn would leave out."""

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
        if self.cycle is None:  # else the application has the time of the body
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the limit."""
        self._end_limit()
        super().connection_lost(exc)

    def _end_limit(self):
        if self._limit:
            self._limit.cancel()


class Connection(LimitedConnection):
    """A connection with one request, and with an answer to a client that closes its half of it."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.conn = self._parser = _Parser(h11.SERVER, _LONGEST_HEAD)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that sends no more may still read its response; a body that is cut off gets one at once."""
        if self.conn.their_state is h11.SEND_BODY:
            self.conn.receive_data(b"")
            self.handle_events()
        return self.cycle is not None and not self.transport.is_closing()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP in JSON, with the reason."""
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
