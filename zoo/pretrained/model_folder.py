"""A model as a folder that can be published: it contains no code, and both versions of Keras can read it.

::

    DIR/config.json        the model's name, number of classes and options, as zoo.build takes them
        model.safetensors  its weights, named <layer>/<weight>
        labels.txt         one class per line, in the order of the softmax
        inputs.json        what inputs it takes: tfrecords.reading.pipeline.Inputs
        README.md          the card: what it is, how it was trained, how accurate it is, how to use it
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import tensorflow as tf
from safetensors import numpy as arrays

from zoo import built_model, layers, registry
from zoo.checks import ZooError
from zoo.pretrained import catalogue, fetching, i3d_checkpoint
from zoo.shared import files, messages

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
LABELS = "labels.txt"
INPUTS = "inputs.json"
CARD = "README.md"
CONTENT = (CONFIG, WEIGHTS, LABELS, INPUTS, CARD)

_VERSION = 1  # of the format
_NAMES = {"depthwise_kernel": "kernel"}  # what Keras 2 calls a weight -> what Keras 3 does


class ModelFolder:
    """A folder of :func:`save_pretrained`.

    Args:
        path: The folder.

    Raises:
        ZooError: No such folder, or its configuration is missing, damaged or of a later version.

    Attributes:
        path: The folder.
        name: Name of the model.
        num_classes: Number of classes C.
        options: Options of :func:`zoo.build`.
        labels: Class names, in the order of the softmax; empty where the folder does not have them.
        inputs: What inputs the model takes, JSON of a :class:`tfrecords.reading.pipeline.Inputs`; ``None`` where the
            folder does not have it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise ZooError(f"{self.path}: no such folder, expected one that zoo.save_pretrained wrote")
        config = self._json(CONFIG)
        try:
            version = int(config["format_version"])
            self.name: str = config["model"]
            self.num_classes: int = config["num_classes"]
            self.options: dict[str, Any] = dict(config["options"])
        except (KeyError, TypeError, ValueError):
            raise ZooError(f"{self.path / CONFIG}: is not what zoo.save_pretrained wrote, get it again") from None
        if version > _VERSION:
            raise ZooError(f"{self.path / CONFIG}: has format {version}, this zoo reads {_VERSION}: update the zoo")
        labels = self.path / LABELS
        self.labels = tuple(labels.read_text(encoding="utf-8").splitlines()) if labels.is_file() else ()
        if self.labels and len(self.labels) != self.num_classes:
            raise ZooError(f"{labels} has {len(self.labels)} classes, {CONFIG} says {self.num_classes}: get both again")
        self.inputs: dict[str, Any] | None = self._json(INPUTS) if (self.path / INPUTS).is_file() else None

    def model(self) -> tf.keras.Model:
        """The model with its weights; :class:`ZooError` names what does not fit."""
        options = registry.saved_options(self.name, self.options)
        model = built_model.built(self.name, self.num_classes, built_model.without_sources(options))
        path = self.path / WEIGHTS
        try:
            stored = arrays.load_file(path)
        except FileNotFoundError:
            raise ZooError(f"{path}: no such file, get the folder again") from None
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise ZooError(f"{path}: is damaged ({messages.one_line(error)}), get it again") from None
        try:
            _fill(model, stored)
        except ValueError as error:
            raise ZooError(f"{path}: {error}") from None
        return model

    def _json(self, name: str) -> Any:
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ZooError(f"{path}: no such file, expected a folder that zoo.save_pretrained wrote") from None
        except ValueError as error:
            raise ZooError(f"{path}: is no JSON ({error}), get it again") from None


def save_pretrained(
    model: tf.keras.Model,
    folder: str | os.PathLike,
    *,
    labels: Sequence[str] = (),
    inputs: Mapping[str, Any] | None = None,
    card: str | None = None,
) -> pathlib.Path:
    """Writes a model as a folder, whole or not at all.

    Args:
        model: A model of :func:`zoo.build` or :func:`zoo.load_model`.
        folder: The folder to make; it must not exist.
        labels: Class names, in the order of the softmax.
        inputs: What inputs the model takes, ``Inputs.to_dict()`` of :mod:`tfrecords.reading.pipeline`.
        card: Markdown of the card; default: what the model is and how to load it.

    Returns:
        The folder's path.

    Raises:
        ZooError: The folder exists, the model does not know its options, the numbers of classes and labels differ, or a
            label is empty or has a line break.

    Example:
        >>> import tempfile, zoo
        >>> model = zoo.build("pose_lstm", num_classes=2, joints=13, lstm_units=8)
        >>> folder = zoo.save_pretrained(model, tempfile.mkdtemp() + "/sit_stand", labels=["sit", "stand"])
        >>> sorted(path.name for path in folder.iterdir())
        ['README.md', 'config.json', 'labels.txt', 'model.safetensors']
        >>> zoo.from_pretrained(folder).built_as == model.built_as
        True
    """
    folder = pathlib.Path(folder)
    build = getattr(model, "built_as", None)
    if build is None:
        raise ZooError(f"{model.name} does not know its options: build it with zoo.build and set its weights")
    if labels and len(labels) != build.num_classes:
        raise ZooError(f"{len(labels)} labels, but the model has {build.num_classes} classes")
    for label in labels:
        if label.splitlines() != [label]:  # a line break at its end counts too
            raise ZooError(f"label {label!r} is empty or has a line break, expected one line of text")
    if folder.exists():
        raise ZooError(f"{folder} exists: remove it, or give another folder")
    config = {
        "library": "keras-adl-zoo",
        "format_version": _VERSION,
        "model": build.name,
        "num_classes": build.num_classes,
        "options": built_model.without_sources(build.options),
    }
    with files.whole_folder(folder) as partial:
        files.write_json(partial / CONFIG, config)
        values = {name: np.asarray(weight.numpy(), order="C") for name, weight in named_weights(model).items()}
        arrays.save_file(values, partial / WEIGHTS, metadata={"format": "keras"})
        (partial / WEIGHTS).chmod(0o644)  # readable for everybody, like the other files
        if labels:
            files.write_text(partial / LABELS, "".join(f"{label}\n" for label in labels))
        if inputs is not None:
            files.write_json(partial / INPUTS, dict(inputs))
        files.write_text(partial / CARD, card or _card(build, folder.name))
    return folder


