"""The reader's functions as TensorFlow traces them: written as graphs (``tf.cond``, ``tf.map_fn``), without AutoGraph.

AutoGraph would find nothing in them to convert, and take seconds to find that out in every program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

as_written = tf.autograph.experimental.do_not_convert


def map_fn(function: Callable[[Any], Any], elements: Any, signature: Any) -> Any:
    """``tf.map_fn`` of a function that is a graph as it is written.

    Args:
        function: Element -> result, tensors or structures of them.
        elements: Tensor or structure of tensors, cut along the first axis.
        signature: ``tf.TensorSpec`` of a result, or a structure of them.

    Returns:
        The results, stacked.

    Example:
        >>> map_fn(lambda row: 2 * row, tf.constant([[1, 2], [3, 4]]), tf.TensorSpec([2], tf.int32)).numpy()
        array([[2, 4],
               [6, 8]], dtype=int32)
    """
    return tf.map_fn(as_written(function), elements, fn_output_signature=signature)
