"""Published weights for I3D: reads TensorFlow checkpoints into any model with I3D towers.

Two checkpoints are understood; the names of their variables differ:

* I3D trained on ImageNet and Kinetics-400, published with the code of the paper (Carreira and Zisserman, CVPR 2017) at
  https://github.com/google-deepmind/kinetics-i3d, folder ``data/checkpoints/rgb_imagenet``:
  ``model.ckpt.data-00000-of-00001`` and ``model.ckpt.index``.
* Inception-v1 trained on ImageNet, published with TF-Slim (``inception_v1_2016_08_28.tar.gz``). Its two-dimensional
  kernels are inflated: repeated over time and divided by the number of repetitions (I3D17 section 2.4), so that a video
  of one still picture has the same features as the picture.

The variables of both are named after I3D's endpoints; our layers have the same names with "." for "/".
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from zoo.checks import ZooError
from zoo.layers import HEAD, every_layer, layers_of_pictures, still_kernel
from zoo.shared import messages

_LAYER = re.compile(r"(?:^|\.)((?:Conv3d|Mixed)_.*)\.(conv_3d|batch_norm)$")  # any tower's prefix, then the endpoint
_STATISTICS = ("beta", "moving_mean", "moving_variance")
_NOT_WEIGHTS = ("global_step",)
_NAMED = 5  # variables that an error names; it counts the others


@dataclasses.dataclass(frozen=True)
class Naming:
    """How a checkpoint names its variables.

    Attributes:
        scope: Prefix of all names.
        unit: Replacement of ``Conv3d`` in the endpoints.
        convolution: Path of a unit's kernel below its endpoint.
        normalisation: Path of a unit's batch normalisation below its endpoint.
        head: Names of the classifier's kernel and bias.
        inflated: Whether the checkpoint's kernels lack the time axis, so that they are inflated.
    """

    scope: str
    unit: str
    convolution: str
    normalisation: str
    head: tuple[str, str]
    inflated: bool

    def variables(self, layer: tf.keras.layers.Layer) -> list[str]:
        """Names of a layer's weights, in the layer's order; empty if it is no layer of I3D.

        Example:
            >>> import zoo
            >>> model = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
            >>> I3D.variables(model.get_layer("Mixed_3b.Branch_0.Conv3d_0a_1x1.conv_3d"))
            ['RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/conv_3d/w']
        """
        match = _LAYER.search(layer.name)
        if not match:
            return []
        endpoint, kind = match.groups()
        path = f"{self.scope}/{endpoint.replace('.', '/').replace('Conv3d', self.unit)}"
        if kind == "conv_3d":
            return [f"{path}/{self.convolution}"]
        return [f"{path}/{self.normalisation}/{statistic}" for statistic in _STATISTICS]

    def shape(self, weight: tf.Variable) -> tuple[int, ...]:
        """Shape of a weight in the checkpoint."""
        shape = tuple(weight.shape)
        return shape[1:] if self.inflated and len(shape) == 5 else shape

    def value(self, tensor: np.ndarray, weight: tf.Variable) -> np.ndarray:
        """The checkpoint's tensor as a value of the weight."""
        return inflate(tensor, weight.shape[0]) if self.inflated and len(weight.shape) == 5 else tensor


I3D = Naming(
    scope="RGB/inception_i3d",
    unit="Conv3d",
    convolution="conv_3d/w",
    normalisation="batch_norm",
    head=("RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/w", "RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b"),
    inflated=False,
)
INCEPTION_V1 = Naming(
    scope="InceptionV1",
    unit="Conv2d",
    convolution="weights",
    normalisation="BatchNorm",
    head=("InceptionV1/Logits/Conv2d_0c_1x1/weights", "InceptionV1/Logits/Conv2d_0c_1x1/biases"),
    inflated=True,
)


def inflate(kernel: np.ndarray, steps: int) -> np.ndarray:
    """A two-dimensional kernel inflated to three dimensions: repeated over time, divided by the number of repetitions.

    Carreira and Zisserman, CVPR 2017, section 2.4.

    Args:
        kernel: ``[h, w, in, out]``.
        steps: Size of the new kernel in time.

    Returns:
        ``[steps, h, w, in, out]``.

    Example:
        >>> inflate(np.ones((7, 7, 3, 64)), 4)[0, 0, 0, 0, 0].item()
        0.25
    """
    return np.repeat(kernel[np.newaxis] / steps, steps, axis=0)