def from_pretrained(source: str | os.PathLike, revision: str | None = None) -> tf.keras.Model:
    """The model of a folder, or of a model hub.

    Args:
        source: A folder of :func:`save_pretrained`; a name of :func:`zoo.list_pretrained`, such as
            ``"pose_gcn_nucla"`` or, once fetched, ``"kinetics400"``; or ``"owner/name"`` of a folder in the Hugging
            Face hub, which needs the package ``huggingface_hub`` (``pip install 'keras-adl-zoo[hub]'``) and the
            network.
        revision: Branch, tag or commit in the hub.

    Returns:
        The model, a :class:`zoo.built_model.BuiltModel`. For its labels and inputs, see :class:`ModelFolder`.

    Raises:
        ZooError: There is no such folder, the hub cannot be reached, or the source holds no model of this zoo.
    """
    entry = catalogue.list_pretrained().get(str(source))
    if isinstance(entry, catalogue.Pretrained):
        model = built_model.built(entry.model, len(entry.labels), {})
        i3d_checkpoint.load(model, fetching.checkpoint(entry.name))
        return model
    return ModelFolder(find(source, revision)).model()


def find(source: str | os.PathLike, revision: str | None = None) -> pathlib.Path:
    """The local folder of a source of :func:`from_pretrained`; a hub's model is downloaded into the hub's cache."""
    path = pathlib.Path(source)
    text = os.fspath(source)
    if shipped := catalogue.shipped("", text):
        return shipped.folder
    if not path.exists() and "/" not in text:
        raise ZooError(
            f"{text}: no such folder and no such weights{messages.nearest(text, catalogue.list_pretrained())}"
        )
    if path.is_dir() or text.count("/") != 1 or text.startswith((".", "/", "~")):
        return path
    try:
        import huggingface_hub
    except ImportError:
        raise ZooError(
            f"{text}: no such folder, and a model hub needs huggingface_hub: pip install 'keras-adl-zoo[hub]'"
        ) from None
    try:
        return pathlib.Path(huggingface_hub.snapshot_download(text, revision=revision, allow_patterns=list(CONTENT)))
    except Exception as error:  # errors of the hub, of its HTTP library or of the network
        raise ZooError(f"{text}: neither a folder nor a model of the hub ({messages.one_line(error)})") from error


def named_weights(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """The weights of a model by name: ``<layer>/<weight>``, inside a network ``<network>/<layer>/<weight>``.

    The names are the same under both versions of Keras. Weights of the same name in a layer are numbered.

    Example:
        >>> import zoo
        >>> list(named_weights(zoo.build("pose_lstm", num_classes=2, joints=13)))[-2:]
        ['classifier/kernel', 'classifier/bias']
    """
    named: dict[str, tf.Variable] = {}
    for layer in model.layers:
        if layers.is_network(layer):
            named.update({f"{layer.name}/{name}": weight for name, weight in named_weights(layer).items()})
            continue
        count: collections.Counter[str] = collections.Counter()
        for weight in layer.weights:
            name = _short_name(weight)
            number = f"_{count[name]}" if count[name] else ""
            named[f"{layer.name}/{name}{number}"] = weight
            count[name] += 1
    return named


def _short_name(weight):
    path = getattr(weight, "path", weight.name)  # Keras 2: conv/kernel:0
    name = path.partition(":")[0].rpartition("/")[2]
    return _NAMES.get(name, name)


def _fill(model, stored):
    """Sets all weights of a model; ``ValueError`` if a name or a shape differs, and the model is unchanged."""
    named = named_weights(model)
    if named.keys() != stored.keys():
        missing, extra = sorted(named.keys() - stored.keys()), sorted(stored.keys() - named.keys())
        wrong = f"has no {missing[0]}" if missing else f"has {extra[0]}, which the model does not"
        raise ValueError(f"{wrong}: it belongs to another model or version of the zoo")
    for name, weight in named.items():
        if tuple(weight.shape) != stored[name].shape:
            raise ValueError(f"{name} has the shape {list(stored[name].shape)}, the model expects {list(weight.shape)}")
    for name, weight in named.items():
        weight.assign(stored[name])


def card_head(title: str, name: str, about: str) -> str:
    """The beginning of a card: what a hub reads, the title, what the model is, and how to load it.

    Args:
        title: The name of the folder.
        name: The method.
        about: What the model is, Markdown.
    """
    return f"""---
library_name: keras
pipeline_tag: video-classification
tags: [activities-of-daily-living, {name}]
---

# {title}

{about}

```python
import zoo

model = zoo.from_pretrained("{title}")  # a tf.keras.Model; the folder, or OWNER/{title} of the hub
```
"""


def _card(build, title):
    paper = registry.get(build.name).paper
    return card_head(title, build.name, f"`{build.name}` with {build.num_classes} classes ({paper}).")
