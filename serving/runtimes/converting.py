"""Writes a version in a format other than SavedModel: the network and the version's recorded properties."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtimes import int8, litert, onnx, openvino
from serving.runtimes.settings import Settings
from serving.savedmodel import signatures
from zoo import skeletons
from zoo.shared import files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from serving.runtimes.int8 import Calibration
    from tfrecords.reading.pipeline import Inputs

_MODULES: dict[str, Any] = {module.FORMAT: module for module in (openvino, onnx, litert)}
FORMATS = tuple(_MODULES)
SKELETON = "assets/skeleton.json"
_BLAZEPOSE = "blazepose_33"
_POINTS = ("root", "hip_centre", "spine_base", "spine", "left_hip", "right_hip")
_INT8 = (openvino.FORMAT, litert.FORMAT)


def check(form: str, precision: str, compute: str, int8: bool) -> None:
    """Raises ``UserError`` if a format does not offer a precision, a type of computation, or 8-bit integers."""
    if int8 and form not in _INT8:
        raise UserError(f"--int8 is not offered with --format {form}, valid: {', '.join(_INT8)}")
    for option, value in (("precision", precision), ("compute", compute)):
        offered = getattr(_MODULES[form], "PRECISIONS" if option == "precision" else "COMPUTED")
        if value not in offered:
            raise UserError(f"--{option} {value} is not offered with --format {form}, valid: {', '.join(offered)}")


def _skeleton(inputs: Inputs) -> dict[str, Any]:
    """Describes the network's skeleton for a small device, which does not have this project's skeletons.

    The description has the joints of the points that poses are normalised by. If the joints can be computed from
    BlazePose's, it also has ``from_blazepose_33``: the weights ``[J, 33]`` for this.
    """
    skeleton = skeletons.get(inputs.layout)
    described: dict[str, Any] = {name: np.atleast_1d(getattr(skeleton, name)).tolist() for name in _POINTS}
    if inputs.layout == _BLAZEPOSE:
        described[f"from_{_BLAZEPOSE}"] = np.eye(skeleton.num_joints).tolist()
    elif inputs.layout in skeletons.targets(_BLAZEPOSE):
        described[f"from_{_BLAZEPOSE}"] = skeletons.map_weights(_BLAZEPOSE, inputs.layout).tolist()
    return described


def write(
    model: tf.keras.Model,
    inputs: Inputs,
    labels: Sequence[str],
    folder: pathlib.Path,
    *,
    form: str,
    precision: str = "float32",
    compute: str = "float32",
    calibration: Calibration | None = None,
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
        calibration: Clips to calibrate a network in 8-bit integers with; default: floats.

    Raises:
        UserError: A package is not installed, the format cannot hold the network, or 8-bit integers cost too much
            accuracy.
    """
    network = signatures.network(model, inputs, labels, freeze=True, batch=1 if form == litert.FORMAT else None)
    made = network.get_concrete_function().structured_outputs
    stated = Settings({name: tuple(spec.shape[1:]) for name, spec in made.items()}, compute)
    if form == openvino.FORMAT:
        converted = openvino.convert(network)
        if calibration:
            converted, cost = int8.quantise(converted, calibration, stated)
            stated = dataclasses.replace(stated, int8=cost)
        openvino.save(converted, folder, precision=precision)
    elif form == onnx.FORMAT:
        onnx.save(onnx.convert(network), folder)
    else:
        written = litert.convert(network, precision=precision)
        if calibration:
            reference = litert.Network(written, stated)
            written = litert.convert(network, examples=[features for features, _ in calibration.calibrated])
            stated = dataclasses.replace(
                stated, int8=int8.measured(litert.Network(written, stated), calibration, reference)
            )
        litert.save(written, folder)
        if inputs.poses_alone:
            files.write_json(folder / SKELETON, _skeleton(inputs))
    stated.write(folder)
