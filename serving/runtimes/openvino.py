"""OpenVINO: ``model.xml`` and ``model.bin``. Extra ``openvino``.

OpenVINO and NNCF send usage data to their makers as soon as they are imported, unless the package
``openvino_telemetry`` is missing or a file in the home folder forbids it. Here imports of that package fail, so nothing
is sent, whatever the file says.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtimes import settings
from serving.runtimes.settings import Settings
from serving.savedmodel import versions
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

FORMAT = "openvino"
PRECISIONS = ("float32", "float16")  # of stored weights
COMPUTED = ("float32", "bfloat16")
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def library(module: str = "openvino") -> Any:
    """OpenVINO, or another module that is installed with it, kept from sending usage data.

    Raises:
        UserError: The module is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # imports of it fail
    return settings.imported(module)


def convert(network: tf.types.experimental.GenericFunction) -> Any:
    """The OpenVINO model of a network.

    Args:
        network: A frozen ``tf.function`` of a dictionary of features, :func:`serving.savedmodel.signatures.network`.

    Returns:
        An ``openvino.Model`` with the names of inputs and outputs.

    Raises:
        UserError: OpenVINO is not installed, or cannot convert it.
    """
    import tensorflow as tf

    openvino = library()
    specs = network.get_concrete_function().structured_input_signature[0][0]
    function = tf.function(lambda **fed: network(fed)).get_concrete_function(**specs)
    with tempfile.TemporaryDirectory() as folder, settings.quiet():
        tf.saved_model.save(tf.Module(), folder, signatures=function)  # a function alone would lose tensors' names
        try:
            return openvino.convert_model(folder)
        except Exception as error:  # of several types, some of C++
            raise UserError(f"OpenVINO cannot convert the network: {messages.one_line(error)}") from error


def save(model: Any, folder: pathlib.Path, *, precision: str) -> None:
    """Writes an ``openvino.Model``; ``precision`` is how its float weights are stored, one of :data:`PRECISIONS`."""
    path = folder / versions.MODEL_FILES[FORMAT]
    library().save_model(model, os.fspath(path), compress_to_fp16=precision == "float16")


class Network:
    """A network that OpenVINO runs, tuned for latency.

    Args:
        model: An ``openvino.Model``, or the path of a file that OpenVINO reads.
        stated: Its :class:`~serving.runtimes.settings.Settings`.

    Raises:
        UserError: OpenVINO is not installed, or cannot read the file.
    """

    def __init__(self, model: Any, stated: Settings):
        openvino = library()
        self._core = openvino.Core()
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            # By default OpenVINO would round float32 networks on a processor with bfloat16 instructions.
            "INFERENCE_PRECISION_HINT": _HINTS[stated.compute],
        }
        try:
            self._model = self._core.read_model(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
        except RuntimeError as error:
            raise UserError(f"{model} cannot be read by OpenVINO: {messages.one_line(error)}") from error
        self._names = {
            output.any_name: next(iter(output.names & set(stated.outputs))) for output in self._model.outputs
        }
        self._compiled: dict[bool, Any] = {}  # whether for a single clip -> the compiled model
        self._compiling = threading.Lock()
        self._requests = threading.local()  # each thread has its own requests

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array, for input features ``[B, ...]``."""
        single = all(len(values) == 1 for values in features.values())
        request = self._request(single)
        request.infer({name: np.ascontiguousarray(values) for name, values in features.items()})
        return {name: request.get_tensor(key).data.copy() for key, name in self._names.items()}

    def _request(self, single: bool) -> Any:
        """This thread's request for one clip or for several; for one clip, shapes are fixed, which is faster."""
        made = self._requests.__dict__.setdefault("made", {})
        if single not in made:
            with self._compiling:
                if single not in self._compiled:
                    model = self._model.clone()
                    model.reshape(
                        {
                            entry.any_name: [
                                1 if single else -1,
                                *(size.get_length() for size in list(entry.partial_shape)[1:]),
                            ]
                            for entry in model.inputs
                        }
                    )
                    self._compiled[single] = self._core.compile_model(model, "CPU", self._config)
            made[single] = self._compiled[single].create_infer_request()
        return made[single]
