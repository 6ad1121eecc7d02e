"""Keras models for activities of daily living.

>>> import zoo
>>> "vpn" in zoo.list_models()
True
>>> model = zoo.build("separable_sta", num_classes=31, frames=16, size=64, width=0.125, pose_steps=5, joints=13)
>>> sorted(model.input)
['pose', 'rgb']

TensorFlow is imported when a model is first asked for, not here.
"""

from zoo.attention import attention_maps
from zoo.checks import ZooError
from zoo.factory import build, describe
from zoo.registry import list_models

__all__ = [
    "ZooError",
    "attention_maps",
    "build",
    "describe",
    "list_models",
    "load_model",
    "load_weights",
    "transfer_weights",
]


def load_model(path):
    """The model saved in a ``.keras`` file; see :func:`zoo.weights.load_model`."""
    from zoo.pretrained import reading as weights

    return weights.load_model(path)


def load_weights(model, path):
    """Reads a ``.weights.h5`` file into a model; see :func:`zoo.weights.load_weights`."""
    from zoo.pretrained import reading as weights

    return weights.load_weights(model, path)


def transfer_weights(source, target):
    """Copies a trained stage into a larger model; see :func:`zoo.weights.transfer_weights`."""
    from zoo.pretrained import reading as weights

    return weights.transfer_weights(source, target)
