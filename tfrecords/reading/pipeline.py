"""The reader: from the shards of a converted dataset to the batches a model accepts.

::

    shards ─► records ─► order ─► parse ─► choose frames ─► decode those, cropping ─► [-1, 1] ─► resize ─► batch
                                    └────► normalise poses ─► choose steps ─► augment ───────────────────────┘

:mod:`tfrecords.reading.order` determines the order; :mod:`tfrecords.reading.clips` processes one clip.

A record is parsed first, its frames are chosen, and only those are decoded. Every random choice is a function of
(seed, epoch, position), so a resumed training sees the batches it would have seen, and reading in parallel changes
nothing (except with ``deterministic=False``, which lets clips overtake each other).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import tensorflow as tf

from tfrecords import schema
from tfrecords.reading import augmentation, order
from tfrecords.reading.clips import (
    FULL,
    Features,
    Views,
    clip_id,
    count_frames,
    cut_segments,
    evaluated_view,
    has_pose,
    label,
    load_segments,
    pose_sequence,
    training_clip,
)
from tfrecords.reading.graph import as_written
from tfrecords.reading.inputs import FRAMES_AT, Inputs
from tfrecords.reading.records import TRAIN_AND_VAL, Records
from zoo.shared.errors import UserError

__all__ = [
    "BALANCES",
    "FRAMES_AT",
    "FULL",
    "TRAIN_AND_VAL",
    "Inputs",
    "Records",
    "centre_view",
    "clip_ids",
    "evaluation",
    "pose_sequence",
    "segments",
    "training",
    "training_view",
]

BALANCES = ("none", "classes")


def _shards(records, protocol, split):
    return [str(path) for path in records.shards(protocol, split)]


def _training_records(records, protocol, split, inputs, files, in_order):
    """Serialised records of shards that a model is trained on: all, or for poses alone those with a pose."""
    data = order.read(files, in_order)
    if records.count(protocol, split, inputs) == records.count(protocol, split):
        return data
    return data.filter(as_written(lambda record: has_pose(record, inputs)))


def training(
    records: Records,
    protocol: str,
    inputs: Inputs,
    *,
    split: str = "train",
    batch: int,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    augment: augmentation.Augmentation | None = None,
    cache: bool = False,
    balance: str = "none",
    shard: tuple[int, int] = (0, 1),
    deterministic: bool = True,
) -> tf.data.Dataset:
    """Shuffled, augmented batches of all epochs of a training.

    A model of poses alone is not trained on clips in which nobody's pose is known.

    Args:
        records: A :class:`Records`.
        protocol: One of its protocols.
        inputs: What the model is fed.
        split: Which part of the protocol; :data:`TRAIN_AND_VAL` is both.
        batch: Clips per batch. Every epoch has :meth:`Records.steps` batches; the clips left over differ by epoch.
        seed: Integer; with the epoch it determines order and augmentation.
        epochs: Epochs in all.
        first_epoch: Epoch at which a resumed training continues.
        augment: An :class:`tfrecords.reading.augmentation.Augmentation`; default: its defaults.
        cache: Keep the records in memory after the first epoch, with pictures as JPEG files, and only of the body parts
            that the model is fed.
        balance: ``none``: every clip once per epoch. ``classes``: every class equally often, see
            :func:`tfrecords.reading.order.balanced`; clips of rare classes come several times, each time with a new
            augmentation; clips of frequent classes do not come in every epoch. Epochs are as long as with ``none``.
        shard: ``(index, count)``: this is worker ``index`` of ``count``. Each worker gets a disjoint part of every
            epoch, with the same number of batches of ``batch`` clips. Whole shards are divided where they can be
            divided evenly, else single records. With balance ``classes`` the classes' turns are divided: a clip of a
            rare class may go to several workers.
        deterministic: Whether the order is a function of seed and epoch; else clips that were read and decoded sooner
            overtake others, also into the next epoch.

    Returns:
        A ``tf.data.Dataset`` of ``(features, label)``: features as :meth:`Inputs.signature` with a batch axis, label
        ``[batch]`` int32, numbered as :meth:`Records.labels_of`.

    Raises:
        UserError: The dataset cannot feed the model, or a batch is larger than the worker's part of the split.
        ValueError: ``balance`` or ``shard`` is none of the above.

    Example:
        >>> records = Records("data/nucla")  # doctest: +SKIP
        >>> inputs = Inputs(pose_steps=5, layout=records.layout)  # doctest: +SKIP
        >>> data = training(records, "v3_12", inputs, batch=16, seed=0, epochs=30)  # doctest: +SKIP
    """
    augment = augment or augmentation.Augmentation()
    index, workers = shard
    if not 0 <= index < workers:
        raise ValueError(f"shard is {shard}, expected (index, count) with index from 0 to count - 1")
    if balance not in BALANCES:
        raise ValueError(f"balance is {balance!r}, expected one of {', '.join(BALANCES)}")
    records.check(inputs, protocol, split)
    steps = records.steps(protocol, split, batch, workers, inputs)
    if not steps:
        among = f" for each of {workers} workers" if workers > 1 else ""
        clips = records.count(protocol, split, inputs)
        posed = " with a pose" if clips < records.count(protocol, split) else ""
        raise UserError(
            f"batch {batch}{among} is larger than {protocol} {split}, which has {clips} clips{posed}: use a smaller one"
        )
    epoch_of = _balanced_epochs if balance == "classes" else _shuffled_epochs
    ordered = epoch_of(records, protocol, split, inputs, steps * batch, shard, cache, deterministic)

    def one_epoch(epoch):
        key = tf.stack([tf.cast(seed, tf.int64), epoch])  # [2]
        # Positions are counted over all workers together, so that two workers' augmentations differ.
        numbered = ordered(key).take(steps * batch).enumerate()

        def keyed(number, record):
            return record, tf.random.experimental.stateless_fold_in(key, number * workers + index)

        return numbered.map(as_written(keyed))

    label_numbers = records.label_numbers(protocol)
    data = tf.data.Dataset.range(first_epoch, epochs).flat_map(as_written(one_epoch))
    data = data.map(
        as_written(lambda record, key: training_clip(record, key, inputs, augment, label_numbers)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=deterministic,
    )
    return data.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def training_view(
    records: Records,
    protocol: str,
    inputs: Inputs,
    *,
    split: str = "train",
    batch: int,
    seed: int,
    view: int,
    augment: augmentation.Augmentation,
    first: int = 0,
) -> tf.data.Dataset:
    """One augmented view of every training clip, in the order of the shards, to be stored and seen several times.

    The clips are those of :func:`training`.

    Args:
        records: A :class:`Records`.
        protocol: One of its protocols.
        inputs: What the model is fed.
        split: Which part of the protocol; :data:`TRAIN_AND_VAL` is both.
        batch: Clips per batch; the last one may be smaller.
        seed: Integer; with the view's number and the clip's id it determines the augmentation, whatever other clips
            are in the split.
        view: Number of the view.
        augment: An :class:`tfrecords.reading.augmentation.Augmentation`.
        first: Clips to leave out at the beginning.

    Returns:
        A ``tf.data.Dataset`` of ``(features, label)`` as :func:`training`.

    Raises:
        UserError: The dataset cannot feed the model.
    """
    records.check(inputs, protocol, split)
    label_numbers = records.label_numbers(protocol)

    def load(record):
        number = tf.strings.to_hash_bucket_fast(clip_id(record), tf.int64.max)
        key = tf.random.experimental.stateless_fold_in(tf.constant([seed, view], tf.int64), number)
        return training_clip(record, key, inputs, augment, label_numbers)

    data = _training_records(records, protocol, split, inputs, _shards(records, protocol, split), True)
    data = data.skip(first)
    data = data.map(as_written(load), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.batch(batch).prefetch(tf.data.AUTOTUNE)


def _shuffled_epochs(records, protocol, split, inputs, length, shard, cache, deterministic):
    """Function of an epoch's key that gives its records: each of the worker's once, at least ``length``."""
    index, workers = shard
    files, counts = _shards(records, protocol, split), records.shard_counts(protocol, split, inputs)
    mine = order.files_of_workers(counts, workers)
    by_files = min(sum(counts[number] for number in part) for part in mine) >= length
    if by_files:
        files, counts = ([values[number] for number in mine[index]] for values in (files, counts))
    # Workers take records in turn: the parts are disjoint only if all workers read in the same order.
    in_order = deterministic or not by_files
    count = sum(counts)

    def read(files):
        data = _training_records(records, protocol, split, inputs, files, in_order)
        return data if by_files else data.shard(workers, index)

    cached = _cached(read(files), records, inputs) if cache else None

    def epoch(key):
        if cached is not None:
            return order.shuffle(cached, count + 1, key)  # + 1: a cache is complete once read to its end
        shuffled = tf.random.experimental.stateless_shuffle(tf.constant(files), key)
        return order.shuffle(read(shuffled), min(count, order.SHUFFLE_BUFFER), key)

    return epoch


def _balanced_epochs(records, protocol, split, inputs, length, shard, cache, deterministic):
    """Function of an epoch's key that gives its records: equally many of each class, ``length`` for this worker."""
    number, workers = shard
    index = order.Index.of(records.shards(protocol, split), records.left_out(protocol, split, inputs))
    everything = tf.range(len(index.label))
    cached = _cached(index.read(everything), records, inputs).batch(len(everything) + 1) if cache else None

    def epoch(key):
        picks = order.balanced(index.label, length * workers, key)[number::workers]
        if cached is not None:
            picked = tf.data.Dataset.from_tensor_slices(picks)
            return cached.flat_map(lambda batch: picked.map(lambda pick: batch[pick]))  # one by one: no copy
        return index.read(picks, deterministic)

    return epoch


