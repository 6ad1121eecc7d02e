"""A gRPC server without a model whose responses a test chooses: for errors that no real server makes on demand."""

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
    """A ``PredictResponse`` with those outputs that a request filters."""
    made = predict_pb2.PredictResponse()
    made.model_spec.CopyFrom(request.model_spec)
    made.model_spec.version.value = 7
    for name in request.output_filter:
        if name in outputs:
            made.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
    return made


def equal_rows(request, context=None):
    """A response with equal rows for all clips of a request."""
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
        handle: (request, context) -> ``PredictResponse``, or bytes that are sent unchanged.
        credentials: Those of ``grpc.ssl_server_credentials``; default: no TLS.
        metadata: Bytes that are sent in place of the metadata.
        options: Those of ``grpc.server``.

    Attributes:
        address: ``HOST:PORT``.
        requests: Every ``PredictRequest`` so far.
    """

    def __init__(self, signatures=None, handle=equal_rows, credentials=None, metadata=None, options=()):
        self._signatures = signatures if signatures is not None else signature_map(serving_default=POSES)
        self._handle, self._metadata = handle, metadata
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
        made = get_model_metadata_pb2.GetModelMetadataResponse()
        made.metadata["signature_def"].Pack(self._signatures)
        return made.SerializeToString()

    def _predict(self, data, context):
        request = predict_pb2.PredictRequest.FromString(data)
        self.requests.append(request)
        made = self._handle(request, context)
        return made if isinstance(made, bytes) else made.SerializeToString()

    def stop(self):
        """Stops at once; requests in flight are cancelled."""
        self._server.stop(grace=0)
