"""One loaded version of a model, of any format, that handles a ``PredictRequest`` as TF-Serving does.

Requests are checked against the signature before anything runs, and rejected with the status codes of TF-Serving.
"""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from serving.runtimes import loading
from serving.savedmodel import signatures, versions, warmup
from zoo import skeletons
from zoo.shared.messages import one_line, without_graph

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import predict_pb2

    Run = Callable[[str, Mapping[str, tf.Tensor]], dict[str, np.ndarray]]

MAX_MESSAGE_BYTES = 2**31 - 1  # what TF-Serving accepts
SERVE_TAG = "serve"
_JPEGS = {signatures.pictures_name(signatures.JPEG, part) for part in skeletons.PARTS}  # names of inputs
_STRING_BYTES = 24  # of a string in a TensorFlow tensor, without its characters


class ServingError(Exception):
    """A request that fails with a status code.

    Args:
        code: A ``grpc.StatusCode``.
        message: The message for the client.

    Attributes:
        code: The same.
    """

    code: grpc.StatusCode

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


def invalid_argument(message: str) -> ServingError:
    """A :class:`ServingError` with INVALID_ARGUMENT."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


class Servable:
    """One loaded version of a model.

    Args:
        name: The model's name.
        version: The version's number.
        folder: The version's folder.
        batcher: Wraps the function that runs a signature, to join requests; by default every request is run alone.
        warm_up: Whether to run the warm-up requests, so that the first request takes no longer than others. For a
            single prediction they take longer than they save.
        runtime: What runs the network, as for :func:`serving.runtimes.loading.runtime_of`; default: the format's.

    Raises:
        UserError: The runtime does not run the format, or its package is not installed.
        ValueError: The folder holds no model that can be loaded, or a warm-up request fails.

    Attributes:
        name: The model's name.
        version: The version's number.
        format: The version's format, one of :data:`serving.savedmodel.versions.MODEL_FILES`.
        signature_defs: Signature name -> ``SignatureDef``.

    Example:
        >>> servable = Servable("adl", 1, "/models/adl/1")  # doctest: +SKIP
        >>> response = servable.predict(request)  # doctest: +SKIP
    """

    name: str
    version: int
    format: str
    signature_defs: dict[str, meta_graph_pb2.SignatureDef]

    def __init__(
        self,
        name: str,
        version: int,
        folder: str | os.PathLike,
        batcher: Callable[[Run], Run] | None = None,
        *,
        warm_up: bool = True,
        runtime: str | None = None,
    ):
        import tensorflow as tf

        self.name = name
        self.version = version
        found = versions.format_of(folder)
        self.format = found or "savedmodel"
        self._loaded: Any  # keeps the variables alive
        if found and loading.runtime_of(folder, runtime) != loading.TENSORFLOW:
            self._loaded = loading.Model(folder, runtime)
            self.signature_defs = self._loaded.signature_defs
        else:
            try:
                self._loaded = tf.saved_model.load(os.fspath(folder))
                self.signature_defs = _signature_defs(folder)
            except Exception as error:  # damaged files raise anything: OSError, KeyError, DecodeError, tf.errors
                raise ValueError(f"{folder} is not a SavedModel that can be loaded: {one_line(error)}") from error
        self._run: Run = self._run_alone
        if warm_up:
            self._warm_up(folder)
        if batcher:
            self._run = batcher(self._run_alone)

    def _warm_up(self, folder):
        for request in warmup.read(folder):
            try:
                self.predict(request)
            except ServingError as error:
                raise ValueError(f"{folder}: a warm-up request failed: {error}") from error

    def signature_def(self, name: str) -> meta_graph_pb2.SignatureDef:
        """The ``SignatureDef`` of a signature; :class:`ServingError` if there is none of that name."""
        if name not in self.signature_defs or name not in self._loaded.signatures:
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.signature_defs[name]

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Runs the model on a ``PredictRequest``.

        Args:
            request: The request; its ``model_spec`` selects the signature only.

        Returns:
            A ``PredictResponse`` with the outputs in ``output_filter``, or all.

        Raises:
            ServingError: The request does not fit the signature, or running it fails.
        """
        signature = request.model_spec.signature_name or "serving_default"
        definition = self.signature_def(signature)
        tensors = request_tensors(request, definition)
        return self._response(signature, tensors, _outputs(request, definition))

    def predict_arrays(
        self, signature: str, arrays: Mapping[str, np.ndarray], outputs: Iterable[str]
    ) -> predict_pb2.PredictResponse:
        """Runs the model as :meth:`predict` does, on arrays, so no picture is copied into and out of a message.

        Args:
            signature: The signature's name.
            arrays: Input name -> array.
            outputs: Names of the outputs to return.

        Returns:
            A ``PredictResponse``.

        Raises:
            ServingError: An array does not fit the signature, or running it fails.
        """
        return self._response(signature, self._checked(signature, arrays), outputs)

    def run_arrays(self, signature: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature, as arrays, for input arrays; raises as :meth:`predict_arrays` does."""
        return self._run(signature, self._checked(signature, arrays))

    def _checked(self, signature, arrays):
        """Input name -> tensor of arrays that fit the signature."""
        import tensorflow as tf

        definition = self.signature_def(signature)
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        for name, tensor in tensors.items():
            expected = tf.TensorShape(definition.inputs[name].tensor_shape)
            if not expected.is_compatible_with(tensor.shape):
                shapes = _shape(expected.as_list()), _shape(tensor.shape)
                raise invalid_argument(f"input {name}: expected shape {shapes[0]}, got {shapes[1]}")
        return tensors

    def _response(self, signature, tensors, wanted):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        outputs = self._run(signature, tensors)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = signature
        for output in wanted:
            response.outputs[output].CopyFrom(tf.make_tensor_proto(outputs[output]))
        return response

    def _run_alone(self, signature, tensors):
        """Output name -> array."""
        import tensorflow as tf

        try:
            outputs = self._loaded.signatures[signature](**tensors)
        except tf.errors.OpError as error:
            reason = _reason(error.message)
            if "JPEG" in reason and not reason.startswith("frame"):
                reason += _damaged(tensors)
            raise ServingError(_status_code(error.error_code), reason) from None
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def _signature_defs(folder):
    """Signature name -> ``SignatureDef`` of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((pathlib.Path(folder) / versions.SAVED_MODEL).read_bytes())
    graph = next(graph for graph in saved_model.meta_graphs if SERVE_TAG in graph.meta_info_def.tags)
    return dict(graph.signature_def)


def request_tensors(
    request: predict_pb2.PredictRequest, definition: meta_graph_pb2.SignatureDef
) -> dict[str, tf.Tensor]:
    """Input name -> tensor of a request, checked against its ``SignatureDef`` before anything runs."""
    sent, expected = set(request.inputs), set(definition.inputs)
    if sent != expected:
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({{{','.join(sorted(sent))}}}) != len({{{','.join(sorted(expected))}}}). "
            f"Sent extra: {{{','.join(sorted(sent - expected))}}}. "
            f"Missing but required: {{{','.join(sorted(expected - sent))}}}."
        )
    return {name: _tensor(name, request.inputs[name], definition.inputs[name]) for name in sorted(expected)}