def _cached(data, records, inputs):
    """Records in memory, without pictures that the model is not fed: poses take a hundredth of their memory."""
    unseen = set(records.parts) - {inputs.stored_part(part) for part in inputs.picture_names}
    if unseen:

        def smaller(record):
            less = tf.numpy_function(lambda one: schema.without_pictures(one, unseen), [record], tf.string)
            return tf.ensure_shape(less, [])

        data = data.map(as_written(smaller))
    return data.cache()


def centre_view(record: tf.Tensor, inputs: Inputs) -> Features:
    """A model's inputs in evaluation with one window and one crop, in a graph whose input is the record.

    Args:
        record: Scalar string tensor, a clip as :func:`tfrecords.schema.encode` writes it.
        inputs: What the model is fed, an :class:`Inputs`.

    Returns:
        Feature name -> tensor, as :meth:`Inputs.signature`.

    Raises:
        tf.errors.InvalidArgumentError: (when run) not such a record, or it lacks an input of the model.
    """
    return evaluated_view(record, 0, inputs, Views())[0]


def evaluation(
    records: Records,
    protocol: str,
    split: str,
    inputs: Inputs,
    *,
    batch: int,
    clips: int | str = 1,
    crops: int | str = 1,
    pose_crop: float = 1.0,
    change_poses: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    swap_persons: bool = False,
    flip: bool = False,
) -> tf.data.Dataset:
    """Every clip of a split in a fixed order, in one or several views.

    Args:
        records: A :class:`Records`.
        protocol: One of its protocols.
        split: Which part of it.
        inputs: What the model is fed.
        batch: Views per batch; the last batch may be smaller.
        clips: Windows per recording, or ``"all"`` for as many as cover it; one window is centred. A model of poses
            alone, or of poses and their frames, gets the same number of samplings of the whole recording instead.
        crops: 1 (the centred square) or 3 (and two corners), per window. ``"full"``: the whole picture in its own
            proportions, the shorter side of ``inputs.size`` pixels. All views of a batch have the same size then:
            views come in another order if a split has pictures of several sizes.
        pose_crop: Samplings are taken from parts of a recording, of lengths from this fraction to the whole; 1: always
            the whole recording.
        change_poses: Changes a recording's poses before they are normalised: a function of the poses
            ``[frames, M, J, 3]``, metres, and the clip number, to test a model on worse poses.
        swap_persons: Every view is taken in both orders of the persons.
        flip: Every view is taken as it is and mirrored, as training mirrors: pictures, left and right joints, and the
            two hands' pictures.

    Returns:
        A ``tf.data.Dataset`` of ``(features, label, clip_number)``: the label as in :func:`training`;
        ``clip_number`` counts the split's clips, all views of a clip share it.

    Raises:
        UserError: The dataset cannot feed the model.
        ValueError: ``crops`` is none of the above.
    """
    if crops not in (1, 3, FULL):
        raise ValueError(f"crops is {crops!r}, expected 1, 3 or {FULL!r}")
    records.check(inputs, protocol, split)
    views = Views(clips, crops, pose_crop, swap_persons, flip)
    label_numbers = records.label_numbers(protocol)

    def views_of(number, record):
        count = views.count(count_frames(record), inputs)
        return tf.data.Dataset.range(count).map(lambda view: (number, record, view))

    def load(number, record, view):
        change = None if change_poses is None else lambda xyz: change_poses(xyz, number)
        features, parsed = evaluated_view(record, view, inputs, views, change)
        return features, label(parsed, label_numbers), number

    data = order.read(_shards(records, protocol, split)).enumerate().flat_map(as_written(views_of))
    data = data.map(as_written(load), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if crops == FULL and inputs.frames:
        (name, *_) = inputs.picture_names.values()

        def size(features, *_):
            height, width = tf.unstack(tf.shape(features[name], tf.int64)[1:3])
            return height * 2**32 + width

        data = data.group_by_window(as_written(size), lambda _, views: views.batch(batch), batch)
        return data.prefetch(tf.data.AUTOTUNE)
    return data.batch(batch).prefetch(tf.data.AUTOTUNE)


def segments(path: str | os.PathLike[str], inputs: Inputs, granularities: tuple[int, ...]) -> tf.data.Dataset:
    """A network's inputs for the segments of a shard's clips: clip after clip, granularity after granularity.

    A clip is cut into G equal segments for every granularity G. A segment's frames and pose steps are the middles of
    ``inputs.frames`` and ``inputs.pose_steps`` equal parts of it. They are evenly spread, and frames of a short segment
    are repeated. Every frame is decoded once.

    Args:
        path: Path of the shard.
        inputs: The network's inputs for a clip, here for a segment.
        granularities: Numbers of segments.

    Returns:
        A ``tf.data.Dataset`` of features as :meth:`Inputs.signature`, one element per segment.

    Raises:
        UserError: The network is fed interpolated poses.
    """
    if inputs.interpolate:
        raise UserError(
            "the network takes interpolated poses (data.interpolate), but the poses of segments are those of frames"
        )
    data = tf.data.TFRecordDataset(str(path))
    load = as_written(lambda record: load_segments(record, inputs, granularities))
    data = data.map(load, num_parallel_calls=2, deterministic=True)
    return data.flat_map(as_written(lambda features, rows: cut_segments(features, rows, inputs)))


def clip_ids(records: Records, protocol: str, split: str) -> list[str]:
    """Ids of a split's clips, in the order of :func:`evaluation`'s clip numbers."""
    if not records.count(protocol, split):
        return []
    data = order.read(_shards(records, protocol, split)).map(as_written(clip_id))
    return [found.decode() for found in data.as_numpy_iterator()]
