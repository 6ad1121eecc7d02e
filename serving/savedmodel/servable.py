"""One loaded version of a model: a SavedModel that answers ``PredictRequest`` as TF-Serving does.

Requests are compared with the signature before anything runs, and refused with the status codes of TF-Serving.
"""

import math
import os
import pathlib
import re

import grpc

from serving.savedmodel import versions, warmup
from zoo.shared import messages

MAX_MESSAGE_BYTES = 2**31 - 1  # what TF-Serving accepts
SERVE_TAG = "serve"
_STRING_BYTES = 24  # that a string takes in a TensorFlow tensor, its characters apart


class Refused(Exception):
    """A request that is answered with a status code.

    Args:
        code: A ``grpc.StatusCode``.
        message: What the client is told.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def invalid(message):
    """A :class:`Refused` with INVALID_ARGUMENT."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


class Servable:
    """One loaded version of a model.

    Args:
        name: The model's name.
        version: The version's number.
        folder: The SavedModel's folder.
        batcher: Wraps the function that runs a signature, as :class:`serving.server.batching.Batcher` does; by default
            every request is run alone.

    Raises:
        ValueError: The folder holds no SavedModel that can be loaded, or a warm-up request fails.

    Example:
        >>> servable = Servable("adl", 1, "/models/adl/1")  # doctest: +SKIP
        >>> response = servable.predict(request)  # doctest: +SKIP
    """

    def __init__(self, name, version, folder, batcher=None):
        import tensorflow as tf

        self.name = name
        self.version = version
        try:
            self._loaded = tf.saved_model.load(os.fspath(folder))  # keeps the variables alive
            self.signature_defs = _signature_defs(folder)
        except Exception as error:  # damaged files raise anything: OSError, KeyError, DecodeError, tf.errors
            raise ValueError(f"{folder} is not a SavedModel that can be loaded: {one_line(error)}") from error
        self._run = self._run_alone
        self._warm_up(folder)
        if batcher:
            self._run = batcher(self._run_alone)

    def _warm_up(self, folder):
        for request in warmup.read(folder):
            try:
                self.predict(request)
            except Refused as refusal:
                raise ValueError(f"{folder}: a warm-up request failed: {refusal}") from refusal

    def signature_def(self, name):
        """The ``SignatureDef`` of that name; :class:`Refused` if there is none."""
        if name not in self.signature_defs or name not in self._loaded.signatures:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.signature_defs[name]

    def predict(self, request):
        """Answers a ``PredictRequest``.

        Args:
            request: The request; its ``model_spec`` chooses the signature only.

        Returns:
            A ``PredictResponse`` with the outputs in ``output_filter``, or all.

        Raises:
            Refused: The request does not fit the signature, or running it fails.
        """
        signature = request.model_spec.signature_name or "serving_default"
        definition = self.signature_def(signature)
        tensors = request_tensors(request, definition)
        return self._response(signature, tensors, _outputs(request, definition))

    def predict_arrays(self, signature, arrays, outputs):
        """Answers as :meth:`predict` does, without a message in which every picture would be copied, and back.

        Args:
            signature: The signature's name.
            arrays: Input name -> array.
            outputs: Names of the outputs wanted.

        Returns:
            A ``PredictResponse``.

        Raises:
            Refused: An array does not fit the signature, or running it fails.
        """
        import tensorflow as tf

        definition = self.signature_def(signature)
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        for name, tensor in tensors.items():
            expected = tf.TensorShape(definition.inputs[name].tensor_shape)
            if not expected.is_compatible_with(tensor.shape):
                shapes = _shape(expected.as_list()), _shape(tensor.shape)
                raise invalid(f"input {name}: expected shape {shapes[0]}, got {shapes[1]}")
        return self._response(signature, tensors, outputs)

    def _response(self, signature, tensors, wanted):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        answer = self._run(signature, tensors)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = signature
        for output in wanted:
            response.outputs[output].CopyFrom(tf.make_tensor_proto(answer[output]))
        return response

    def _run_alone(self, signature, tensors):
        """Output name -> array."""
        import tensorflow as tf

        try:
            answer = self._loaded.signatures[signature](**tensors)
        except tf.errors.OpError as error:
            raise Refused(_status_code(error.error_code), _reason(error.message)) from None
        return {name: tensor.numpy() for name, tensor in answer.items()}


