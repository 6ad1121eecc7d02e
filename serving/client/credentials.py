"""TLS of the client: certificate files, checked before use, and the diagnosis of a connection that fails."""

from __future__ import annotations

import dataclasses
import pathlib
import socket
import ssl
from typing import TYPE_CHECKING

from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import grpc

_PROBE_SECONDS = 1.0
_NO_PASSWORD = "no password"  # without it OpenSSL prompts for one on the terminal


@dataclasses.dataclass(frozen=True)
class Tls:
    """How a client verifies the server's identity and proves its own.

    Args:
        ca: Certificate file (PEM) of the authority that signed the server's certificate; default: the system's
            authorities.
        cert: File of the client's own certificate (PEM), for servers that require one (mutual TLS).
        key: File of its private key (PEM, without a password).

    Raises:
        UserError: A file is missing or invalid, the key belongs to another certificate, or only one of ``cert`` and
            ``key`` is given.

    Example:
        >>> Tls(ca="ca.pem", cert="client.pem", key="client.key")  # doctest: +SKIP
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise UserError("--cert and --key belong together: the client's certificate and its private key")
        self.context()

    def context(self) -> ssl.SSLContext:
        """The settings as ``ssl.SSLContext``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca:
            text = _read(self.ca).decode("ascii", "replace")
            try:
                context.load_verify_locations(cadata=text)
            except (ssl.SSLError, ValueError):
                raise UserError(f"{self.ca}: holds no certificate, expected the authority's in PEM") from None
        else:
            context.load_default_certs()
        if self.cert:
            _read(self.cert), _read(self.key or "")  # a missing file is named
            try:
                context.load_cert_chain(self.cert, self.key, lambda: _NO_PASSWORD)
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise UserError(f"{self.key}: is not the key of the certificate {self.cert}") from None
                raise UserError(
                    f"{self.cert}, {self.key}: expected a certificate and its private key without a password, in PEM"
                ) from None
        return context

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """The settings as ``grpc.ChannelCredentials``."""
        import grpc

        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca) if self.ca else None,
            private_key=_read(self.key) if self.key else None,
            certificate_chain=_read(self.cert) if self.cert else None,
        )


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a PEM file") from None


def diagnose_tls(host: str, port: int, tls: Tls | None, protocol: str) -> str | None:
    """Why TLS fails although a server listens; gRPC itself does not distinguish this from a missing server.

    Args:
        host: The server's host.
        port: Its port.
        tls: The client's :class:`Tls`, or ``None``.
        protocol: The protocol above TLS: ``h2`` or ``http/1.1``.

    Returns:
        One line with the cause and what to do; ``None`` if TLS is not the cause.
    """
    if tls:
        context = tls.context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=host) as secured:
                    # Only what the server sends after the handshake shows whether it accepts our certificate.
                    accepted = not tls or bool(secured.recv(1))
            except socket.timeout:
                return None  # it waits for our request, as HTTP does
            except ssl.SSLCertVerificationError as error:
                return _verification_advice(error.verify_message, tls)
            except ssl.SSLError as error:
                return _handshake_advice(error.reason or "", tls)
            except OSError:  # the connection was closed
                accepted = False
    except (OSError, UnicodeError):  # UnicodeError: a part of the host name is empty or too long
        return None
    if not tls:
        return "the server speaks TLS: give --tls, or https:// for REST" if accepted else None
    return None if accepted else _own_certificate_advice(tls, "connection ended")


def _verification_advice(reason: str, tls: Tls | None) -> str:
    if "expired" in reason or "not yet valid" in reason:
        return f"the server's certificate is refused ({reason}): the server needs a new one"
    if "mismatch" in reason:
        return f"the server's certificate belongs to another server ({reason})"
    if tls and tls.ca:
        return f"the server's certificate is not signed by {tls.ca} ({reason}): give the authority that signed it"
    return f"the server's certificate is signed by an unknown authority ({reason}): give that authority with --ca"


def _handshake_advice(reason: str, tls: Tls | None) -> str | None:
    if not tls:
        return None
    if "ALERT" in reason and "VERSION" not in reason:
        return _own_certificate_advice(tls, reason.lower().replace("_", " "))
    if reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"):
        return "the server does not speak TLS: leave out --tls, or use http:// for REST"
    return f"no TLS connection could be made ({reason.lower().replace('_', ' ')})"


def _own_certificate_advice(tls: Tls, reason: str) -> str:
    if tls.cert:
        return (
            f"the server refuses the certificate {tls.cert} ({reason}): is it expired, or signed by another authority?"
        )
    return f"the server requires the client's own certificate ({reason}): give --cert and --key"
