"""Messages of TF-Serving's configuration files that no Python package has: batching, monitoring, TLS.

``tensorflow-serving-api`` has the messages of ``models.config``. The messages of the other files are defined here as in
TF-Serving (``session_bundle_config.proto``, ``monitoring_config.proto``, ``ssl_config.proto``), so that written files
are checked against them and can be read back.
"""

from __future__ import annotations

import functools
import os
import pathlib
from typing import TYPE_CHECKING

from serving.savedmodel import message_types
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PACKAGE = "tensorflow.serving"
_MESSAGES = {  # as message_types.build takes them
    "BatchingParameters": (
        ("max_batch_size", 1, ".google.protobuf.Int64Value"),
        ("batch_timeout_micros", 2, ".google.protobuf.Int64Value"),
        ("max_enqueued_batches", 3, ".google.protobuf.Int64Value"),
        ("num_batch_threads", 4, ".google.protobuf.Int64Value"),
        ("thread_pool_name", 5, ".google.protobuf.StringValue"),
        ("allowed_batch_sizes", 6, "INT64[]"),
        ("pad_variable_length_inputs", 7, "BOOL"),
    ),
    "PrometheusConfig": (("enable", 1, "BOOL"), ("path", 2, "STRING")),
    "MonitoringConfig": (("prometheus_config", 1, f".{_PACKAGE}.PrometheusConfig"),),
    "SSLConfig": (
        ("server_key", 1, "STRING"),
        ("server_cert", 2, "STRING"),
        ("custom_ca", 3, "STRING"),
        ("client_verify", 4, "BOOL"),
    ),
}


@functools.cache
def _classes():
    from google.protobuf import wrappers_pb2

    return message_types.build(_PACKAGE, _MESSAGES, (wrappers_pb2.DESCRIPTOR,))


def new(message: str) -> Message:
    """An empty message.

    Args:
        message: ``BatchingParameters``, ``MonitoringConfig``, ``PrometheusConfig`` or ``SSLConfig``.

    Returns:
        The message; ``google.protobuf.text_format`` writes and reads it.

    Example:
        >>> parameters = new("BatchingParameters")
        >>> parameters.max_batch_size.value = 4
        >>> print(parameters, end="")
        max_batch_size {
          value: 4
        }
    """
    return _classes()[message]()


def read(path: str | os.PathLike, kind: str) -> Message:
    """The message in a text file.

    Args:
        path: The file.
        kind: ``ModelServerConfig`` or a message of :func:`new`.

    Returns:
        The message.

    Raises:
        UserError: No such file, or it is no text proto of that kind.

    Example:
        >>> read("ssl.config", "SSLConfig").client_verify  # doctest: +SKIP
        True
    """
    from google.protobuf import text_format

    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected a {kind} in text format") from error
    if kind == "ModelServerConfig":
        from tensorflow_serving.config import model_server_config_pb2

        message = model_server_config_pb2.ModelServerConfig()
    else:
        message = new(kind)
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise UserError(f"{path}: no {kind} in text format: {error}") from error
