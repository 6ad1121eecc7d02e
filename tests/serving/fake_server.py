"""A gRPC server that answers what a test tells it to, without a model: for faults no real server shows on demand."""

import concurrent.futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

LABELS = ["drink", "sit down"]
JPEGS = {"jpegs": (tf.string, [None, None])}
FRAMES = {"frames": (tf.uint8, [None, None, None, None, 3])}
POSES = {"poses": (tf.float32, [None, None, 2, 25, 3])}
OUTPUTS = {"classes": (tf.string, [None, 2]), "probabilities": (tf.float32, [None, 2])}


def signature_map(**signatures):
    """A ``SignatureDefMap`` of signature name -> input name -> (type, shape)."""
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, inputs in signatures.items():
        definition = found.signature_def[name]
        for tensors, infos in (
            (inputs, definition.inputs),
            ({**OUTPUTS, "spatial_attention": (tf.float32, [None, 4])}, definition.outputs),
        ):
            for tensor, (dtype, shape) in tensors.items():
                infos[tensor].name = f"{tensor}:0"
                infos[tensor].dtype = dtype.as_datatype_enum
                infos[tensor].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return found


def response(request, **outputs):
    """A ``PredictResponse`` with outputs of ``request``'s filter."""
    answer = predict_pb2.PredictResponse()
    answer.model_spec.CopyFrom(request.model_spec)
    answer.model_spec.version.value = 7
    for name in request.output_filter:
        if name in outputs:
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
    return answer


def usual_answer(request, context=None):
    """Equal rows for the clips of a request."""
    clips = next(iter(request.inputs.values())).tensor_shape.dim[0].size
    return response(
        request,
        classes=[LABELS] * clips,
        probabilities=np.tile(np.float32([[0.25, 0.75]]), (clips, 1)),
        spatial_attention=np.arange(4 * clips, dtype=np.float32).reshape(clips, 4),
    )


class FakeServer:
    """A running server; ends with the ``with`` block.

    Args:
        signatures: A ``SignatureDefMap``.
        answer: (request, context) -> ``PredictResponse``, or bytes to send as they are.
        credentials: Of ``grpc.ssl_server_credentials``; none: no TLS.
        metadata: Bytes to answer in place of the metadata.
        options: Of ``grpc.server``.

    Attributes:
        address: ``HOST:PORT``.
        requests: Every ``PredictRequest`` that came.
    """

    def __init__(self, signatures=None, answer=usual_answer, credentials=None, metadata=None, options=()):
        self._signatures = signatures if signatures is not None else signature_map(serving_default=POSES)
        self._answer, self._metadata = answer, metadata
        self.requests = []
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=options)
        handlers = {
            "Predict": grpc.unary_unary_rpc_method_handler(self._predict),
            "GetModelMetadata": grpc.unary_unary_rpc_method_handler(self._describe),
        }
        service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)
        self._server.add_generic_rpc_handlers([service])
        if credentials:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(grace=0).wait()

    def _describe(self, data, context):
        if self._metadata is not None:
            return self._metadata
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(self._signatures)
        return answer.SerializeToString()

    def _predict(self, data, context):
        request = predict_pb2.PredictRequest.FromString(data)
        self.requests.append(request)
        answer = self._answer(request, context)
        return answer if isinstance(answer, bytes) else answer.SerializeToString()

    def stop(self):
        """Dies: requests under way are broken off."""
        self._server.stop(grace=0)
