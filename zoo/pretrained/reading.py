"""Reading models and weights from files, and what ``build(weights=...)`` starts from."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import re
import tempfile
import zipfile

import h5py
import tensorflow as tf

from zoo import built_model, registry
from zoo.checks import ZooError
from zoo.pretrained import catalogue, fetching, i3d_checkpoint, model_folder
from zoo.pretrained.transfer import transfer_weights
from zoo.shared import messages


def initialise(model: tf.keras.Model, weights: str | os.PathLike) -> None:
    """Gives a model weights to start from.

    Args:
        model: The model; its attributes and options stay.
        weights: One of

            * a name of :func:`zoo.list_pretrained`, such as ``"kinetics400"``: published weights, from the cache
              (``python -m zoo.weights kinetics400`` puts them there). Every tower of their network is filled, and the
              classifier too where it has the published classes and features; it expects RGB in [-1, 1];
            * weights installed with the zoo, such as ``"nucla"`` for a ``pose_gcn`` or ``pose_lstm``;
            * a folder of :func:`zoo.save_pretrained`, of a model that this one contains;
            * a TensorFlow checkpoint of I3D or, to be inflated, of Inception-v1: its path without ``.index``, see
              :mod:`zoo.pretrained.i3d_checkpoint`;
            * a ``.keras`` model of this zoo that this one contains, see :func:`transfer_weights`;
            * a ``.weights.h5`` file of a model with the same layers and shapes.

    Raises:
        ZooError: There are no such weights or they do not fit; the model never keeps random weights silently.
    """
    if not isinstance(weights, (str, os.PathLike)):
        raise ZooError(f"weights is {weights!r}, expected {_published()} or the path of a file")
    path = _path(model.name, weights)
    if os.fspath(weights) and path.is_dir():
        transfer_weights(model_folder.from_pretrained(path), model)
    elif path.suffix == ".keras":
        transfer_weights(load_model(path), model)
    elif path.suffix == ".h5":
        load_weights(model, path)
    elif pathlib.Path(f"{path}.index").is_file():
        i3d_checkpoint.load(model, path)
    else:
        raise ZooError(
            f"weights {str(weights)!r} are neither {_published()} nor a file: expected a .keras model, a folder of "
            "zoo.save_pretrained, a .weights.h5 file or a TensorFlow checkpoint without its .index"
        )


def _path(name: str, weights: str | os.PathLike) -> pathlib.Path:
    """Path of the weights for the model of that name."""
    if shipped := catalogue.shipped(name, weights):
        return shipped.folder
    return fetching.checkpoint(str(weights)) if weights in catalogue.list_pretrained() else pathlib.Path(weights)


def _published() -> str:
    """Names of the published weights, for messages."""
    return ", ".join(map(repr, catalogue.list_pretrained()))


def load_model(path: str | os.PathLike) -> tf.keras.Model:
    """The model saved in a ``.keras`` file, under Keras 2 or Keras 3.

    Args:
        path: The file.

    Returns:
        A ``tf.keras.Model``.

    Raises:
        ZooError: No such file, or not a model of this zoo.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ZooError(f"{path}: no such file, expected a model saved as .keras")
    try:
        with zipfile.ZipFile(path) as archive:
            saved, config = (json.loads(archive.read(name)) for name in ("metadata.json", "config.json"))
        _check_version(saved["keras_version"], config["module"])
        registry.get(config["config"]["name"])  # the method's module defines the layers that the file names
        return tf.keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = messages.one_line(error)
        raise ZooError(f"{path}: not a Keras model that can be read here: {reason}") from error


def _check_version(saved, module):
    """Raises ``ValueError`` if the other version of Keras wrote a file that holds only the model's graph of layers.

    Earlier versions of the zoo wrote such files; today a file also states how the model was built.
    """
    major, running = saved.partition(".")[0], importlib.metadata.version("keras")
    if module != built_model.__name__ and major != running.partition(".")[0]:
        python = "3.11 or older" if major == "2" else "3.12 or newer"
        raise ValueError(
            f"an earlier version of the zoo saved it under Keras {saved}, and Keras {running} cannot read "
            f"that: use it under Python {python}, or train again; models saved today open under both"
        )


def load_weights(model: tf.keras.Model, path: str | os.PathLike) -> tf.keras.Model:
    """Reads a ``.weights.h5`` file into a model of the same architecture.

    Keras finds a layer in such a file by its class and its order in the model. It compares the number and the shapes of
    each layer's weights and, if Keras 3 wrote the file and reads it, the layers' names. Files of Keras 2 have no names:
    weights of another architecture are not noticed if its layers have the same classes and shapes. An example is a
    file of a ``separable_sta`` with attention ``sa_ta``, read into one with ``ta_sa`` that has as many positions as
    steps. A ``.keras`` file has names under both versions (:func:`zoo.transfer_weights`).

    Args:
        model: The model.
        path: The file.

    Returns:
        The model.

    Raises:
        ZooError: No such file, or its weights do not fit the model.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ZooError(f"{path}: no such file, expected weights saved as .weights.h5")
    try:
        _check_names(model, path)
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        reason = messages.one_line(error)
        raise ZooError(f"{path}: does not fit {model.name}: {reason}") from error
    return model


def _check_names(model, path):
    """Raises ``ValueError`` if a weight file names its layers and a name differs from that of the model's layer."""
    names = _names(path)
    if not names:
        return
    with tempfile.TemporaryDirectory() as folder:
        own = pathlib.Path(folder, "own.weights.h5")  # states which layer Keras expects at which path
        model.save_weights(own)
        expected = _names(own)
    for path_in_file, name in names.items():
        if expected.get(path_in_file, name) != name:
            raise ValueError(f"it has a layer {name!r} in the place of {expected[path_in_file]!r}")


def _names(path):
    """Path inside a weight file -> name of the layer whose weights it holds; empty if the file has no names.

    The number at the end of a name is left out: Keras numbers layers without a name, anew in every process.
    """
    names, values = {}, []

    def visit(path_in_file, item):
        if isinstance(item, h5py.Dataset):
            values.append(path_in_file)
        elif "name" in item.attrs:  # of <layer>/vars
            names[path_in_file.rpartition("/")[0]] = re.sub(r"_\d+$", "", item.attrs["name"])

    with h5py.File(path) as file:
        file.visititems(visit)
    return {layer: name for layer, name in names.items() if any(value.startswith(f"{layer}/") for value in values)}
