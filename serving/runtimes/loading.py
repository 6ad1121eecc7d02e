"""Opens a version of any format but SavedModel: the network, and the signatures around it."""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from serving import urls
from serving.runtimes import litert, onnx, openvino, remote, remote_grpc, settings
from serving.runtimes.settings import Settings
from serving.savedmodel import signatures, versions
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.protobuf import meta_graph_pb2

    from tfrecords.reading.pipeline import Inputs

TENSORFLOW = "tensorflow"
_ADDRESS = "http://HOST:PORT"
NETWORK = "network"  # signature of the network alone
# Format -> the runtimes that run it, the first by default.
_RUN_BY = {
    "savedmodel": (TENSORFLOW,),
    "openvino": ("openvino",),
    "onnx": ("onnx", "openvino"),
    "litert": ("litert",),
}


class Network(Protocol):
    """A loaded network: arrays of input features -> arrays of outputs, both by name and with a batch axis."""

    def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array; the features are those of :meth:`tfrecords.reading.pipeline.Inputs.signature`."""


_NETWORKS: dict[str, Callable[..., Network]] = {
    "openvino": openvino.Network,
    "onnx": onnx.Network,
    "litert": litert.Network,
}
RUNTIMES = (TENSORFLOW, *_NETWORKS)


def runtime_name(text: str) -> str:
    """A runtime, one of :data:`RUNTIMES` or an address, for ``argparse``."""
    if text in RUNTIMES or text.startswith(tuple(f"{scheme}://" for scheme in (*urls.SCHEMES, remote_grpc.SCHEME))):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no runtime{messages.nearest(text, [*RUNTIMES, _ADDRESS])}")


def runtime_of(version_folder: str | os.PathLike, runtime: str | None = None) -> str:
    """The runtime that runs a version.

    Args:
        version_folder: The version's folder.
        runtime: The runtime to use: one of :data:`RUNTIMES`, or the address (``http://HOST:PORT`` or
            ``grpc://HOST:PORT``) of a server of the open inference protocol that has loaded the version; default: the
            first one that runs the folder's format.

    Raises:
        UserError: The folder holds no known format, or the runtime does not run it.
    """
    form = versions.format_of(version_folder)
    if form is None:
        raise UserError(f"{version_folder} holds no model of a format that python -m serving.export writes")
    if runtime is None:
        return _RUN_BY[form][0]
    if runtime not in RUNTIMES and form != "savedmodel":
        return runtime
    if runtime not in _RUN_BY[form]:
        formats = [name for name, by in _RUN_BY.items() if runtime in by] or ["openvino", "onnx"]
        raise UserError(
            f"--runtime {runtime} does not run {version_folder}, whose format is {form}: "
            f"leave it out, or export again with --format {' or '.join(formats)}"
        )
    return runtime


def open_network(version_folder: str | os.PathLike, runtime: str | None = None) -> Network:
    """Opens the network of a version of any format but SavedModel.

    Args:
        version_folder: ``BASE/<model>/<version>``.
        runtime: As for :func:`runtime_of`.

    Returns:
        A function of input features, such as ``rgb`` [B, T, H, W, 3] float32 in [-1, 1], that returns
        ``probabilities`` [B, C], ``logits`` and the attention maps; several threads may call it.

    Raises:
        UserError: The folder is no such version, a package is not installed, or the runtime does not run the format.

    Example:
        >>> network = open_network("models/i3d/1")  # doctest: +SKIP
        >>> network({"rgb": np.zeros((1, 64, 224, 224, 3), np.float32)})["probabilities"].shape  # doctest: +SKIP
        (1, 400)
    """
    folder = pathlib.Path(version_folder)
    chosen = runtime_of(folder, runtime)
    form = versions.format_of(folder)
    if chosen == TENSORFLOW or form is None:
        raise UserError(f"{folder} is a SavedModel, whose network is not separate: use serving.predict.Predictor")
    if chosen not in RUNTIMES:
        number = int(folder.name) if folder.name.isdecimal() else 0
        module = remote_grpc if chosen.startswith(f"{remote_grpc.SCHEME}://") else remote
        return module.Network(chosen, folder.absolute().parent.name, number, settings.read(folder))
    return _NETWORKS[chosen](folder / versions.MODEL_FILES[form], settings.read(folder))


class Model:
    """A version of any format but SavedModel, with the signatures that its SavedModel would have.

    Args:
        version_folder: ``BASE/<model>/<version>``.
        runtime: As for :func:`runtime_of`.

    Raises:
        UserError: As :func:`open_network`, or a file of the export is missing.

    Attributes:
        signatures: Signature name -> function of tensors that returns a dictionary of tensors.
        signature_defs: Signature name -> ``SignatureDef``.
    """

    signatures: dict[str, Callable[..., dict[str, tf.Tensor]]]
    signature_defs: dict[str, meta_graph_pb2.SignatureDef]

    def __init__(self, version_folder: str | os.PathLike, runtime: str | None = None):
        folder = pathlib.Path(version_folder)
        self._inputs = read_inputs(folder)
        try:
            self._labels = (folder / versions.LABELS).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UserError(f"{folder / versions.LABELS} is missing, expected an export of serving.export") from error
        stated = settings.read(folder)
        self._network = open_network(folder, runtime)
        attention = bool(set(stated.outputs) - set(signatures.OUTPUTS))
        names = signatures.names(self._inputs, attention=attention)
        self.signatures = {name: functools.partial(self._serve, name, self._features(name)) for name in names}
        self.signatures[NETWORK] = self._serve_network
        self.signature_defs = {name: _definition(name, self._inputs, stated) for name in [*names, NETWORK]}

    def _features(self, signature: str) -> Callable[..., dict[str, tf.Tensor]]:
        """The graph before the network; traced on the first call."""
        import tensorflow as tf

        @functools.cache
        def traced() -> Callable[..., dict[str, tf.Tensor]]:
            return tf.function(
                lambda **request: signatures.features(signature, self._inputs, request)
            ).get_concrete_function(**signatures.input_specs(signature, self._inputs))

        return lambda **request: traced()(**request)

    def _serve(self, signature: str, features: Callable, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        fed = features(**request)
        computed = self._network({name: tensor.numpy() for name, tensor in fed.items()})
        tensors = {name: tf.constant(array) for name, array in computed.items()}
        return signatures.outputs(signature, self._inputs, self._labels, fed, tensors)

    def _serve_network(self, **features: tf.Tensor) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        computed = self._network({name: tensor.numpy() for name, tensor in features.items()})
        return {name: tf.constant(array) for name, array in computed.items()}


def read_inputs(version_folder: pathlib.Path) -> Inputs:
    """The inputs of the network of a version; ``UserError`` where the file is missing or damaged."""
    from tfrecords.reading.pipeline import Inputs

    path = version_folder / versions.INPUTS
    try:
        return Inputs.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is missing or damaged, expected an export of serving.export") from error


def _definition(signature: str, inputs: Inputs, stated: Settings) -> meta_graph_pb2.SignatureDef:
    """The ``SignatureDef`` that the SavedModel would have, except for the names of nodes."""
    import tensorflow as tf
    from tensorflow.core.protobuf import meta_graph_pb2

    classes = stated.outputs["probabilities"]
    outputs = {
        name: tf.TensorSpec([None, *shape], tf.float32)
        for name, shape in stated.outputs.items()
        if name in signatures.OUTPUTS or signature in (signatures.ATTENTION, NETWORK)
    }
    inputs_of = signatures.feature_specs(inputs) if signature == NETWORK else signatures.input_specs(signature, inputs)
    if signature != NETWORK:
        outputs["classes"] = tf.TensorSpec([None, *classes], tf.string)
    if signature != NETWORK and signatures.states_person_crops(signature, inputs):
        outputs[signatures.PERSON_CROPS] = tf.TensorSpec([None], tf.bool)
    definition = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for specs, target in (
        (inputs_of, definition.inputs),
        (outputs, definition.outputs),
    ):
        for name, spec in specs.items():
            target[name].name = f"{name}:0"
            target[name].dtype = spec.dtype.as_datatype_enum
            target[name].tensor_shape.CopyFrom(spec.shape.as_proto())
    return definition
