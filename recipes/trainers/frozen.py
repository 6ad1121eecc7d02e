"""Stored features: the output of a stage's frozen part, computed once for each clip and view (``cache_frozen``).

::

    view v of clip n ─► frozen part, once ─► stages/<stage>/frozen/train-00v/ ─► trained part, every epoch

A view is what training would see of a clip: window, crop and colours drawn from (the recipe's seed, view, clip). Each
time an epoch reads a clip, it draws one of the clip's views. A block of clips is renamed when it is complete, so a
training that was stopped computes only the missing blocks.
"""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from recipes import run_directory
from recipes.config import Recipe, Stage
from recipes.trainers import models, stored_maps
from tfrecords.reading import order, pipeline
from zoo import ZooError, frozen_part
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

_BLOCK_BYTES = 1 << 27  # of features that are computed before they are written
_BLOCK_CLIPS = 64
_SPARE_BYTES = 1 << 28  # left free for checkpoints and logs
_SOURCE = "source.json"
_LABELS = "labels.npy"


def check(model: tf.keras.Model, stage: Stage) -> None:
    """Raises ``UserError`` unless the frozen part of a stage's model can be cut off."""
    if not stage.cache_frozen:
        return
    try:
        frozen_part.cut(model, models.frozen_layers(model, stage))
    except ZooError as error:
        raise UserError(f"stages.{stage.name}.cache_frozen: {error}") from None


def folder(run: pathlib.Path, stage: Stage) -> pathlib.Path:
    """Where a stage's features are stored while it trains."""
    return run_directory.stage_folder(run, stage.name) / "frozen"


def clear(run: pathlib.Path, stage: Stage) -> None:
    """Removes the stored features of a stage."""
    shutil.rmtree(folder(run, stage), ignore_errors=True)


