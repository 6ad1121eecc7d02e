"""Addresses with a scheme that users give, such as those of servers and of receivers of events."""

from __future__ import annotations

import http.client
import urllib.parse

from zoo.shared import messages

SCHEMES = ("http", "https")


def split(address: str) -> tuple[urllib.parse.SplitResult, str, int | None] | None:
    """Parts, host and port of an address; ``None`` where it has no host that can be looked up.

    Example:
        >>> parts, host, port = split("mqtt://[::1]:1883/home")
        >>> host, port, parts.path
        ('::1', 1883, '/home')
        >>> [split(wrong) for wrong in ("http://", "http://[::1/", "http://host:port/", "http://10.0.0..5/")]
        [None, None, None, None]
    """
    try:
        parts = urllib.parse.urlsplit(address)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # a bracket alone, a port that is no number, a part of the host's name that is empty
        return None
    return (parts, host, port) if host else None


def scheme(address: str) -> str:
    """The scheme of an address, empty if it has none; a password in the address may have any characters.

    Example:
        >>> scheme("rtsp://admin:a/b@10.0.0.5/stream"), scheme("video.mp4"), scheme("rtsp://[::1/")
        ('rtsp', '', '')
    """
    try:
        return urllib.parse.urlsplit(address).scheme
    except ValueError:  # a bracket alone
        return ""


def of_server(address: str) -> tuple[urllib.parse.SplitResult, str, int | None] | None:
    """As :func:`split`, for a server's API: also ``None`` if it is not http or https, or has a query or fragment."""
    found = split(address)
    if found is None or found[0].scheme not in SCHEMES or found[0].query or found[0].fragment:
        return None
    return found


def failure(error: Exception) -> str:
    """Why a request over HTTP failed, in one line.

    Example:
        >>> failure(http.client.BadStatusLine("\\0\\0\\x18\\x04"))
        "no HTTP: the port's protocol is another, such as gRPC"
        >>> failure(ConnectionResetError("reset by peer"))
        'reset by peer'
    """
    reason = getattr(error, "reason", error)  # of urllib.request
    if type(reason) is http.client.BadStatusLine:  # its text is what was received; a subclass has a real message
        return "no HTTP: the port's protocol is another, such as gRPC"
    return messages.one_line(reason) or type(reason).__name__
