"""TF-Serving's configuration files in protobuf's text format.

``ModelServerConfig`` comes with ``tensorflow-serving-api``. ``BatchingParameters`` and ``SSLConfig`` do not, so their
fields stand here, with the names, numbers and types of TF-Serving's ``session_bundle_config.proto`` and
``ssl_config.proto``.
"""

import functools
import pathlib

from tfrecords.errors import UserError

_INT64 = {"max_batch_size": 1, "batch_timeout_micros": 2, "max_enqueued_batches": 3, "num_batch_threads": 4}
_SSL_STRINGS = {"server_key": 1, "server_cert": 2, "custom_ca": 3}


@functools.cache
def _classes():
    """Message name -> class, of the messages that no package brings."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="serving/text_protos.proto", package="adl.serving", syntax="proto3")

    def field(message, name, number, kind, label=kinds.LABEL_OPTIONAL, type_name=None):
        message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)

    for name, kind in (("Int64Value", kinds.TYPE_INT64), ("StringValue", kinds.TYPE_STRING)):
        field(file.message_type.add(name=name), "value", 1, kind)
    batching = file.message_type.add(name="BatchingParameters")
    for name, number in _INT64.items():
        field(batching, name, number, kinds.TYPE_MESSAGE, type_name=".adl.serving.Int64Value")
    field(batching, "thread_pool_name", 5, kinds.TYPE_MESSAGE, type_name=".adl.serving.StringValue")
    field(batching, "allowed_batch_sizes", 6, kinds.TYPE_INT64, kinds.LABEL_REPEATED)
    field(batching, "pad_variable_length_inputs", 7, kinds.TYPE_BOOL)
    ssl = file.message_type.add(name="SSLConfig")
    for name, number in _SSL_STRINGS.items():
        field(ssl, name, number, kinds.TYPE_STRING)
    field(ssl, "client_verify", 4, kinds.TYPE_BOOL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"adl.serving.{message.name}"))
        for message in file.message_type
    }


def read(path, kind):
    """The message in a text file.

    Args:
        path: The file.
        kind: ``ModelServerConfig``, ``BatchingParameters`` or ``SSLConfig``.

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
        message = _classes()[kind]()
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise UserError(f"{path}: no {kind} in text format: {error}") from error
