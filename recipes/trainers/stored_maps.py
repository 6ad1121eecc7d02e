"""Stored maps: what frozen networks of pictures compute, kept in a folder for later runs (``stored_maps``).

::

    pictures of a clip ─► SHA-256 ─► in the folder? ─┬─ yes: read it
                                                     └─ no: network ─► feature map, written to the folder

The pictures' values and the network's weights identify a map. So other stages, seeds, splits and models that apply the
same network to the same pictures read it, and nothing else does.
"""

from __future__ import annotations

import hashlib
import pathlib
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.config import Stage
from recipes.trainers import models
from zoo import ZooError, frozen_part
from zoo.shared import files, messages


class StoredMaps:
    """The picture networks at the start of a model; each reads its maps from a folder.

    Args:
        model: A functional model.
        fixed: Tensors of it that are the same in training and in tests, see :func:`zoo.frozen_part.take_maps`.
        folder: Where maps are kept; empty: nowhere, the model computes them.

    Attributes:
        model: The rest of the model; its inputs are maps in place of pictures.
    """

    def __init__(self, model: tf.keras.Model, fixed: Sequence[tf.Tensor], folder: str) -> None:
        networks, rest = frozen_part.take_maps(model, fixed) if folder else ({}, None)
        self.model = model if rest is None else rest
        self._networks = {name: _Network(name, network, pathlib.Path(folder)) for name, network in networks.items()}

    def read(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """Batches ``(features, ...)`` with maps in place of pictures."""
        if not self._networks:
            return data

        def replaced(features: dict[str, tf.Tensor], *others: Any) -> tuple:
            maps = {name: network.maps(features[name]) for name, network in self._networks.items()}
            return {name: maps.get(name, features[name]) for name in self.model.input}, *others

        return data.map(replaced).prefetch(2)


def of_stage(model: tf.keras.Model, stage: Stage, folder: str) -> StoredMaps:
    """The stored maps of a stage's trained model, or of a model of some of its layers; they need frozen layers."""
    if not folder:
        return StoredMaps(model, [], folder)
    try:
        fixed = frozen_part.cut(model, models.matching(model, stage.freeze))
    except ZooError:  # nothing was frozen
        fixed = []
    return StoredMaps(model, fixed, folder)


class _Network:
    """A network and the folder of its maps."""

    def __init__(self, name: str, network: tf.keras.Model, folder: pathlib.Path) -> None:
        digest = hashlib.sha256(repr((network.output_shape[1:], network.output.dtype)).encode())
        for value in network.get_weights():
            digest.update(value.tobytes())
        self._folder = folder / digest.hexdigest()[:16]
        self._shape, self._type = network.output.shape[1:], tf.as_dtype(network.output.dtype)
        self._is_full = False

        @tf.function(reduce_retracing=True)  # the number of missing clips varies
        def compute(pictures):
            return tf.cast(network({name: pictures}, training=False), tf.float32)

        self._compute = compute

    def maps(self, pictures: tf.Tensor) -> tf.Tensor:
        """``[B, t, m, n, c]`` of a batch of pictures ``[B, T, H, W, 3]``, in a graph."""
        network = weakref.proxy(self)  # TensorFlow keeps the function to the end of the process, and longer
        (maps,) = tf.numpy_function(lambda clips: network._read(clips), [pictures], [tf.float32], stateful=False)
        return tf.cast(tf.ensure_shape(maps, (pictures.shape[0], *self._shape)), self._type)

    def _read(self, pictures: np.ndarray) -> list[np.ndarray]:
        paths = [self._folder / f"{hashlib.sha256(clip.tobytes()).hexdigest()}.npy" for clip in pictures]
        maps = {number: values for number, path in enumerate(paths) if (values := _load(path)) is not None}
        missing = [number for number in range(len(paths)) if number not in maps]
        if missing:
            computed = self._compute(tf.constant(pictures[missing])).numpy()
            for number, values in zip(missing, computed):
                maps[number] = values
                self._write(paths[number], values)
        return [np.stack([maps[number] for number in range(len(paths))])]

    def _write(self, path: pathlib.Path, values: np.ndarray) -> None:
        """Writes a map. If the disk is full, the run continues: later runs compute the map again."""
        if self._is_full:
            return
        try:
            with files.whole_file(path) as partial, partial.open("wb") as file:
                np.save(file, values)
        except OSError as error:
            self._is_full = True
            messages.warn(f"{path.parent}: no further maps are stored ({error.strerror}), make space for the next run")


def _load(path: pathlib.Path) -> np.ndarray | None:
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):  # not there, or damaged
        return None
