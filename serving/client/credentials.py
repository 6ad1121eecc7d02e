"""TLS of the client: certificate files, checked before they are used, and what is wrong when no connection is made."""

import dataclasses
import pathlib
import socket
import ssl
from typing import Optional

from zoo.shared.errors import UserError

_PROBE_SECONDS = 1.0
_NO_PASSWORD = "no password"  # else OpenSSL asks for one on the terminal


@dataclasses.dataclass(frozen=True)
class Tls:
    """How a client proves a server's identity, and its own.

    Args:
        ca: File of the authority (PEM) that signed the server's certificate; default: those known everywhere.
        cert: File of the client's own certificate (PEM), for servers that ask for one (mutual TLS).
        key: File of its private key (PEM, without a password).

    Raises:
        UserError: A file is missing or is not what it should be, the key is of another certificate, or only one of
            ``cert`` and ``key`` is given.

    Example:
        >>> Tls(ca="ca.pem", cert="client.pem", key="client.key")  # doctest: +SKIP
    """

    ca: Optional[str] = None
    cert: Optional[str] = None
    key: Optional[str] = None

    def __post_init__(self):
        if bool(self.cert) != bool(self.key):
            raise UserError("--cert and --key belong together: the client's certificate and its private key")
        self.context()

    def context(self):
        """An ``ssl.SSLContext``."""
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
            _read(self.cert), _read(self.key)
            try:
                context.load_cert_chain(self.cert, self.key, lambda: _NO_PASSWORD)
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise UserError(f"{self.key}: is not the key of the certificate {self.cert}") from None
                raise UserError(
                    f"{self.cert}, {self.key}: expected a certificate and its private key without a password, in PEM"
                ) from None
        return context

    def channel_credentials(self):
        """The same as ``grpc.ChannelCredentials``."""
        import grpc

        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca) if self.ca else None,
            private_key=_read(self.key) if self.key else None,
            certificate_chain=_read(self.cert) if self.cert else None,
        )


def _read(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a PEM file") from None


def fault(host, port, tls, protocol):
    """What stands between a client and a server that listens: gRPC itself does not tell it apart from no server.

    Args:
        host: Where the server is.
        port: Its port.
        tls: The client's :class:`Tls`, or ``None``.
        protocol: What is spoken above TLS: ``h2`` or ``http/1.1``.

    Returns:
        One line that says what is wrong and what to do; ``None`` if the fault is not one of TLS.
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
                    # Whether the server takes our certificate it says after the handshake, in what it sends next.
                    answered = not tls or bool(secured.recv(1))
            except socket.timeout:
                return None  # it waits for us to speak, as HTTP does
            except ssl.SSLCertVerificationError as error:
                return _verification_advice(error.verify_message, tls)
            except ssl.SSLError as error:
                return _handshake_advice(error.reason or "", tls)
            except OSError:  # broken off
                answered = False
    except OSError:
        return None
    if not tls:
        return "the server speaks TLS: give --tls, or https:// for REST" if answered else None
    return None if answered else _own_certificate_advice(tls, "connection ended")


def _verification_advice(reason, tls):
    if "expired" in reason or "not yet valid" in reason:
        return f"the server's certificate is refused ({reason}): it needs a new one"
    if "mismatch" in reason:
        return f"the server's certificate is of another server ({reason})"
    if tls.ca:
        return f"the server's certificate is not signed by {tls.ca} ({reason}): give the authority that signed it"
    return f"the server's certificate is signed by nobody known here ({reason}): give its authority by --ca"


def _handshake_advice(reason, tls):
    if not tls:
        return None
    if "ALERT" in reason and "VERSION" not in reason:
        return _own_certificate_advice(tls, reason.lower().replace("_", " "))
    if reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"):
        return "the server does not speak TLS: leave out --tls, or use http:// for REST"
    return f"no TLS connection could be made ({reason.lower().replace('_', ' ')})"


def _own_certificate_advice(tls, reason):
    if tls.cert:
        return f"the server refuses the certificate {tls.cert} ({reason}): is it expired, or of another authority?"
    return f"the server wants the client's own certificate ({reason}): give --cert and --key"