def load(model: tf.keras.Model, path: str | os.PathLike) -> bool:
    """Reads a checkpoint into every I3D tower of a model, also into those of the networks inside it.

    A network of single pictures gets kernels for a still video (:func:`zoo.layers.still_kernel`).

    A classifier with as many classes and inputs as the checkpoint's is read too; any other classifier keeps its
    weights, as do all other layers.

    Args:
        model: A model of full width with I3D layers.
        path: The checkpoint, without ``.index``.

    Returns:
        Whether the classifier was read too.

    Raises:
        ZooError: No such checkpoint, a variable is missing, of another shape or not known; the model is unchanged.
    """
    reader, shapes = _open(path)
    naming = INCEPTION_V1 if any(name.startswith(f"{INCEPTION_V1.scope}/") for name in shapes) else I3D
    layers = [layer for layer in every_layer(model) if naming.variables(layer)]
    if not layers:
        raise ZooError(f"{model.name} has no I3D layers to read {path} into")
    _compare({name for layer in layers for name in naming.variables(layer)} | set(naming.head), set(shapes), path)
    values = [(layer, _values(layer, naming, reader, shapes, path)) for layer in layers]
    pictures = set(map(id, layers_of_pictures(model)))
    values = [(layer, list(map(still_kernel, own)) if id(layer) in pictures else own) for layer, own in values]
    head = [shapes[name] for name in naming.head]
    # A model that is made of two models has the classifiers of both, and none of its own.
    classifiers = [layer for layer in every_layer(model) if layer.name == HEAD]
    fitting = [layer for layer in classifiers if [tuple(weight.shape) for weight in layer.weights] == head]
    values += [(layer, [_tensor(reader, name, path) for name in naming.head]) for layer in fitting]
    for layer, weights in values:
        layer.set_weights(weights)
    return bool(fitting)


def write(path: str | os.PathLike, values: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint.

    Args:
        path: The checkpoint, without ``.index``; its folder exists.
        values: Variable -> value.

    Raises:
        ZooError: The folder cannot be written, such as on a full disk.
    """
    names = sorted(values)
    try:
        tf.raw_ops.SaveV2(
            prefix=os.fspath(path),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(values[name]) for name in names],
        )
    except tf.errors.OpError as error:  # a full disk is no OSError in TensorFlow
        reason = re.sub(r"{{.*?}}|\[Op:.*?\]", "", error.message)  # without the names of TensorFlow's own parts
        raise ZooError(f"{path} cannot be written: {messages.one_line(reason.rpartition(';')[2])}") from error


def digest(path: str | os.PathLike) -> str:
    """SHA-256 of all names, shapes and values of a checkpoint, whichever way its files are laid out.

    Args:
        path: The checkpoint, without ``.index``.

    Returns:
        64 hexadecimal digits.

    Raises:
        ZooError: No such checkpoint, or one that cannot be read.
    """
    reader, shapes = _open(path)
    digest = hashlib.sha256()
    for name in sorted(shapes):
        value = _tensor(reader, name, path)
        digest.update(f"{name} {list(value.shape)} {value.dtype}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _open(path):
    """A reader of a checkpoint, and the shapes of its variables."""
    try:
        reader = tf.train.load_checkpoint(str(path))
        shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError) as error:
        raise ZooError(f"{path}: not a TensorFlow checkpoint that can be read: {messages.one_line(error)}") from error
    return reader, {name: tuple(shape) for name, shape in shapes.items() if name not in _NOT_WEIGHTS}


def _values(layer, naming, reader, shapes, path):
    """New weights of a layer, from the checkpoint."""
    values = []
    for name, weight in zip(naming.variables(layer), layer.weights):
        want = naming.shape(weight)
        if shapes[name] != want:
            raise ZooError(f"{path}: {name} is {list(shapes[name])}, but layer {layer.name} expects {list(want)}")
        values.append(naming.value(_tensor(reader, name, path), weight))
    return values


def _tensor(reader, name, path):
    try:
        return reader.get_tensor(name)
    except tf.errors.OpError as error:  # among others: the data do not have the checksum that the index states
        raise ZooError(f"{path}: {name} cannot be read: {messages.one_line(error)}") from error


def _compare(expected, found, path):
    missing, extra = sorted(expected - found), sorted(found - expected)
    for what, names in (("lacks", missing), ("has the unknown", extra)):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise ZooError(
                f"{path}: {what} {', '.join(names[:_NAMED])}{more}: not a published checkpoint of I3D or Inception-v1"
            )
