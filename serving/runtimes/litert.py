"""LiteRT (TensorFlow Lite): ``model.tflite`` of built-in operations alone, for small devices.

The package ``ai-edge-litert`` (extra ``litert``) runs it without TensorFlow; where it is not installed, the
interpreter in TensorFlow does. A file takes one clip at a time.
"""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtimes import settings
from serving.runtimes.settings import Settings
from serving.savedmodel import versions
from zoo.shared import messages, processors
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

FORMAT = "litert"
PRECISIONS = ("float32", "float16")
COMPUTED = ("float32",)


def convert(
    network: tf.types.experimental.GenericFunction,
    *,
    precision: str = "float32",
    examples: Iterable[Mapping[str, np.ndarray]] | None = None,
) -> bytes:
    """The LiteRT model of a network.

    Args:
        network: A frozen ``tf.function`` of features of one clip, :func:`serving.savedmodel.signatures.network`.
        precision: How weights are stored, one of :data:`PRECISIONS`.
        examples: Features of clips, ``[1, ...]`` each, to calibrate a network in 8-bit integers; default: floats. If
            the network has a loop (an LSTM), only weights become integers: TensorFlow's calibration of loops crashes.

    Returns:
        The file's bytes.

    Raises:
        UserError: The network has an operation that LiteRT has not built in.
    """
    import tensorflow as tf

    specs = network.get_concrete_function().structured_input_signature[0][0]
    function = tf.function(lambda **fed: network(fed)).get_concrete_function(**specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if not _has_loop(function):
            converter.representative_dataset = lambda: (("serving_default", clip) for clip in examples)
    with settings.quiet():
        try:
            return converter.convert()
        except Exception as error:  # ConverterError, RuntimeError
            reason = str(error).partition("TF Select ops: ")[2].partition("\n")[0]
            missing = f"it has not built in {reason}" if reason else messages.one_line(error)
            raise UserError(
                f"LiteRT cannot run the network ({missing}): --format litert is for models of poses, "
                "such as pose_lstm, pose_cnn and pose_gcn"
            ) from error


def _has_loop(function: Any) -> bool:
    """Whether a concrete function, or one that it calls, has a loop."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return any("While" in node.op for node in nodes)


def save(model: bytes, folder: pathlib.Path) -> None:
    """Writes the file of a version under construction."""
    (folder / versions.MODEL_FILES[FORMAT]).write_bytes(model)


class Network:
    """A network that LiteRT runs, clip by clip.

    Args:
        model: Path of the file, or its bytes.
        stated: Its :class:`~serving.runtimes.settings.Settings`.

    Raises:
        UserError: LiteRT cannot read the file.
    """

    def __init__(self, model: str | os.PathLike | bytes, stated: Settings):
        given: dict[str, Any] = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": os.fspath(model)}
        )
        try:
            with settings.quiet():
                self._interpreter = _interpreter()(**given, num_threads=processors.available())
                self._interpreter.allocate_tensors()
                self._run = self._interpreter.get_signature_runner()
        except ValueError as error:
            raise UserError(f"{model!r} cannot be read by LiteRT: {messages.one_line(error)}") from error
        self._outputs = list(stated.outputs)
        self._running = threading.Lock()  # only one thread at a time may use an interpreter

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array, for input features ``[B, ...]``."""
        rows = []
        for clip in range(len(next(iter(features.values())))):
            with self._running:
                found = self._run(**{name: values[clip : clip + 1] for name, values in features.items()})
                rows.append({name: found[name].copy() for name in self._outputs})
        return {name: np.concatenate([row[name] for row in rows]) for name in self._outputs}


def _interpreter() -> Any:
    """The interpreter's class."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        return tf.lite.Interpreter
    return Interpreter
