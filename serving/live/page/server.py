"""Serves a session's page on an address."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.live.page import access, uploads
from serving.live.page.app import Application
from serving.live.page.controls import Controls
from serving.live.page.newest import Newest
from serving.live.state import Segment
from serving.server import addresses, connections
from serving.server.server import LAST_PORT
from serving.server.web import WebServer
from zoo.shared.command_line import positive
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from serving.live.session import LiveSession

GRACE_SECONDS = 2.0  # for requests under way when the page ends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the page to a command."""
    group = parser.add_argument_group("page")
    group.add_argument(
        "--port", type=int, metavar="PORT", help="show a page on this port; 0 takes a free one; default: no page"
    )
    group.add_argument(
        "--host", default="127.0.0.1", help="address of the page; one that others reach needs --token-file"
    )
    group.add_argument("--token-file", metavar="FILE", help="file with the token to enter in the page")
    group.add_argument(
        "--max-upload-mb",
        type=positive(int),
        default=uploads.MEGABYTES,
        metavar="MB",
        help="largest video that can be sent to the page",
    )


def from_arguments(session: LiveSession, arguments: argparse.Namespace) -> Page | None:
    """The page that a command's arguments ask for; ``None``: none.

    Raises:
        UserError: As of :class:`Page`; or a host or token is given, but no port.
    """
    if arguments.port is None:
        if arguments.token_file or arguments.host != "127.0.0.1":
            raise UserError(
                "--host and --token-file are options of the page: give its --port, too, such as --port 8600"
            )
        return None
    token = access.read_token(arguments.token_file) if arguments.token_file else None
    return Page(session, arguments.host, arguments.port, token, arguments.max_upload_mb * 10**6)


class Page:
    """A session's page, served from a thread.

    The port is taken when the object is made.

    Args:
        session: The :class:`~serving.live.session.LiveSession`.
        host: Address to listen on, or a name.
        port: Port; 0 takes a free one.
        token: Secret to enter in the page; ``None``: no secret, only for addresses of this machine alone.
        max_upload_bytes: Largest video that can be sent to the page.

    Raises:
        UserError: Others can reach the address and there is no token; the port is not free or not valid.

    Attributes:
        url: Address of the page.

    Example:
        >>> page = Page(LiveSession(settings), port=8600)  # doctest: +SKIP
        >>> page.start()  # doctest: +SKIP
        >>> page.url  # doctest: +SKIP
        'http://127.0.0.1:8600'
    """

    url: str

    def __init__(
        self,
        session: LiveSession,
        host: str = "127.0.0.1",
        port: int = 8600,
        token: str | None = None,
        max_upload_bytes: int = uploads.MEGABYTES * 10**6,
    ):
        host = addresses.without_brackets(host)
        if not 0 <= port <= LAST_PORT:
            raise UserError(f"--port {port}: a port is 0 to {LAST_PORT}, where 0 takes a free one")
        addresses.family(host)

        def annotate(
            source: pathlib.Path, out: pathlib.Path, progress: Callable[[float], None], attention: bool
        ) -> list[Segment]:
            from serving.live.page import annotation  # loads TensorFlow

            return annotation.annotate(source, out, session.settings, progress, attention)

        self._newest = Newest(session.state)
        self._uploads = uploads.Uploads(annotate, max_upload_bytes)
        try:
            self._application = Application(session.state, Controls(session), self._newest, self._uploads, host, token)
            options = {"http": connections.LimitedConnection}
            self._web = WebServer(self._application.asgi, host, port, options=options)
        except UserError:
            self._uploads.stop()
            raise
        self.url = f"http://{self._web.address}"

    def start(self) -> None:
        """Starts to serve the page."""
        self._newest.start()
        self._uploads.start()
        self._web.start()

    def stop(self) -> None:
        """Stops serving the page, and removes the videos that were sent."""
        self._application.closing.set()
        self._web.stop(GRACE_SECONDS)
        self._uploads.stop()
        self._newest.stop()
