"""ONNX: ``model.onnx``, run by ONNX Runtime. Extra ``onnx``."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtimes import settings
from serving.runtimes.settings import Settings
from serving.savedmodel import versions
from zoo.shared import messages, processors
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

FORMAT = "onnx"
PRECISIONS = ("float32",)
COMPUTED = ("float32",)
OPSET = 17  # every runtime of recent years reads it
_QUIETEST = 3  # of ONNX Runtime's messages: errors alone
_BATCH = "batch"  # name of the first axis


def convert(network: tf.types.experimental.GenericFunction) -> Any:
    """The ONNX model of a network.

    Args:
        network: A frozen ``tf.function`` of a dictionary of features, :func:`serving.savedmodel.signatures.network`.

    Returns:
        An ``onnx.ModelProto`` with the names of inputs and outputs.

    Raises:
        UserError: A package is not installed, or the network cannot be converted.
    """
    settings.imported("onnx")
    tf2onnx = settings.imported("tf2onnx")
    specs = network.get_concrete_function().structured_input_signature[0][0]
    with settings.quiet():
        try:
            model, _ = tf2onnx.convert.from_function(network, input_signature=[specs], opset=OPSET)
        except Exception as error:  # of any type
            raise UserError(f"the network cannot be converted to ONNX: {messages.one_line(error)}") from error
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    return model


def save(model: Any, folder: pathlib.Path) -> None:
    """Writes an ``onnx.ModelProto``."""
    settings.imported("onnx").save(model, os.fspath(folder / versions.MODEL_FILES[FORMAT]))


class Network:
    """A network that ONNX Runtime runs on the processor.

    Args:
        model: Path of the file.
        stated: Its :class:`~serving.runtimes.settings.Settings`.

    Raises:
        UserError: ONNX Runtime is not installed, or cannot read the file.
    """

    def __init__(self, model: str | os.PathLike, stated: Settings):
        runtime = settings.imported("onnxruntime")
        runtime.disable_telemetry_events()
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _QUIETEST
        options.intra_op_num_threads = processors.available()
        try:
            self._session = runtime.InferenceSession(os.fspath(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the runtime's own types
            raise UserError(f"{model} cannot be read by ONNX Runtime: {messages.one_line(error)}") from error
        self._outputs = list(stated.outputs)

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array, for input features ``[B, ...]``."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(features))))
