"""Warm-up requests that are stored with a model, so that the first client does not wait for lazy initialisation.

TF-Serving runs the records of ``<version>/assets.extra/tf_serving_warmup_requests`` before it calls a version
available; if one fails, the version is not loaded. The file is a TFRecord of ``PredictionLog``.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.savedmodel import signatures
from tfrecords import schema

if TYPE_CHECKING:
    from tensorflow_serving.apis import predict_pb2

    from tfrecords.reading.pipeline import Inputs

FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000  # TF-Serving rejects a longer file
_SEED = 0
_GREY = 127


def requests(
    model_name: str,
    inputs: Inputs,
    *,
    attention: bool = False,
    batch_sizes: Sequence[int] = (1,),
    noise: bool = False,
) -> list[predict_pb2.PredictRequest]:
    """One request for every signature and batch size.

    Pictures are uniformly grey, and only one value is stored: the last value of a tensor in a request stands for all
    that follow. So 64 frames of 224 x 224 pixels take a few bytes and not 9.6 million. A record cannot be shortened
    this way, but the clips of a batch are one record repeated.

    Args:
        model_name: The name clients will use.
        inputs: The network's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        attention: Whether the model has attention.
        batch_sizes: Numbers of clips B in a request.
        noise: Whether pictures are random, a different one for every frame: larger requests, to compare predictions.

    Returns:
        A list of ``PredictRequest``.
    """
    from tensorflow_serving.apis import predict_pb2

    made = []
    for signature in signatures.names(inputs, attention=attention):
        for batch_size in batch_sizes:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, spec in signatures.input_specs(signature, inputs).items():
                request.inputs[name].CopyFrom(_tensor(name, spec, inputs, batch_size, noise))
            made.append(request)
    return made


def _tensor(name, spec, inputs, batch_size, noise):
    """A ``TensorProto`` that fits an input's specification."""
    import tensorflow as tf

    if name == signatures.POSES:
        return tf.make_tensor_proto(_poses((batch_size, _frames(inputs), *spec.shape[2:])))
    if name == signatures.RECORDS:
        return _repeated(spec.dtype, [batch_size], string_val=[_record(inputs, noise)])
    pictures = _pictures(inputs, noise)
    if spec.dtype == tf.string:
        return _repeated(spec.dtype, [batch_size, inputs.frames], string_val=_jpegs(pictures))
    if noise:
        return tf.make_tensor_proto(pictures[None].repeat(batch_size, axis=0))
    return _repeated(spec.dtype, [batch_size, inputs.frames, inputs.size, inputs.size, 3], int_val=[_GREY])


def _frames(inputs):
    return inputs.frames or inputs.pose_steps


def _poses(shape):
    import numpy as np

    return np.random.default_rng(_SEED).normal(size=shape).astype(np.float32)


def _pictures(inputs, noise):
    """``[T, size, size, 3]`` uint8; T is 1 for grey pictures, which are all equal."""
    import numpy as np

    if noise:
        shape = (inputs.frames, inputs.size, inputs.size, 3)
        return np.random.default_rng(_SEED).integers(0, 256, shape, dtype=np.uint8)
    return np.full((1, inputs.size, inputs.size, 3), _GREY, np.uint8)


def _jpegs(pictures):
    import tensorflow as tf

    return [tf.io.encode_jpeg(picture).numpy() for picture in pictures]


def _record(inputs, noise):
    """A serialised clip that has all inputs of the network."""
    images, boxes = {}, {}
    if inputs.frames:
        jpegs = _jpegs(_pictures(inputs, noise))
        images = {inputs.stored_part(part): jpegs * (inputs.frames // len(jpegs)) for part in inputs.parts}
    persons, layout = inputs.stored_pose
    poses = _poses((_frames(inputs), persons, inputs.stored_joints, 3)) if inputs.pose_steps else None
    if inputs.pose_xy:  # a box of the pictures' own size: pixels of the source are those of the picture
        boxes = {inputs.stored_part("full_body"): [[0.0, 0.0, inputs.size, inputs.size]] * inputs.frames}
    return schema.encode(
        schema.Clip(
            info=schema.ClipInfo(id="warm_up", label=0),
            dataset="warm_up",
            label_text="",
            fps=0.0,
            images=images,
            boxes=boxes,
            layout=layout,
            pose_xyz=poses,
            pose_xy=abs(poses[..., :2]) * inputs.size / 2 if inputs.pose_xy else None,
        )
    )


def _repeated(dtype, shape, **values):
    """A ``TensorProto`` of a shape; if there are fewer values, the last one stands for the rest."""
    import tensorflow as tf

    proto = tf.make_tensor_proto([], dtype, shape=[0])
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    proto.ClearField("tensor_content")
    proto.MergeFrom(type(proto)(**values))
    return proto


def write(version_folder: str | os.PathLike, predict_requests: Sequence[predict_pb2.PredictRequest]) -> None:
    """Writes the warm-up file of a version under construction.

    Args:
        version_folder: The SavedModel's folder.
        predict_requests: ``PredictRequest``, at most :data:`MAX_RECORDS`.

    Raises:
        ValueError: There are more requests.
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


def read(version_folder: str | os.PathLike) -> list[predict_pb2.PredictRequest]:
    """The warm-up requests of a version.

    Args:
        version_folder: The SavedModel's folder.

    Returns:
        A list of ``PredictRequest``; empty if there is no warm-up file, which is allowed.

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
