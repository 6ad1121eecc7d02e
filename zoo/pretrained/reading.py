"""Weights: reading models and weight files, carrying a trained stage over into a larger model, published weights."""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import urllib.request
import zipfile

import h5py
import tensorflow as tf
from tqdm import tqdm

from zoo import factory, registry
from zoo.checks import ZooError
from zoo.layers import HEAD, every_layer, is_network
from zoo.shared import command_line, messages

_TOWERS = ("", "full_body.", "joined.")  # prefixes of P-I3D's layers, where the weights of an I3D of the body may go


def load_model(path):
    """The model saved in a ``.keras`` file.

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
            name = json.loads(archive.read("config.json"))["config"]["name"]
        registry.get(name)  # the method's module defines the layers that the file names
        return tf.keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = messages.one_line(error)
        raise ZooError(f"{path}: not a Keras model that can be read here: {reason}") from error


def load_weights(model, path):
    """Reads a ``.weights.h5`` file into a model of the same architecture.

    Keras finds a layer in such a file by its class and its order in the model. What is compared is number and shapes
    of each layer's weights and, if Keras 3 wrote the file and reads it, the layers' names. Keras 2 has no names there:
    weights of another architecture with layers of the same classes and shapes are taken for the model's own, such as
    those of ``sa_ta`` for ``ta_sa`` in a ``separable_sta`` with as many places as times. A ``.keras`` file is safe from
    that with either: :func:`transfer_weights` goes by names.

    Args:
        model: The model.
        path: The file.

    Returns:
        The model.

    Raises:
        ZooError: No such file, or its weights do not fit the model as far as they are compared.
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
    """Raises ``ValueError`` unless the layers of a weight file, where it names them, are called as those of a model."""
    names = _names(path)
    if not names:
        return
    with tempfile.TemporaryDirectory() as folder:
        own = pathlib.Path(folder, "own.weights.h5")  # says which layer Keras would look for at which place
        model.save_weights(own)
        expected = _names(own)
    for place, name in names.items():
        if expected.get(place, name) != name:
            raise ValueError(f"it has a layer {name!r} in the place of {expected[place]!r}")


def _names(path):
    """Place in a weight file -> name of the layer with weights that it is of; nothing if the file has no names.

    The number at the end of a name is left out: Keras gives one to layers that were not named, and another each time.
    """
    names, values = {}, []

    def note(place, item):
        if isinstance(item, h5py.Dataset):
            values.append(place)
        elif "name" in item.attrs:  # of <layer>/vars
            names[place.rpartition("/")[0]] = re.sub(r"_\d+$", "", item.attrs["name"])

    with h5py.File(path) as file:
        file.visititems(note)
    return {layer: name for layer, name in names.items() if any(value.startswith(f"{layer}/") for value in values)}


def transfer_weights(source, target):
    """Copies the weights of a trained model into another that contains it.

    Layers correspond by name, those inside a network that is itself a layer included; an I3D's layers may also be those
    of a P-I3D's full-body tower. Everything of the source must have its place in the target: a transfer never goes on
    with random weights in silence. The exception is the head (the layer ``classifier``), which starts anew where it
    reads other features or names other classes. It is copied

    * into a model of the same layers and shapes, where training goes on;
    * into a target that adds the scores of the source to its own and so has the source's head too, under the name
      ``<source>.classifier``, as ``sta_hands`` has that of a ``pose_cnn``;
    * into a target that contains a whole model of the source's name, as ``global`` does.

    Args:
        source: The trained model, such as an ``i3d``.
        target: A model that contains its layers, such as a ``separable_sta``.

    Returns:
        Names of the target's layers that were filled.

    Raises:
        ZooError: A layer of the source is missing from the target, comes twice in it, or differs in shape; the target
            is unchanged.

    Example:
        >>> import zoo
        >>> small = {"frames": 8, "size": 32, "width": 0.125}
        >>> backbone = zoo.build("i3d", num_classes=4, **small)
        >>> model = zoo.build("separable_sta", num_classes=4, pose_steps=5, joints=20, **small)
        >>> len(zoo.transfer_weights(backbone, model))
        114
    """
    whole = [layer for layer in target.layers if is_network(layer) and layer.name == source.name]
    sources, targets = _with_weights(source), _with_weights(whole[0] if whole else target)
    places = {name: _place(name, source, targets) for name in sources}
    shapes, target_shapes = _shapes(sources), _shapes(targets)
    if not whole and shapes != target_shapes and places.get(HEAD) == HEAD:
        del places[HEAD]
    for name, place in places.items():
        if not place:
            raise ZooError(f"{target.name} has no layer {name!r}, which {source.name} would be copied into")
        if len(targets[place]) > 1:
            raise ZooError(f"{target.name} has {len(targets[place])} layers {place!r}: copy into one model of it")
        have, want = shapes[name], target_shapes[place]
        if have != want:
            raise ZooError(
                f"layer {name!r} has weights of shapes {have} in {source.name} and {want} in {target.name}: "
                "build both with the same options"
            )
    if not places:
        raise ZooError(f"{source.name} has no layers to copy into {target.name}")
    for name, place in places.items():
        targets[place][0].set_weights(sources[name][0].get_weights())
    return list(places.values())


