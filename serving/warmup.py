"""Warm-up requests that travel with a model, so that the first client does not wait for lazy initialisation.

TF-Serving runs the records of ``<version>/assets.extra/tf_serving_warmup_requests`` before it calls a version
available; one that fails keeps the version from being loaded. The file is a TFRecord of ``PredictionLog``.
"""

import os
import pathlib

from serving import signatures

FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000  # TF-Serving refuses a longer file
_SEED = 0
_GREY = 127


def requests(model_name, inputs, *, batch_sizes=(1,)):
    """One request for every signature and batch size.

    A picture is uniformly grey, and only one is stored: a tensor in a request may end with its last value repeated.
    So 64 frames of 224 x 224 pixels take a few bytes here and not 9.6 million.

    Args:
        model_name: The name clients will use.
        inputs: What the network is fed, a :class:`tfrecords.pipeline.Inputs`.
        batch_sizes: Numbers of clips B in a request.

    Returns:
        A list of ``PredictRequest``.
    """
    from tensorflow_serving.apis import predict_pb2

    made = []
    for signature in signatures.names(inputs):
        for batch_size in batch_sizes:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, spec in signatures.input_specs(signature, inputs).items():
                request.inputs[name].CopyFrom(_tensor(spec, inputs, batch_size))
            made.append(request)
    return made


def _tensor(spec, inputs, batch_size):
    """A ``TensorProto`` that fits an input's specification."""
    import numpy as np
    import tensorflow as tf

    if spec.dtype == tf.float32:  # poses
        shape = (batch_size, inputs.frames or inputs.pose_steps, *spec.shape[2:])
        return tf.make_tensor_proto(np.random.default_rng(_SEED).normal(size=shape).astype(np.float32))
    if spec.dtype == tf.string:
        shape = [batch_size, inputs.frames]
        picture = np.full((inputs.size, inputs.size, 3), _GREY, np.uint8)
        value = {"string_val": [tf.io.encode_jpeg(picture).numpy()]}
    else:
        shape = [batch_size, inputs.frames, inputs.size, inputs.size, 3]
        value = {"int_val": [_GREY]}
    proto = tf.make_tensor_proto([], spec.dtype, shape=[0])
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    proto.ClearField("tensor_content")
    proto.MergeFrom(type(proto)(**value))
    return proto


def write(version_folder, predict_requests):
    """Writes the warm-up file of a version under construction.

    Args:
        version_folder: The SavedModel's folder.
        predict_requests: ``PredictRequest``, at most :data:`MAX_RECORDS`.

    Raises:
        ValueError: There are more.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    if len(predict_requests) > MAX_RECORDS:
        raise ValueError(f"{len(predict_requests)} warm-up requests, TF-Serving takes at most {MAX_RECORDS}")
    path = pathlib.Path(version_folder) / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for request in predict_requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def read(version_folder):
    """The warm-up requests of a version.

    Args:
        version_folder: The SavedModel's folder.

    Returns:
        A list of ``PredictRequest``; empty without a warm-up file, which is no error.

    Raises:
        ValueError: The file is damaged, too long, or holds records of another kind.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    path = pathlib.Path(version_folder) / FILE
    if not path.exists():
        return []
    try:
        records = list(tf.data.TFRecordDataset(os.fspath(path)).take(MAX_RECORDS + 1).as_numpy_iterator())
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except (tf.errors.DataLossError, DecodeError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    if len(logs) > MAX_RECORDS:
        raise ValueError(f"{path} has more than {MAX_RECORDS} records")
    if any(log.WhichOneof("log_type") != "predict_log" for log in logs):
        raise ValueError(f"{path} holds a record that is no PredictLog")
    return [log.predict_log.request for log in logs]
