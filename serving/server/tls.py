"""Certificates of a server, read from TF-Serving's ``SSLConfig``."""

from __future__ import annotations

import os
import pathlib
import ssl
import tempfile
from typing import TYPE_CHECKING

from serving.savedmodel import config_messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import grpc


class Tls:
    """Key and certificates of a server for TLS, or mutual TLS.

    The fields of ``SSLConfig`` hold PEM text itself, not paths.

    Args:
        server_key: The server's private key, PEM.
        server_cert: Its certificate, or chain, PEM.
        custom_ca: Certificates of the authorities that must have signed clients' certificates, PEM.
        client_verify: Whether a client must present such a certificate.

    Raises:
        UserError: Key and certificate do not belong together, or something is missing or unreadable.
    """

    def __init__(self, server_key: str, server_cert: str, custom_ca: str = "", client_verify: bool = False):
        for name, value in (("server_key", server_key), ("server_cert", server_cert)):
            if not value:
                raise UserError(f"the SSL configuration has no {name}, expected PEM text")
        if client_verify and not custom_ca:
            raise UserError("the SSL configuration sets client_verify but has no custom_ca to verify with")
        self._key, self._cert, self._ca = server_key.encode(), server_cert.encode(), custom_ca.encode()
        self._verify = client_verify
        self.context()  # reports unusable files before a port is taken

    def credentials(self) -> grpc.ServerCredentials:
        """``grpc.ServerCredentials``."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self._key, self._cert)], root_certificates=self._ca or None, require_client_auth=self._verify
        )

    def context(self) -> ssl.SSLContext:
        """``ssl.SSLContext`` for REST."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only; mode 0700
            key, cert = pathlib.Path(folder, "key.pem"), pathlib.Path(folder, "cert.pem")
            key.write_bytes(self._key)
            cert.write_bytes(self._cert)
            try:
                context.load_cert_chain(cert, key)
                if self._ca:
                    context.load_verify_locations(cadata=self._ca.decode())
            except (ssl.SSLError, ValueError) as error:
                raise UserError(f"the SSL configuration's key and certificates cannot be used: {error}") from error
        if self._verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def read(path: str | os.PathLike) -> Tls:
    """The :class:`Tls` of an ``--ssl_config_file``.

    Raises:
        UserError: The file, or what it holds, is not usable.
    """
    config = config_messages.read(path, "SSLConfig")
    try:
        return Tls(config.server_key, config.server_cert, config.custom_ca, config.client_verify)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