class StoredFeatures:
    """The inputs of the trained part of a stage's model, stored on disk.

    Args:
        stage: A stage with ``cache_frozen``.
        recipe: Its recipe.
        model: The stage's model, its frozen layers not trainable.
        inputs: What the model is fed.
        records: The converted dataset.
        run: Path of the run directory.
        seed: The stage's seed.

    Attributes:
        model: The trained part; it shares its layers with the whole model.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        recipe: Recipe,
        model: tf.keras.Model,
        inputs: pipeline.Inputs,
        records: pipeline.Records,
        run: pathlib.Path,
        seed: int,
    ) -> None:
        frozen = models.frozen_layers(model, stage)
        self._before, self.model = frozen_part.split(model, frozen)
        self._stage, self._recipe, self._inputs, self._records = stage, recipe, inputs, records
        self._seed, self._folder = seed, folder(run, stage)
        self._batch = stage.batch or recipe.batch
        self._cut = [self._before.output[f"cut_{n}"] for n in range(len(self._before.output))]  # in the whole model
        self._shapes = [tuple(tensor.shape[1:]) for tensor in self._cut]
        self._types = [tf.as_dtype(tensor.dtype) for tensor in self._cut]
        maps = stored_maps.StoredMaps(self._before, self._cut, recipe.stored_maps)
        self._with_maps = maps.read
        self._compute = tf.function(lambda features: maps.model(features, training=False))
        clip_bytes = sum(math.prod(shape) * _stored_type(kind).size for shape, kind in zip(self._shapes, self._types))
        self._clip_bytes = clip_bytes
        batches = min(_BLOCK_CLIPS, max(_BLOCK_BYTES // clip_bytes, 1)) // self._batch
        self._block = max(batches, 1) * self._batch

    # ---------------------------------------------------------------------------------------------------- storing

    def store(self) -> None:
        """Computes and stores what is not stored yet.

        Raises:
            UserError: The disk has no space for it.
        """
        self._check_source()
        views = self._views()
        stored = {name: self._stored(name) for name, _, _ in views}
        missing = [(name, data) for name, count, data in views if stored[name] < count]
        clips = sum(count - stored[name] for name, count, _ in views)
        if not clips:
            return
        self._announce(views)
        self._require_space(clips * self._clip_bytes)
        with command_line.progress(clips, f"{self._stage.name}: frozen part") as bar:
            for name, data in missing:
                self._store(name, data(stored[name]), bar.update)

    def _views(self) -> list[tuple[str, int, Callable[[int], tf.data.Dataset]]]:
        """Name, number of clips, and function from a first clip to batches, of every view that the stage reads."""
        recipe, records = self._recipe, self._records
        protocol, split = recipe.data.protocol, recipe.data.train_on

        def training(view):
            return lambda first: pipeline.training_view(
                records, protocol, self._inputs, split=split, batch=self._batch, seed=recipe.seed, view=view,
                augment=recipe.data.augment, first=first,
            )  # fmt: skip

        def validation(first):
            data = pipeline.evaluation(records, protocol, "val", self._inputs, batch=self._batch)
            return data.map(lambda features, label, _: (features, label)).skip(first // self._batch)

        count = records.count(protocol, split, self._inputs)
        found = [(f"train-{view:03d}", count, training(view)) for view in range(self._stage.cache_frozen)]
        if self._stage.epochs:  # a linear probe alone validates nothing
            found.append(("val", records.count(protocol, "val"), validation))
        return found

    def _store(self, name: str, data: tf.data.Dataset, on_clips: Callable[[int], Any]) -> None:
        rows: list[tuple] = []
        clips = 0
        for features, labels in self._with_maps(data):
            cut = self._compute(features)
            values = [tf.cast(cut[f"cut_{n}"], _stored_type(kind)).numpy() for n, kind in enumerate(self._types)]
            rows.append((labels.numpy(), *values))
            clips += len(labels)
            on_clips(len(labels))
            if clips == self._block:
                self._write(name, rows)
                rows, clips = [], 0
        if rows:
            self._write(name, rows)

    def _write(self, name: str, rows: list[tuple]) -> None:
        path = self._folder / name / f"{len(self._blocks(name)):05d}"
        try:
            with files.whole_folder(path) as partial:
                labels, *values = (np.concatenate(arrays) for arrays in zip(*rows))
                np.save(partial / _LABELS, labels)
                for clip in range(len(labels)):
                    (partial / f"{clip:05d}").write_bytes(b"".join(value[clip].tobytes() for value in values))
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written ({error.strerror}), make space and continue with --resume"
            ) from None

    def _blocks(self, name: str) -> list[pathlib.Path]:
        return sorted((self._folder / name).glob("[0-9]*"))

    def _stored(self, name: str) -> int:
        """Number of clips of a view that are stored, in whole blocks and a last one that may be smaller."""
        blocks = self._blocks(name)
        if not blocks:
            return 0
        return (len(blocks) - 1) * self._block + len(np.load(blocks[-1] / _LABELS))

    def _check_source(self) -> None:
        """Removes features of other weights or views than this stage's."""
        weights = hashlib.sha256()
        for value in self._before.get_weights():
            weights.update(np.ascontiguousarray(value).tobytes())
        shapes = [list(shape) for shape in self._shapes]
        source = {"frozen_weights": weights.hexdigest(), "shapes": shapes, "clips_in_a_block": self._block}
        path = self._folder / _SOURCE
        if not path.is_file() or json.loads(path.read_text(encoding="utf-8")) != source:
            shutil.rmtree(self._folder, ignore_errors=True)
            files.write_json(path, source)
        for part in self._folder.iterdir():
            files.remove_partial(part)

    def _announce(self, views: list) -> None:
        clips = sum(count for _, count, _ in views)
        validated = f" and {views[-1][1]} validation clips" if self._stage.epochs else ""
        print(
            f"{self._stage.name}: the frozen part is computed once for {views[0][1]} clips in "
            f"{self._stage.cache_frozen} views{validated}, its output is stored: "
            f"{_size(clips * self._clip_bytes)}, {_size(self._clip_bytes)} each",
            flush=True,
        )

    def _require_space(self, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if needed + _SPARE_BYTES > free:
            raise UserError(
                f"{self._folder}: {_size(needed)} are to be stored, but {_size(free)} are free: make space, or set "
                f"stages.{self._stage.name}.cache_frozen smaller or to 0"
            )

    # ---------------------------------------------------------------------------------------------------- reading

    def training(self, steps: int, first: int, end: int) -> tf.data.Dataset:
        """Batches ``(features, label)`` of passes ``first`` to ``end`` - 1 over the clips; they depend on the seed.

        Args:
            steps: Batches of a pass.
            first: Number of the first pass.
            end: Number after the last one.
        """
        views = [self._clips(f"train-{view:03d}") for view in range(self._stage.cache_frozen)]
        labels, length = views[0][1], steps * self._batch
        paths = tf.constant([paths for paths, _ in views])  # [views, clips]
        is_balanced = self._recipe.data.balance == "classes"

        def one_pass(number):
            key = tf.stack([tf.cast(self._seed, tf.int64), number])
            if is_balanced:
                clips = tf.cast(order.balanced(labels, length, key), tf.int32)
            else:
                clips = tf.random.experimental.stateless_shuffle(tf.range(len(labels)), key)[:length]
            key = tf.random.experimental.stateless_fold_in(key, 2)  # the order has used 0 and 1
            drawn = tf.random.stateless_uniform([length], key, 0, len(views), tf.int32)
            chosen = tf.gather_nd(paths, tf.stack([drawn, clips], axis=1)), tf.gather(labels, clips)
            return tf.data.Dataset.from_tensor_slices(chosen)

        data = tf.data.Dataset.range(first, end).flat_map(one_pass)
        data = data.map(lambda path, label: (self._read(path), label), num_parallel_calls=4, deterministic=True)
        return data.batch(self._batch, drop_remainder=True).prefetch(2)

    def read_by(self, layer: tf.keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
        """The inputs of a layer of the trained part for all training clips, view by view, before anything is trained.

        Args:
            layer: The layer; its inputs are averaged over steps and positions.

        Returns:
            ``[V * N, D]`` float32 and the labels ``[V * N]``, of V views of N clips.
        """
        before_layer = tf.keras.Model(self._cut, layer.input)
        compute = tf.function(lambda cut: before_layer(cut, training=False))
        values, labels = [], []
        for view in range(self._stage.cache_frozen):
            paths, of_view = self._clips(f"train-{view:03d}")
            data = tf.data.Dataset.from_tensor_slices(paths).map(self._read, num_parallel_calls=4).batch(self._batch)
            for features in data:
                read = compute([features[f"cut_{n}"] for n in range(len(self._cut))])  # [B, ..., D]
                values.append(tf.reduce_mean(tf.cast(read, tf.float32), axis=range(1, len(read.shape) - 1)).numpy())
            labels.append(of_view)
        return np.concatenate(values), np.concatenate(labels)

    def validation(self) -> tf.data.Dataset:
        """Batches ``(features, label, clip_number)`` of the validation clips."""
        paths, labels = self._clips("val")
        data = tf.data.Dataset.from_tensor_slices((paths, labels, np.arange(len(labels))))
        data = data.map(lambda path, *clip: (self._read(path), *clip), num_parallel_calls=4, deterministic=True)
        return data.batch(self._batch).prefetch(2)

    def _clips(self, name: str) -> tuple[list[str], np.ndarray]:
        """Paths of the clips of a view, and their labels."""
        blocks = [(block, np.load(block / _LABELS)) for block in self._blocks(name)]
        paths = [str(block / f"{clip:05d}") for block, labels in blocks for clip in range(len(labels))]
        return paths, np.concatenate([labels for _, labels in blocks])

    def _read(self, path: tf.Tensor) -> dict[str, tf.Tensor]:
        """The stored features of a clip, by the names of the trained part's inputs."""
        content, first, features = tf.io.read_file(path), 0, {}
        for number, (kind, shape) in enumerate(zip(self._types, self._shapes)):
            stored = _stored_type(kind)
            size = math.prod(shape) * stored.size
            values = tf.io.decode_raw(tf.strings.substr(content, first, size), stored)
            features[f"cut_{number}"] = tf.cast(tf.reshape(values, shape), kind)
            first += size
        return features


def _stored_type(kind: tf.DType) -> tf.DType:
    """NumPy has no bfloat16; float32 holds its values exactly."""
    return tf.float32 if kind == tf.bfloat16 else kind


def _size(count: int) -> str:
    unit, name = next(((10**n, name) for n, name in ((9, "GB"), (6, "MB")) if count >= 10 ** (n - 1)), (1000, "kB"))
    return f"{count / unit:.2f} {name}"