def _place(name, source, targets):
    """Name of the layer that a layer of the source is copied to; nothing if there is none."""
    prefixes = (f"{source.name}.", "") if name == HEAD else _TOWERS
    return next((prefix + name for prefix in prefixes if prefix + name in targets), None)


def _with_weights(model):
    """Name -> the layers of that name, of the layers that have weights."""
    layers = collections.defaultdict(list)
    for layer in every_layer(model):
        if layer.weights:
            layers[layer.name].append(layer)
    return dict(layers)


def _shapes(layers):
    """Name -> shapes of the weights, of :func:`_with_weights`."""
    return {name: [tuple(weight.shape) for layer in same for weight in layer.weights] for name, same in layers.items()}


def initialise(model, weights):
    """Gives a model weights to start from.

    Args:
        model: The model; its attributes and options stay.
        weights: One of

            * ``"kinetics400"``: the published I3D weights, from the cache (``python -m zoo.weights`` puts them there);
            * a TensorFlow checkpoint of I3D or, to be inflated, of Inception-v1: its path without ``.index``, see
              :mod:`zoo.pretrained.i3d_checkpoint`;
            * a ``.keras`` model of this zoo that this one contains, see :func:`transfer_weights`;
            * a ``.weights.h5`` file of a model with the same layers and shapes.

    Raises:
        ZooError: There are no such weights or they do not fit; the model never keeps random weights in silence.
    """
    if not isinstance(weights, (str, os.PathLike)):
        raise ZooError(f"weights is {weights!r}, expected 'kinetics400' or the path of a file")
    path = pathlib.Path(weights)
    if weights == KINETICS400:
        path = cached(KINETICS400) / _PREFIX
        if not path.with_name(f"{_PREFIX}.index").is_file():
            raise ZooError(f"weights 'kinetics400' are not in {path.parent}: fetch them with python -m zoo.weights")
    if path.suffix == ".keras":
        transfer_weights(load_model(path), model)
    elif path.suffix == ".h5":
        load_weights(model, path)
    elif pathlib.Path(f"{path}.index").is_file():
        from zoo.pretrained import i3d_checkpoint

        i3d_checkpoint.load(model, path)
    else:
        raise ZooError(
            f"weights {str(weights)!r} are neither 'kinetics400' nor a file: expected a .keras model, a .weights.h5 "
            "file or a TensorFlow checkpoint without its .index"
        )


# ------------------------------------------------------------------------------------------- fetching what is published

KINETICS400 = "kinetics400"
KINETICS_CLASSES = 400
PUBLISHED = "https://github.com/google-deepmind/kinetics-i3d/raw/master/data/checkpoints/rgb_imagenet"
_PREFIX = "model.ckpt"
_FILES = (f"{_PREFIX}.data-00000-of-00001", f"{_PREFIX}.index")


def cached(name):
    """The folder that published weights of a name are kept in, below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "keras-adl-zoo" / name


def fetch(source=PUBLISHED, sha256=None):
    """Puts the published I3D weights into the cache, once they were read whole into an I3D.

    Args:
        source: URL or folder that holds the files of the checkpoint.
        sha256: SHA-256 expected of the data file, in hexadecimal; default: not compared. Damage is noticed without it
            too: the index has a checksum of every variable.

    Returns:
        The folder they are in.

    Raises:
        ZooError: A file cannot be fetched, has another SHA-256 or is not what is published; the cache is as it was.
    """
    folder = cached(KINETICS400)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{KINETICS400}.") as partial:
        partial = pathlib.Path(partial, KINETICS400)
        partial.mkdir()
        for name in _FILES:
            digest = _download(f"{_as_url(source)}/{name}", partial / name)
            if sha256 and name == _FILES[0] and digest != sha256.lower():
                raise ZooError(f"{source}/{name}: SHA-256 is {digest}, expected {sha256}: not kept")
        factory.build("i3d", num_classes=KINETICS_CLASSES, weights=partial / _PREFIX)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return folder


def _as_url(source):
    return source if "://" in str(source) else pathlib.Path(source).resolve().as_uri()


def _download(url, target):
    """Reads a URL into a file; returns the SHA-256."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as response, open(target, "wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            name = url.rpartition("/")[2]
            with tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=None) as bar:
                while block := response.read(1 << 20):
                    digest.update(block)
                    file.write(block)
                    bar.update(len(block))
    except OSError as error:  # URLError among them
        raise ZooError(f"{url} cannot be fetched: {getattr(error, 'reason', error)}") from error
    if size and target.stat().st_size != size:
        raise ZooError(f"{url}: ended after {target.stat().st_size} of {size} bytes: try again")
    return digest.hexdigest()


def main(argv=None):
    """``python -m zoo.weights``; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.weights",
        description="Fetch the published I3D weights (ImageNet, then Kinetics-400) for weights='kinetics400'.",
        epilog=f"They are published at {PUBLISHED}.",
    )
    parser.add_argument("--source", default=PUBLISHED, metavar="URL|DIR", help="where its files are (default: there)")
    parser.add_argument("--sha256", metavar="HEX", help="expected SHA-256 of the data file")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    try:
        folder = fetch(arguments.source, arguments.sha256)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"read and kept in {folder}: zoo.build(..., weights='{KINETICS400}')")
    return 0
