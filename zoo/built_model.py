"""A model that knows how it was built, so that its file can be read by another version of Keras."""

from __future__ import annotations

import contextlib
import dataclasses
import numbers
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from zoo import layers, registry
from zoo.checks import ZooError, check_options

_POLICY = threading.RLock()  # guards Keras's global policy, which all threads share under Keras 2


@dataclasses.dataclass(frozen=True)
class Build:
    """What :func:`zoo.build` was told.

    Attributes:
        name: The method.
        num_classes: Number of classes C.
        options: All options of the method's builder, including those left at their defaults.
        precision: Name of the global policy of ``tf.keras.mixed_precision`` when the model was built.
    """

    name: str
    num_classes: int
    options: dict[str, Any]
    precision: str


@tf.keras.utils.register_keras_serializable(package="adl_zoo")
class BuiltModel(tf.keras.Model):
    """A functional model of :func:`zoo.build`.

    Its configuration also states its name and options, and reading a file builds the model again from these: Keras 2
    and Keras 3 write the graph of layers differently. A ``.keras`` file therefore opens under both, with
    ``zoo.load_model`` and, once the zoo is imported after TensorFlow, with ``tf.keras.models.load_model``.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_lstm", num_classes=3, joints=13)
        >>> model.built_as.name, model.built_as.options["lstm_units"]
        ('pose_lstm', 512)
    """

    built_as: Build | None = None  # None in a copy by Keras 3's clone_model: an ordinary functional model

    def get_config(self) -> dict[str, Any]:
        """Keras's configuration, the build options, the layers with weights, and which of them are frozen."""
        if self.built_as is None:
            return super().get_config()
        found = _with_weights(self)
        own = {
            **dataclasses.asdict(self.built_as),
            "layers": [layer.name for layer in found],
            # Indices into "layers", as names may repeat: the two parts of a late fusion have layers of the same name.
            "frozen": [position for position, layer in enumerate(found) if not layer.trainable],
        }
        # First, because Keras 3 shows the beginning of a configuration whose class it does not know.
        return {"read_with": "import zoo; zoo.load_model", "built_as": own, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> BuiltModel:
        """Builds the model again, with random weights.

        Args:
            config: A value of :meth:`get_config`.
            custom_objects: Not needed; Keras passes it.

        Raises:
            ZooError: This version of the zoo builds another network from these options.
        """
        if "built_as" not in config:
            return super().from_config(config, custom_objects)
        config = config["built_as"]
        with precision(config["precision"]):
            options = registry.saved_options(config["name"], config["options"])
            model = built(config["name"], config["num_classes"], without_sources(options))
        found = _with_weights(model)
        names = [layer.name for layer in found]
        if names != config["layers"]:
            changed = sorted(set(names) ^ set(config["layers"])) or ["their order"]
            raise ZooError(
                f"{config['name']} was saved by another version of the zoo, which built it with other layers "
                f"({', '.join(changed[:3])}): open it with that version"
            )
        for position, layer in enumerate(found):
            # Files of earlier versions list names instead of indices.
            layer.trainable = position not in config["frozen"] and layer.name not in config["frozen"]
        return model


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Sets the precision of the models that a ``with`` block builds, whatever other threads build meanwhile.

    Args:
        policy: Name of a policy of ``tf.keras.mixed_precision``, such as ``mixed_bfloat16``.

    Example:
        >>> import zoo
        >>> with precision("mixed_bfloat16"):
        ...     zoo.build("pose_lstm", num_classes=3, joints=13).built_as.precision
        'mixed_bfloat16'
    """
    with _POLICY:
        before = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy(policy)
        try:
            yield
        finally:
            tf.keras.mixed_precision.set_global_policy(before)


def without_sources(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without ``network_weights``, the weights that a network began with: weights read later replace them.

    Example:
        >>> without_sources({"network": "inception_v1", "network_weights": "kinetics400"})
        {'network': 'inception_v1', 'network_weights': None}
    """
    return {option: None if option == "network_weights" else value for option, value in options.items()}


def built(name: str, num_classes: int, options: Mapping[str, Any]) -> BuiltModel:
    """Calls a method's builder.

    Args:
        name: The method.
        num_classes: Number of classes C.
        options: Options of its builder under their current names; options left out have their defaults.

    Raises:
        ZooError: Unknown model or option, or options that do not fit together.
    """
    chosen = {option: _plain(value) for option, value in options.items()}
    check_options(name, chosen, registry.hints(name))
    if not isinstance(num_classes, numbers.Integral) or num_classes < 2:
        raise ZooError(f"num_classes is {num_classes!r}, expected an integer of at least 2")
    complete = {**registry.options(name), **chosen}
    with _POLICY:
        model = registry.get(name).builder(_plain(num_classes), **complete)
        known = BuiltModel(model.input, model.output, name=model.name)
        known.built_as = Build(name, _plain(num_classes), complete, tf.keras.mixed_precision.global_policy().name)
    return known


def rebuilt(model: BuiltModel) -> BuiltModel:
    """The model built again, with random weights and in the precision of the global policy.

    Example:
        >>> import zoo
        >>> rebuilt(zoo.build("pose_lstm", num_classes=3, joints=13, lstm_units=8)).get_layer("lstm_1").units
        8
    """
    if model.built_as is None:
        raise ValueError(f"{model.name} was not built by zoo.build, which would know its options")
    return built(model.built_as.name, model.built_as.num_classes, without_sources(model.built_as.options))


def stated(model: tf.keras.Model) -> Build:
    """The :class:`Build` of a model; :class:`ZooError` if its file is too old to state it."""
    build = getattr(model, "built_as", None)
    if build is None:
        raise ZooError(f"{model.name}: its file does not state its options, save it again with zoo.load_model and save")
    return build


def fully_convolutional(model: tf.keras.Model) -> BuiltModel:
    """The same model and weights for pictures at least as large, of any height and width: convolutional inference.

    The video networks are convolutions, followed by an average over all positions. Spatial attention is computed from
    the pose, for the square that the model was built for; its map is then resized bilinearly to the feature map. For
    pictures of the original size the predictions stay the same.

    Args:
        model: A model of :func:`zoo.build` whose method has the option ``fully_convolutional``, such as ``vpn``.

    Returns:
        A model whose input ``rgb`` is ``[B, T, any height, any width, 3]``, for inference. Neither height nor width may
        be smaller than the ``size`` that the model was built for.

    Raises:
        ZooError: The method has no such option, or the file of the model does not state its options.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
        >>> zoo.fully_convolutional(model)({"rgb": tf.zeros((1, 8, 32, 57, 3))}).shape
        TensorShape([1, 4])
    """
    build = stated(model)
    if "fully_convolutional" not in build.options:
        able = ", ".join(registry.with_option("fully_convolutional"))
        raise ZooError(f"{build.name} cannot take pictures of other sizes; models that can: {able}")
    wide = built(build.name, build.num_classes, {**build.options, "fully_convolutional": True})
    weights = {layer.name: layer.get_weights() for layer in _with_weights(model)}
    for layer in _with_weights(wide):
        layer.set_weights(weights[layer.name])
    return wide


def _plain(value):
    """A value in a form that JSON and both versions of Keras accept: no path and no NumPy number."""
    if isinstance(value, Mapping):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_plain(element) for element in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value


def _with_weights(model):
    return [layer for layer in layers.every_layer(model) if layer.weights]
