"""Tensors of the open inference protocol (V2) over HTTP, with its extension for binary data.

A body is JSON, or JSON followed by the tensors' bytes; then the header ``Inference-Header-Content-Length`` is the
length of the JSON. https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

LENGTH = "Inference-Header-Content-Length"
BINARY = "binary_data_size"
EXTENSION = "binary_tensor_data"
TYPES = {"FP32": np.float32, "UINT8": np.uint8, "BOOL": np.bool_, "BYTES": np.object_}


def type_of(array: np.ndarray) -> str:
    """The protocol's name of an array's type.

    Example:
        >>> type_of(np.zeros(2, np.float32))
        'FP32'
    """
    return next(name for name, dtype in TYPES.items() if array.dtype == dtype)


def join(document: Mapping[str, Any], blocks: Sequence[bytes]) -> tuple[bytes, dict[str, str]]:
    """``(body, headers)`` of a JSON document and the bytes of its binary tensors."""
    text = json.dumps(document).encode()
    if not blocks:
        return text, {"Content-Type": "application/json"}
    return b"".join([text, *blocks]), {"Content-Type": "application/octet-stream", LENGTH: str(len(text))}


def split(body: bytes, length: str | None) -> tuple[dict[str, Any], bytes]:
    """``(document, bytes of its binary tensors)`` of a body and its header; ValueError if the body is invalid."""
    size = len(body) if length is None else int(length)
    if not 0 <= size <= len(body):
        raise ValueError(f"{LENGTH} is {size}, the body has {len(body)} bytes")
    document = json.loads(body[:size])
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    return document, body[size:]


def encode(name: str, array: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """``(description, bytes)`` of a binary tensor.

    Example:
        >>> encode("jpegs", np.array([b"ab"], object))[1]
        b'\\x02\\x00\\x00\\x00ab'
    """
    if array.dtype == np.object_:
        block = b"".join(struct.pack("<I", len(value)) + value for value in array.ravel())
    else:
        block = np.ascontiguousarray(array).tobytes()
    described = {"name": name, "datatype": type_of(array), "shape": list(array.shape)}
    return {**described, "parameters": {BINARY: len(block)}}, block


def decode(tensors: Iterable[Mapping[str, Any]], rest: bytes) -> dict[str, np.ndarray]:
    """Name -> array of described tensors, in JSON or binary.

    Args:
        tensors: The tensors' descriptions.
        rest: The bytes of the binary tensors, in the same order.

    Raises:
        ValueError: A type is unknown, or the values do not fill the shape.
    """
    arrays = {}
    at = 0
    for tensor in tensors:
        kind = str(tensor["datatype"])
        require_type(tensor["name"], kind)
        size = tensor.get("parameters", {}).get(BINARY)
        if size is None:
            values = of_numbers(_flat(tensor["data"]), kind)
        else:
            if not 0 <= size <= len(rest) - at:
                raise ValueError(f"{tensor['name']}: {BINARY} is {size}, but {len(rest) - at} bytes are left")
            values = of_bytes(rest[at : at + size], kind)
            at += size
        arrays[str(tensor["name"])] = shaped(tensor["name"], values, tensor["shape"])
    if at != len(rest):
        raise ValueError(f"{len(rest) - at} bytes are left over after the last tensor")
    return arrays


def require_type(name: str, kind: str) -> None:
    """ValueError for a tensor of a type that is not in :data:`TYPES`."""
    if kind not in TYPES:
        raise ValueError(f"{name}: datatype {kind}, expected one of {', '.join(TYPES)}")


def shaped(name: str, values: np.ndarray, shape: Iterable[Any]) -> np.ndarray:
    """A tensor's values in its shape; ValueError where they do not fill it."""
    sizes = [int(length) for length in shape]
    if min(sizes, default=0) < 0 or int(np.prod(sizes)) != values.size:
        raise ValueError(f"{name}: {values.size} values do not fill the shape {sizes}")
    return values.reshape(sizes)


def _flat(data: Any) -> list[Any]:
    """The values of nested lists."""
    flat: list[Any] = []
    stack = [data]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(reversed(value))
        else:
            flat.append(value)
    return flat


def of_numbers(flat: Sequence[Any], kind: str) -> np.ndarray:
    """The values of a tensor from a flat list; BYTES values are text or bytes."""
    if kind == "BYTES":
        return _strings([value if isinstance(value, bytes) else str(value).encode() for value in flat])
    array = np.array(flat, np.float64 if kind == "FP32" else None)
    if kind == "UINT8" and array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255):
        raise ValueError("UINT8 values are whole numbers from 0 to 255")
    return array.astype(TYPES[kind])


def of_bytes(block: bytes, kind: str) -> np.ndarray:
    """The values of a tensor in binary form; each BYTES value follows its length."""
    if kind != "BYTES":
        return np.frombuffer(block, TYPES[kind])
    values, at = [], 0
    while at < len(block):
        if at + 4 > len(block) or at + 4 + (length := struct.unpack_from("<I", block, at)[0]) > len(block):
            raise ValueError("BYTES: a length goes beyond the end")
        values.append(block[at + 4 : at + 4 + length])
        at += 4 + length
    return _strings(values)


def _strings(values: Sequence[bytes]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
