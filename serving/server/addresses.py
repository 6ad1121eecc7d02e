"""Addresses to listen on: IPv4, IPv6 with or without brackets, names."""

from __future__ import annotations

import socket

from zoo.shared.errors import UserError


def without_brackets(host: str) -> str:
    """A host as the operating system takes it.

    Example:
        >>> without_brackets("[::1]")
        '::1'
    """
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def with_port(host: str, port: int) -> str:
    """``HOST:PORT``, with an IPv6 address in brackets.

    Example:
        >>> with_port("::1", 8500), with_port("localhost", 8500)
        ('[::1]:8500', 'localhost:8500')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family(host: str) -> socket.AddressFamily:
    """The family of a host's address; IPv4 for a name that has both.

    Args:
        host: An address without brackets, or a name.

    Raises:
        UserError: There is no such address or name.
    """
    try:
        families = [entry[0] for entry in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):  # UnicodeError: a part of a name is empty or too long
        raise UserError(
            f"cannot listen on {host!r}: no address or name of this machine, expected one such as 127.0.0.1, ::1 or "
            "localhost, without a port"
        ) from None
    return socket.AF_INET if socket.AF_INET in families else families[0]