def _tensor(name, proto, info):
    """The tensor of a ``TensorProto``; type, shape and size are checked before memory is allocated."""
    import tensorflow as tf

    if proto.dtype != info.dtype:
        raise invalid_argument(
            f"input {name}: Expects arg to be {_dtype(info.dtype)} but {_dtype(proto.dtype)} is provided"
        )
    expected = tf.TensorShape(info.tensor_shape)
    sizes = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        raise invalid_argument(f"tensor parsing error: {name}: the shape of a tensor must be fully known")
    if not expected.is_compatible_with(sizes):
        raise invalid_argument(f"input {name}: expected shape {_shape(expected.as_list())}, got {_shape(sizes)}")
    dtype = tf.as_dtype(proto.dtype)
    value_bytes = _STRING_BYTES if dtype == tf.string else dtype.size
    # The last value in a message fills the rest of its tensor, so a few bytes can claim a tensor of any size.
    if math.prod(sizes) * value_bytes > MAX_MESSAGE_BYTES:
        raise invalid_argument(f"tensor parsing error: {name}: shape {_shape(sizes)} is larger than 2 GiB")
    try:
        return tf.constant(_array(proto, dtype, sizes), dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid_argument(f"tensor parsing error: {name}: {one_line(error)}") from None


def _array(proto, dtype, sizes):
    """The array of a ``TensorProto``.

    ``tf.make_ndarray`` copies the bytes twice more: 2 ms of processor time for a clip of 4.8 MB.
    """
    import tensorflow as tf

    content = proto.tensor_content
    if content:
        return np.frombuffer(content, dtype.as_numpy_dtype).reshape(sizes)
    return tf.make_ndarray(proto)


def _outputs(request, definition):
    """Names of the outputs a request wants."""
    wanted = list(request.output_filter)
    for output in wanted:
        if output not in definition.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {output} "
                f"Outputs expected to be in the set {{{','.join(sorted(definition.outputs))}}}."
            )
    if len(set(wanted)) != len(wanted):
        twice = next(output for output in wanted if wanted.count(output) > 1)
        raise invalid_argument(f"duplicate output tensor alias: {twice}")
    return wanted or sorted(definition.outputs)


def _dtype(number):
    """A type's name: ``float``, ``uint8``, ``string``, as TF-Serving writes it."""
    from tensorflow.core.framework import types_pb2

    names = {value: name[len("DT_") :].lower() for name, value in types_pb2.DataType.items()}
    return names.get(number, f"type {number}")


def _shape(sizes):
    return "[" + ",".join("?" if size is None else str(size) for size in sizes) + "]"


def _damaged(tensors):
    """Which frame of a request is no complete JPEG file, as TensorFlow does not report it; empty if there is none."""
    from tfrecords.converting import crops

    for name in sorted(tensors.keys() & _JPEGS):
        for clip, jpegs in enumerate(tensors[name].numpy()):
            for frame, jpeg in enumerate(jpegs):
                try:
                    crops.decode_jpeg(jpeg)
                except ValueError as error:
                    return f" (input {name}, clip {clip}, frame {frame}: {error})"
    return ""


def _status_code(number):
    """The ``grpc.StatusCode`` of TensorFlow's error code; both use the same numbers."""
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def _reason(message):
    """The reason in TensorFlow's message, without the path through the graph."""
    lines = [line.strip() for line in without_graph(message).splitlines() if line.strip()]
    return re.sub(r".*assertion failed: \[(.*)\]", r"\1", lines[-1]) if lines else "unknown error"
