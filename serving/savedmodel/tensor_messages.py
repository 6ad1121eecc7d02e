"""Writes arrays into the ``TensorProto`` messages of another message, such as a request, without a further copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto


def fill(proto: TensorProto, array: np.ndarray) -> None:
    """Writes an array into a ``TensorProto``.

    ``tf.make_tensor_proto`` makes a separate message. To copy it takes 0.8 to 2.6 ms of processor time for a clip of
    4.8 MB.

    Args:
        proto: The message, which is empty.
        array: Numbers, or strings as objects.
    """
    import tensorflow as tf

    if array.dtype == object:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_content = array.tobytes()
