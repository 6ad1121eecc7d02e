"""Which clips a training sees, and in which order: shuffled, class by class, divided between workers.

Records stay compressed here. Every order is a function of a key, which :func:`tfrecords.reading.pipeline.training`
derives from seed and epoch.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrecords.reading import random_access

SHUFFLE_BUFFER = 512  # records
_READ_CYCLE = 16  # shards, or records, read in parallel
_BUFFER_BYTES = 1 << 18  # bytes per read of a single record; a record with pictures takes several reads


def read(files: Sequence[str] | tf.Tensor, deterministic: bool = True) -> tf.data.Dataset:
    """Serialised records of shards, read in parallel.

    Args:
        files: Paths, a list or a tensor of strings.
        deterministic: Whether the order is fixed; else other shards overtake a slow one.

    Returns:
        A ``tf.data.Dataset`` of strings.
    """
    return tf.data.Dataset.from_tensor_slices(files).interleave(
        tf.data.TFRecordDataset,
        cycle_length=_READ_CYCLE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=deterministic,
    )


def shuffle(data: tf.data.Dataset, buffer: int, key: tf.Tensor) -> tf.data.Dataset:
    """Shuffles ``buffer`` records at a time. Unlike ``Dataset.shuffle``, it depends on the key, not a global seed."""

    def permute(number, chunk):
        return tf.random.experimental.stateless_shuffle(chunk, tf.random.experimental.stateless_fold_in(key, number))

    return data.batch(buffer).enumerate().map(permute).unbatch()


# -------------------------------------------------------------------------------------------------------- workers


def files_of_workers(clips: Sequence[int], workers: int) -> list[list[int]]:
    """Which shards each worker reads, so that the clips are divided as evenly as whole shards allow.

    Args:
        clips: Clips of every shard.
        workers: Number of workers.

    Returns:
        One list of shards' numbers per worker.

    Example:
        >>> files_of_workers([4, 4, 3, 1, 2], 2)
        [[0, 2], [1, 3, 4]]
    """
    parts: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for number in sorted(range(len(clips)), key=lambda number: (-clips[number], number)):
        lightest = loads.index(min(loads))
        parts[lightest].append(number)
        loads[lightest] += clips[number]
    return [sorted(part) for part in parts]


# ------------------------------------------------------------------------------------------------ class by class


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """The location and the class of every record of some shards.

    Attributes:
        files: Paths of the shards.
        file: ``[N]`` number of a record's shard.
        offset: ``[N]`` first byte of the record's frame in it.
        label: ``[N]`` stored label.
    """

    files: tuple[str, ...]
    file: np.ndarray
    offset: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, files: Sequence[str | os.PathLike], leave_out: Sequence[Sequence[int]] = ()) -> Index:
        """Reads the first bytes of every record, and no pictures.

        Args:
            files: Paths of the shards.
            leave_out: For each shard the numbers of records that are not in the index; default: none.
        """
        with concurrent.futures.ThreadPoolExecutor(_READ_CYCLE) as pool:
            shards = list(pool.map(random_access.labels, files))
        for shard, numbers in zip(shards, map(set, leave_out)):
            shard[:] = [entry for number, entry in enumerate(shard) if number not in numbers]
        return cls(
            files=tuple(map(str, files)),
            file=np.repeat(np.arange(len(shards)), [len(shard) for shard in shards]),
            offset=np.array([offset for shard in shards for offset, _ in shard], np.int64),
            label=np.array([label for shard in shards for _, label in shard], np.int64),
        )

    def read(self, picks: tf.Tensor, deterministic: bool = True) -> tf.data.Dataset:
        """The records at some positions in the index, in the order of the positions.

        Args:
            picks: ``[n]`` integer tensor.
            deterministic: Whether to keep this order; else other records overtake a slow one.

        Returns:
            A ``tf.data.Dataset`` of strings.
        """
        located = tf.gather(tf.constant(self.files), tf.gather(self.file, picks)), tf.gather(self.offset, picks)

        def read_one(file, offset):
            # TFRecordDataset has no argument for the offset; its operation, which is also public, has one.
            variant = tf.raw_ops.TFRecordDatasetV2(
                filenames=file, compression_type="", buffer_size=_BUFFER_BYTES, byte_offsets=offset, metadata=""
            )
            return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string)).take(1)

        return tf.data.Dataset.from_tensor_slices(located).interleave(
            read_one, cycle_length=_READ_CYCLE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=deterministic
        )


def balanced(labels: np.ndarray | tf.Tensor, length: int, key: tf.Tensor | Sequence[int]) -> tf.Tensor:
    """An order in which every class comes equally often.

    Classes take turns: each round has every class once, in its own random order. So the classes' numbers of clips
    differ by at most one for any length, and batches are nearly balanced too. Within a class, clips come in a random
    order, and no clip is repeated before all have come. This needs the location of every clip: a stream would repeat
    the clips of a rare class in a row, or read all shards once per class.

    Args:
        labels: ``[N]`` class of every clip; classes without clips take no turns.
        length: Clips in an epoch.
        key: ``[2]`` int64: the order is a function of it.

    Returns:
        ``[length]`` int32, indices into ``labels``.

    Example:
        >>> order = balanced([0, 0, 0, 0, 0, 0, 7], 6, [0, 1]).numpy()
        >>> sorted((order == 6).tolist())
        [False, False, False, True, True, True]
    """
    fold_in = tf.random.experimental.stateless_fold_in
    key = tf.cast(key, tf.int64)
    shuffled = tf.random.experimental.stateless_shuffle(tf.range(tf.size(labels)), fold_in(key, 0))
    names, of_clip, counts = tf.unique_with_counts(tf.gather(labels, shuffled))
    by_class = tf.gather(shuffled, tf.argsort(of_clip, stable=True))  # [N], a class's clips side by side
    first = tf.cumsum(counts, exclusive=True)
    classes = tf.size(names)
    rounds = -(-length // classes)
    turns = tf.argsort(tf.random.stateless_uniform([rounds, classes], fold_in(key, 1)), axis=1)
    turn = tf.reshape(turns, [-1])[:length]
    nth = tf.range(length) // classes
    return tf.gather(by_class, tf.gather(first, turn) + nth % tf.gather(counts, turn))