def _signature_defs(folder):
    """Signature name -> ``SignatureDef``, as the SavedModel states them."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((pathlib.Path(folder) / versions.SAVED_MODEL).read_bytes())
    graph = next(graph for graph in saved_model.meta_graphs if SERVE_TAG in graph.meta_info_def.tags)
    return dict(graph.signature_def)


def request_tensors(request, definition):
    """Input name -> tensor of a request, checked against its ``SignatureDef`` before anything runs."""
    sent, expected = set(request.inputs), set(definition.inputs)
    if sent != expected:
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({{{','.join(sorted(sent))}}}) != len({{{','.join(sorted(expected))}}}). "
            f"Sent extra: {{{','.join(sorted(sent - expected))}}}. "
            f"Missing but required: {{{','.join(sorted(expected - sent))}}}."
        )
    return {name: _tensor(name, request.inputs[name], definition.inputs[name]) for name in sorted(expected)}


def _tensor(name, proto, info):
    """The tensor of a ``TensorProto``; nothing is allocated before type, shape and size are known to be right."""
    import tensorflow as tf

    if proto.dtype != info.dtype:
        raise invalid(f"input {name}: Expects arg to be {_dtype(info.dtype)} but {_dtype(proto.dtype)} is provided")
    expected = tf.TensorShape(info.tensor_shape)
    sizes = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        raise invalid(f"tensor parsing error: {name}: the shape of a tensor must be fully known")
    if not expected.is_compatible_with(sizes):
        raise invalid(f"input {name}: expected shape {_shape(expected.as_list())}, got {_shape(sizes)}")
    dtype = tf.as_dtype(proto.dtype)
    value_bytes = _STRING_BYTES if dtype == tf.string else dtype.size
    # A tensor's last value may stand for many, so a request of a few bytes can ask for a tensor of any size.
    if math.prod(sizes) * value_bytes > MAX_MESSAGE_BYTES:
        raise invalid(f"tensor parsing error: {name}: shape {_shape(sizes)} is larger than 2 GiB")
    try:
        return tf.constant(tf.make_ndarray(proto), dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"tensor parsing error: {name}: {one_line(error)}") from None


def _outputs(request, definition):
    """Names of the outputs a request wants."""
    wanted = list(request.output_filter)
    for output in wanted:
        if output not in definition.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {output} "
                f"Outputs expected to be in the set {{{','.join(sorted(definition.outputs))}}}."
            )
    if len(set(wanted)) != len(wanted):
        twice = next(output for output in wanted if wanted.count(output) > 1)
        raise invalid(f"duplicate output tensor alias: {twice}")
    return wanted or sorted(definition.outputs)


def _dtype(number):
    """A type's name: ``float``, ``uint8``, ``string``, as TF-Serving writes it."""
    from tensorflow.core.framework import types_pb2

    names = {value: name[len("DT_") :].lower() for name, value in types_pb2.DataType.items()}
    return names.get(number, f"type {number}")


def _shape(sizes):
    return "[" + ",".join("?" if size is None else str(size) for size in sizes) + "]"


def _status_code(number):
    """The ``grpc.StatusCode`` of TensorFlow's error code; both count as the same standard does."""
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def _reason(message):
    """What went wrong, out of TensorFlow's account of where in the graph it did."""
    message = re.sub(r"\s*\[\[\{\{node .*", "", message, flags=re.DOTALL)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "unknown error"


def one_line(error):
    """An exception's text, its line breaks and great length taken away."""
    return messages.one_line(error)
