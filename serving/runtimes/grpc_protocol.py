"""Messages and tensors of the open inference protocol (V2) over gRPC.

The messages have the fields of ``inference.GRPCInferenceService``
(https://github.com/kserve/open-inference-protocol). They are defined here because no package has them for both versions
of protocol buffers that TensorFlow supports. Their bytes are the same, although a map is a repeated field of its
entries here, and nested messages are defined at top level.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtimes import protocol
from serving.savedmodel import message_types

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PACKAGE = "inference"
SERVICE = f"{_PACKAGE}.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer")

_MODEL = (("name", 1, "STRING"), ("version", 2, "STRING"))
_DESCRIBED = (("name", 1, "STRING"), ("datatype", 2, "STRING"), ("shape", 3, "INT64[]"))
_TENSOR = (*_DESCRIBED, ("parameters", 4, ".inference.Parameter[]"), ("contents", 5, ".inference.InferTensorContents"))
_MESSAGES = {  # as message_types.build takes them
    "ServerLiveRequest": (),
    "ServerLiveResponse": (("live", 1, "BOOL"),),
    "ServerReadyRequest": (),
    "ServerReadyResponse": (("ready", 1, "BOOL"),),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (("name", 1, "STRING"), ("version", 2, "STRING"), ("extensions", 3, "STRING[]")),
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": (("ready", 1, "BOOL"),),
    "ModelMetadataRequest": _MODEL,
    "TensorMetadata": _DESCRIBED,
    "ModelMetadataResponse": (
        ("name", 1, "STRING"),
        ("versions", 2, "STRING[]"),
        ("platform", 3, "STRING"),
        ("inputs", 4, ".inference.TensorMetadata[]"),
        ("outputs", 5, ".inference.TensorMetadata[]"),
    ),
    "InferParameter": (
        ("bool_param", 1, "BOOL"),
        ("int64_param", 2, "INT64"),
        ("string_param", 3, "STRING"),
        ("double_param", 4, "DOUBLE"),
        ("uint64_param", 5, "UINT64"),
    ),
    "Parameter": (("key", 1, "STRING"), ("value", 2, ".inference.InferParameter")),
    "InferTensorContents": (
        ("bool_contents", 1, "BOOL[]"),
        ("int_contents", 2, "INT32[]"),
        ("int64_contents", 3, "INT64[]"),
        ("uint_contents", 4, "UINT32[]"),
        ("uint64_contents", 5, "UINT64[]"),
        ("fp32_contents", 6, "FLOAT[]"),
        ("fp64_contents", 7, "DOUBLE[]"),
        ("bytes_contents", 8, "BYTES[]"),
    ),
    "InferInputTensor": _TENSOR,
    "InferRequestedOutputTensor": (("name", 1, "STRING"), ("parameters", 2, ".inference.Parameter[]")),
    "ModelInferRequest": (
        ("model_name", 1, "STRING"),
        ("model_version", 2, "STRING"),
        ("id", 3, "STRING"),
        ("parameters", 4, ".inference.Parameter[]"),
        ("inputs", 5, ".inference.InferInputTensor[]"),
        ("outputs", 6, ".inference.InferRequestedOutputTensor[]"),
        ("raw_input_contents", 7, "BYTES[]"),
    ),
    "InferOutputTensor": _TENSOR,
    "ModelInferResponse": (
        ("model_name", 1, "STRING"),
        ("model_version", 2, "STRING"),
        ("id", 3, "STRING"),
        ("parameters", 4, ".inference.Parameter[]"),
        ("outputs", 5, ".inference.InferOutputTensor[]"),
        ("raw_output_contents", 6, "BYTES[]"),
    ),
}
_CONTENTS = {"FP32": "fp32_contents", "UINT8": "uint_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}


@functools.cache
def types() -> dict[str, type[Message]]:
    """Message -> its type; a method's messages are its name followed by ``Request`` and by ``Response``."""
    return message_types.build(_PACKAGE, _MESSAGES)


def new(message: str, **fields: Any) -> Any:
    """A message with these fields.

    Example:
        >>> new("ModelReadyRequest", name="i3d").SerializeToString()
        b'\\n\\x03i3d'
    """
    return types()[message](**fields)


def encode(arrays: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """``(tensors, their raw contents)`` of arrays by name."""
    tensors, blocks = [], []
    for name, array in arrays.items():
        described, block = protocol.encode(name, array)
        del described["parameters"]  # only HTTP needs this: the size of binary data
        tensors.append(described)
        blocks.append(block)
    return tensors, blocks


def decode(tensors: Iterable[Any], raw: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Name -> array of ``InferInputTensor`` or ``InferOutputTensor`` messages.

    Args:
        tensors: The messages.
        raw: Their raw contents, in the same order; empty where the messages hold the values.

    Raises:
        ValueError: A type is unknown, the values do not fill the shape, or not every tensor has raw contents.
    """
    tensors = list(tensors)
    if raw and len(raw) != len(tensors):
        raise ValueError(f"{len(tensors)} tensors have {len(raw)} raw contents")
    arrays = {}
    for number, tensor in enumerate(tensors):
        protocol.require_type(tensor.name, tensor.datatype)
        if raw:
            values = protocol.of_bytes(raw[number], tensor.datatype)
        else:
            values = protocol.of_numbers(list(getattr(tensor.contents, _CONTENTS[tensor.datatype])), tensor.datatype)
        arrays[tensor.name] = protocol.shaped(tensor.name, values, tensor.shape)
    return arrays
