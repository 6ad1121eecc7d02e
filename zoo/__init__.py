"""Keras models for activities of daily living: ``build``, ``list_models``, ``describe``, ``list_pretrained``.

* :mod:`~zoo.models`: a file per method; :mod:`~zoo.fusion`: two-level fusion, a scikit-learn estimator.
* :mod:`~zoo.registry`, :mod:`~zoo.factory`, :mod:`~zoo.checks`, :mod:`~zoo.papers`: look-up, building, options, papers;
  :mod:`~zoo.built_model`: the class of built models, which stores their options.
* :mod:`~zoo.pretrained`: weights to start from; ``python -m zoo.weights`` fetches published ones.
* :mod:`~zoo.layers`, :mod:`~zoo.backbones`, :mod:`~zoo.skeletons`, :mod:`~zoo.skeleton_streams`: parts of models.
* :mod:`~zoo.attention`, :mod:`~zoo.attention_plot`, :mod:`~zoo.complexity`: attention maps, a picture of them, cost.
* :mod:`~zoo.score_product`: models that multiply the scores of others.
* :mod:`~zoo.gradient_checkpointing`: training in less memory; :mod:`~zoo.frozen_part`: the layers whose output stays.
* :mod:`~zoo.shared_computation`: one pass over a stretch of video for all its windows.
* :mod:`~zoo.shared`: what all packages share.

``__version__`` is the version of the whole project. TensorFlow is imported when a model is first used, with oneDNN
switched on for every processor. If TensorFlow is imported before the zoo, ``tf.keras.models.load_model`` can read the
zoo's models.
"""

import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from zoo.attention import attention_maps
from zoo.checks import ZooError
from zoo.factory import build, describe
from zoo.pretrained.catalogue import list_pretrained
from zoo.registry import list_models

# TensorFlow reads this variable when it is imported. By default it leaves oneDNN out on processors without AVX-512:
# inference then takes twice as long, and a training step of a video network twenty times as long
# (docs/performance.md, "oneDNN").
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if TYPE_CHECKING:
    import tensorflow as tf
if "tensorflow" in sys.modules:
    import zoo.built_model  # noqa: F401  tf.keras.models.load_model knows the class from here on

__version__ = "0.1.0"

__all__ = [
    "ZooError",
    "__version__",
    "attention_maps",
    "build",
    "describe",
    "from_pretrained",
    "fully_convolutional",
    "list_models",
    "list_pretrained",
    "load_model",
    "load_weights",
    "save_pretrained",
    "transfer_weights",
]


def load_model(path: "str | os.PathLike") -> "tf.keras.Model":
    """The model saved in a ``.keras`` file; see :func:`zoo.pretrained.reading.load_model`."""
    from zoo.pretrained import reading

    return reading.load_model(path)


def load_weights(model: "tf.keras.Model", path: "str | os.PathLike") -> "tf.keras.Model":
    """Reads a ``.weights.h5`` file into a model; see :func:`zoo.pretrained.reading.load_weights`."""
    from zoo.pretrained import reading

    return reading.load_weights(model, path)


def transfer_weights(source: "tf.keras.Model", target: "tf.keras.Model") -> list[str]:
    """Copies a trained stage into a larger model; see :func:`zoo.pretrained.transfer.transfer_weights`."""
    from zoo.pretrained import transfer

    return transfer.transfer_weights(source, target)


def fully_convolutional(model: "tf.keras.Model") -> "tf.keras.Model":
    """The model for pictures of any height and width; see :func:`zoo.built_model.fully_convolutional`."""
    from zoo import built_model

    return built_model.fully_convolutional(model)


def save_pretrained(
    model: "tf.keras.Model",
    folder: "str | os.PathLike",
    *,
    labels: Sequence[str] = (),
    inputs: Optional[Mapping[str, Any]] = None,
    card: Optional[str] = None,
) -> pathlib.Path:
    """Writes a model as a folder to publish; see :func:`zoo.pretrained.model_folder.save_pretrained`."""
    from zoo.pretrained import model_folder

    return model_folder.save_pretrained(model, folder, labels=labels, inputs=inputs, card=card)


def from_pretrained(source: "str | os.PathLike", revision: Optional[str] = None) -> "tf.keras.Model":
    """The model of a published folder, or of a model hub; see :func:`zoo.pretrained.model_folder.from_pretrained`."""
    from zoo.pretrained import model_folder

    return model_folder.from_pretrained(source, revision)
