"""Writes a version of another format: the network, and what the version states of itself."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serving.runtimes import litert, onnx, openvino
from serving.runtimes.settings import Settings
from serving.savedmodel import signatures
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfrecords.reading.pipeline import Inputs

_MODULES: dict[str, Any] = {module.FORMAT: module for module in (openvino, onnx, litert)}
FORMATS = tuple(_MODULES)


def check(form: str, precision: str, compute: str) -> None:
    """``UserError`` where a format does not offer a precision, or a type that it is computed in."""
    for option, value in (("precision", precision), ("compute", compute)):
        offered = getattr(_MODULES[form], "PRECISIONS" if option == "precision" else "COMPUTED")
        if value not in offered:
            raise UserError(f"--{option} {value} is not offered with --format {form}, valid: {', '.join(offered)}")


def write(
    model: tf.keras.Model,
    inputs: Inputs,
    labels: Sequence[str],
    folder: pathlib.Path,
    *,
    form: str,
    precision: str = "float32",
    compute: str = "float32",
) -> None:
    """Writes the network of a version under construction.

    Args:
        model: As for :func:`serving.savedmodel.signatures.build`, as are ``inputs`` and ``labels``.
        inputs: The same.
        labels: The same.
        folder: The version's folder.
        form: One of :data:`FORMATS`.
        precision: How weights are stored.
        compute: Type that the network is computed in.

    Raises:
        UserError: A package is not installed, or the format cannot hold the network.
    """
    network = signatures.network(model, inputs, labels, freeze=True, batch=1 if form == litert.FORMAT else None)
    made = network.get_concrete_function().structured_outputs
    stated = Settings({name: tuple(spec.shape[1:]) for name, spec in made.items()}, compute)
    if form == openvino.FORMAT:
        openvino.save(openvino.convert(network), folder, precision=precision)
    elif form == onnx.FORMAT:
        onnx.save(onnx.convert(network), folder)
    else:
        litert.save(litert.convert(network, precision=precision), folder)
    stated.write(folder)
