"""Who may see the page: everybody on this machine, or whoever has the token; other sites' pages never.

A page of another site can send requests to this machine, too. So a change needs a header that only the page itself can
set; the host that a browser names has to be ours (the name of another site may point to 127.0.0.1); and other pages may
not embed our responses.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.cookies
import ipaddress
import os
import pathlib
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.server import addresses
from zoo.shared.errors import UserError

LEAST_TOKEN = 16  # characters
COOKIE = "adl_page"
HEADER = "x-adl-page"  # what the page sends with every change; another site's page cannot
LOGIN = "/login"
_PUBLIC = (LOGIN, "/static/")
_WRONG_TOKEN_SECONDS = 1.0
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def is_local(host: str) -> bool:
    """Whether an address, or each address of a name, can be reached from this machine alone.

    Example:
        >>> is_local("127.0.0.1"), is_local("::1"), is_local("0.0.0.0")
        (True, True, False)
    """
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


def read_token(path: str | os.PathLike) -> str:
    """The token in a file.

    Raises:
        UserError: The file cannot be read, or does not hold a valid token.
    """
    try:
        token = pathlib.Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise UserError(f"--token-file {path}: cannot be read as text ({error})") from None
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise UserError(f"--token-file {path}: expected one line of at least {LEAST_TOKEN} characters without spaces")
    return token


class Access:
    """Checks requests before they reach the page.

    Args:
        application: The page.
        host: Address that the server listens on, without brackets.
        token: Secret that a client has to know; ``None``: no secret is needed.

    Raises:
        UserError: There is no token, but others can reach the address.
    """

    def __init__(self, application: ASGIApp, host: str, token: str | None):
        if token is None and not is_local(host):
            raise UserError(
                f"--host {host}: others can reach this address, so the page needs --token-file FILE with a secret of "
                f"at least {LEAST_TOKEN} characters; without it use 127.0.0.1"
            )
        self._application = application
        self._token = token
        self._hosts = {"localhost", "127.0.0.1", "[::1]", addresses.with_port(host, 0).rpartition(":")[0].lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request (ASGI)."""
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in _HEADERS.items():
                    MutableHeaders(scope=message).setdefault(name, value)
                MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(scope, headers)
        if refused is not None and refused.status_code == 401 and "authorization" in headers:
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
        await (refused or self._application)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The response that refuses a request; ``None``: the request is allowed."""
        if self._token is None and _host(headers) not in self._hosts:
            return _error(403, "open this page under the address that was printed when it started")
        if scope["method"] not in _SAFE and not _is_from_page(headers):
            return _error(403, f"a request that changes something needs the header {HEADER} and our own Origin")
        if self._token is None or scope["path"].startswith(_PUBLIC) or self._is_known(headers):
            return None
        return RedirectResponse(LOGIN, 303) if scope["path"] == "/" else _error(401, "the token is missing or wrong")

    def _is_known(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._is_token(token.strip())
        cookie: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
        try:
            cookie.load(headers.get("cookie", ""))
        except http.cookies.CookieError:
            return False
        return COOKIE in cookie and _equal(cookie[COOKIE].value, self._mark())

    def _is_token(self, token: str) -> bool:
        return self._token is None or _equal(token, self._token)

    def _mark(self) -> str:
        """The cookie's value: it proves that its owner knew the token, but is not the token."""
        return hmac.new((self._token or "").encode(), b"cookie of the live page", hashlib.sha256).hexdigest()

    async def log_in(self, token: str, secure: bool) -> Response:
        """The response to a token: a cookie, or a refusal after a pause.

        Args:
            token: The text that was entered.
            secure: Whether the connection is encrypted.
        """
        if not self._is_token(token):
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            return _error(401, "the token is wrong")
        response = JSONResponse({})
        response.set_cookie(COOKIE, self._mark(), httponly=True, samesite="strict", secure=secure)
        return response


def _equal(first: str, second: str) -> bool:
    """Whether two texts are equal; takes as long for a nearly right guess as for any other."""
    return hmac.compare_digest(first.encode(), second.encode())


def _host(headers: Headers) -> str:
    """The host that a browser names, without the port."""
    host = headers.get("host", "").lower()
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _is_from_page(headers: Headers) -> bool:
    origin = headers.get("origin")
    same = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
    return same and HEADER in headers


def _error(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)
