"""Builds types of protocol buffer messages from a table, for messages that no Python package has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

    Fields = Sequence[tuple[str, int, str]]


def build(
    package: str, messages: Mapping[str, Fields], dependencies: Sequence[FileDescriptor] = ()
) -> dict[str, type[Message]]:
    """The types of a package's messages.

    Args:
        package: The package's name.
        messages: Message -> name, number and type of each field. A type is a message, such as
            ``.google.protobuf.Int64Value``, or one of protocol buffers' own, such as ``INT64``; ``[]`` after it marks a
            repeated field.
        dependencies: The files that define messages of other packages.

    Returns:
        Message -> its type. The types have their own descriptor pool, so a package may define the same messages.

    Example:
        >>> types = build("shop", {"Item": [("price", 1, "INT64")], "Cart": [("items", 1, ".shop.Item[]")]})
        >>> types["Cart"](items=[{"price": 3}]).SerializeToString()
        b'\\n\\x02\\x08\\x03'
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name=f"serving/{package}.proto",
        package=package,
        syntax="proto3",
        dependency=[dependency.name for dependency in dependencies],
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = described.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if kind.endswith("[]") else kinds.LABEL_OPTIONAL
            kind = kind.removesuffix("[]")
            if kind.startswith("."):
                field.type, field.type_name = kinds.TYPE_MESSAGE, kind
            else:
                field.type = getattr(kinds, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    for dependency in dependencies:
        pool.AddSerializedFile(dependency.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message}"))
        for message in messages
    }
