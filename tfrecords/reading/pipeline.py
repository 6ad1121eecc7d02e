"""The reader: from the shards of a converted dataset to the batches a model accepts.

::

    shards ─► records ─► order ─► parse ─► choose frames ─► decode those, cropping ─► [-1, 1] ─► resize ─► batch
                                    └────► normalise poses ─► choose steps ─► augment ───────────────────────┘

The order is that of :mod:`tfrecords.reading.order`; frames are chosen by :mod:`tfrecords.reading.sampling`, made ready
by :mod:`tfrecords.reading.pictures` and changed by :mod:`tfrecords.reading.augmentation`.

Nothing is decoded that is not used: a record is parsed first, its frames are chosen, and only those are decoded.
Every random choice is a function of (seed, epoch, position), so a resumed training sees the batches it would have
seen, and reading in parallel changes nothing (but with ``deterministic=False``, which lets clips overtake each other).
"""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from tfrecords import manifest, protocols, schema, storage
from tfrecords.reading import augmentation, order, pictures, poses, sampling
from zoo import skeletons
from zoo.shared.errors import UserError

FRAMES_AT = ("stride", "pose_steps")
BALANCES = ("none", "classes")
TRAIN_AND_VAL = "train_and_val"  # both splits as one: to train on once nothing is chosen any more


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a model is fed of a clip.

    Attributes:
        frames: Frames T of a video clip; 0 for a model without video.
        stride: Distance of two sampled frames in the recording.
        frames_at: Which frames are sampled. ``stride``: every ``stride``-th of a window. ``pose_steps``: those of the
            pose sequence, so that a frame and a pose of the same step show the same moment; there are as many of both.
        size: Height and width of a frame, pixels.
        parts: Body parts whose pictures are fed, some of :data:`tfrecords.schema.PARTS`.
        pose_steps: Steps tp of a pose sequence; 0 for a model without poses.
        persons: Persons M in a pose.
        layout: Skeleton layout; needed with poses.
        normalisation: How poses are normalised.
        interpolate: Poses between two frames are interpolated linearly, so that a sequence of more steps than the clip
            has frames moves evenly; else each step is the pose of a frame.
        pose_xy: Feed the joints' places in the full body's pictures too; the frames are then at the pose steps.
        granularities: Numbers of segments G that a clip is cut into, for a model that is fed features of segments.
        feature_size: Values D of a segment's feature.
        segment_steps: Steps S of the pose sequence of a segment; 0 for a model without.

    Example:
        >>> inputs = Inputs(frames=16, size=64, pose_steps=5, layout="kinect_v1_20")
        >>> {name: tuple(spec.shape) for name, spec in inputs.signature().items()}
        {'rgb': (16, 64, 64, 3), 'pose': (5, 1, 20, 3)}
    """

    frames: int = 0
    stride: int = 2
    frames_at: str = "stride"
    size: int = 224
    parts: tuple = ("full_body",)
    pose_steps: int = 0
    persons: int = 1
    layout: str = ""
    normalisation: poses.Normalisation = dataclasses.field(default_factory=poses.Normalisation)
    interpolate: bool = False
    pose_xy: bool = False
    granularities: tuple = ()
    feature_size: int = 0
    segment_steps: int = 0

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "granularities", tuple(self.granularities))
        unknown = sorted(set(self.parts) - set(schema.PARTS))
        if unknown:
            raise ValueError(f"unknown body parts {unknown}, expected some of {schema.PARTS}")
        if not self.frames and not self.pose_steps and not self.granularities:
            raise ValueError(
                "a model needs frames or pose_steps, both are 0, or granularities, of which there are none"
            )
        if self.frames_at not in FRAMES_AT:
            raise ValueError(f"frames_at is {self.frames_at!r}, expected one of {', '.join(FRAMES_AT)}")
        if self.frames_at == "pose_steps" and self.frames != self.pose_steps:
            raise ValueError(f"frames at pose_steps are as many, but {self.frames} and {self.pose_steps} are wanted")
        if self.pose_xy and (self.frames_at != "pose_steps" or "full_body" not in self.parts):
            raise ValueError("pose_xy are places in pictures: they need the full body's, with frames_at pose_steps")
        if self.interpolate and self.segment_steps:
            raise ValueError("interpolate: the poses of segments are those of frames, leave it out")
        for name in ("stride", "size", "persons"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def joints(self):
        """Joints J of the skeleton layout."""
        return skeletons.get(self.layout).num_joints

    @property
    def pose_values(self):
        """Values M * J * 3 of one frame's poses; 0 without poses."""
        return self.persons * self.joints * 3 if self.reads_poses else 0

    @property
    def reads_poses(self):
        """Whether the model is fed poses, of the clip or of its segments."""
        return bool(self.pose_steps or self.segment_steps)

    @property
    def has_window(self):
        """Whether the frames are of a window in the recording; else all that is fed is of its sub-sequences."""
        return bool(self.frames) and self.frames_at == "stride"

    def signature(self):
        """Feature name -> ``tf.TensorSpec`` of one clip.

        ``rgb`` [T, H, W, 3] in [-1, 1], likewise ``rgb_left_hand`` and ``rgb_right_hand``; ``pose`` [tp, M, J, 3],
        normalised; ``pose_xy`` [tp, M, J, 2]: pixels of ``rgb``, x to the right and y downwards, 0 the middle of the
        first one; ``features_gG`` [G, D]; ``pose_gG`` [G, S, M, J, 3].
        """
        specs = {}
        if self.frames:
            shape = (self.frames, self.size, self.size, 3)
            specs.update({skeletons.input_name(part): tf.TensorSpec(shape, tf.float32) for part in self.parts})
        if self.pose_steps:
            specs["pose"] = tf.TensorSpec((self.pose_steps, self.persons, self.joints, 3), tf.float32)
        if self.pose_xy:
            specs["pose_xy"] = tf.TensorSpec((self.pose_steps, self.persons, self.joints, 2), tf.float32)
        for g in self.granularities:
            specs[f"features_g{g}"] = tf.TensorSpec((g, self.feature_size), tf.float32)
            if self.segment_steps:
                shape = (g, self.segment_steps, self.persons, self.joints, 3)
                specs[f"pose_g{g}"] = tf.TensorSpec(shape, tf.float32)
        return specs

    def to_dict(self):
        """JSON values from which :meth:`from_dict` makes an equal object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """The inverse of :meth:`to_dict`."""
        normalisation = poses.Normalisation(**values.get("normalisation", {}))
        return cls(**{**values, "normalisation": normalisation})


class Records:
    """A converted dataset, opened.

    Args:
        directory: Folder with shards and manifest, or its address ``s3://bucket/folder``.

    Raises:
        UserError: No complete dataset is there.
    """

    def __init__(self, directory):
        self.directory = storage.location(directory)
        self.manifest = manifest.load(self.directory)

    @property
    def dataset(self):
        """The dataset's name."""
        return self.manifest["dataset"]

    @property
    def sha256(self):
        """SHA-256 of the manifest, which holds those of all shards: another conversion has another."""
        return hashlib.sha256((self.directory / schema.MANIFEST).read_bytes()).hexdigest()

    @property
    def layout(self):
        """Skeleton layout; empty without poses."""
        return self.manifest["skeleton_layout"]

    @property
    def persons(self):
        """Persons M in the stored poses."""
        return self.manifest["persons"]

    @property
    def parts(self):
        """Body parts whose pictures are stored."""
        return tuple(self.manifest["parts"])

    @property
    def granularities(self):
        """Numbers of segments G whose features are stored."""
        return tuple(self.manifest.get("features", {}).get("granularities", ()))

    @property
    def feature_size(self):
        """Values D of a stored segment's feature; 0 without features."""
        return self.manifest.get("features", {}).get("size", 0)

    @property
    def protocols(self):
        """Names of the evaluation protocols."""
        return tuple(self.manifest["protocols"])

    def _protocol(self, protocol):
        if protocol not in self.manifest["protocols"]:
            raise UserError(f"{self.dataset} has no protocol {protocol!r}, valid: {', '.join(self.protocols)}")
        return self.manifest["protocols"][protocol]

    def labels_of(self, protocol):
        """Names of a protocol's classes, in the order of its label numbers: all of the dataset's, or a part."""
        return tuple(self._protocol(protocol).get("labels", self.manifest["labels"]))

    def label_numbers(self, protocol):
        """The protocol's number of every stored label; -1 where it does not use the class."""
        numbers = {name: number for number, name in enumerate(self.labels_of(protocol))}
        return tuple(numbers.get(name, -1) for name in self.manifest["labels"])

    def _cells(self, protocol, split):
        found = self._protocol(protocol)
        if split == TRAIN_AND_VAL:
            return [self.manifest["cells"][cell] for part in ("train", "val") for cell in found[part]]
        if split not in protocols.SPLITS:
            raise UserError(f"no split {split!r}, valid: {', '.join(protocols.SPLITS)}")
        return [self.manifest["cells"][cell] for cell in found[split]]

    def shards(self, protocol, split):
        """Paths of the shards of one split of a protocol."""
        files = [shard["file"] for cell in self._cells(protocol, split) for shard in cell["shards"]]
        return [self.directory / file for file in files]

    def count(self, protocol, split):
        """Clips in one split of a protocol."""
        return sum(cell["clips"] for cell in self._cells(protocol, split))

    def class_counts(self, protocol, split):
        """Clips of each of :meth:`labels_of` in one split; reads a few bytes of every record."""
        stored = order.Index.of(self.shards(protocol, split)).label
        numbers = np.asarray(self.label_numbers(protocol))[stored]
        return np.bincount(numbers, minlength=len(self.labels_of(protocol)))

    def shard_counts(self, protocol, split):
        """Clips in each of :meth:`shards`."""
        return [shard["clips"] for cell in self._cells(protocol, split) for shard in cell["shards"]]

    def steps(self, protocol, split, batch, workers=1):
        """Batches of an epoch of :func:`training`, for each of the workers."""
        return self.count(protocol, split) // (batch * workers)

    def check(self, inputs, protocol, split):
        """Raises :class:`~zoo.shared.errors.UserError` unless this dataset can feed such a model from that split."""
        self.check_stored(inputs)
        trained = self.manifest.get("features", {}).get("trained_under") if inputs.granularities else None
        if trained and trained != protocol:
            raise UserError(
                f"{self.directory} holds features of a network that was trained under {trained}, whose training clips "
                f"are no test of {protocol}: extract features with a network trained under {protocol}"
            )
        if not self.count(protocol, split):
            raise UserError(f"{self.directory} has no clips in {protocol} {split}: convert more of the dataset")
        if inputs.pose_xy:
            clip = schema.decode(next(order.read(_shards(self, protocol, split)).take(1).as_numpy_iterator()))
            if clip.pose_xy is None or "full_body" not in clip.boxes:
                raise UserError(
                    f"{self.directory} does not know where in the pictures the joints are (clip {clip.info.id}), which "
                    "the model reads: convert a dataset that has pose/xy, or choose a model that does not read pose_xy"
                )

    def check_stored(self, inputs):
        """Raises :class:`~zoo.shared.errors.UserError` unless this dataset stores what such a model is fed."""
        missing = sorted(set(inputs.parts) - set(self.parts)) if inputs.frames else []
        if missing:
            stored = ", ".join(self.parts) or "none"
            raise UserError(
                f"{self.directory} stores no pictures of {', '.join(missing)} (stored: {stored}): "
                f"convert again with --parts {','.join(inputs.parts)}"
            )
        missing = [str(g) for g in inputs.granularities if g not in self.granularities]
        if missing:
            stored = ", ".join(map(str, self.granularities)) or "none"
            wanted = ",".join(map(str, inputs.granularities))
            raise UserError(
                f"{self.directory} stores no features of {', '.join(missing)} segments (stored: {stored}): "
                f"make them with recipes/extract_features.py --granularities {wanted}"
            )
        if inputs.granularities and inputs.feature_size != self.feature_size:
            sizes = f"of {self.feature_size} values, the model expects {inputs.feature_size}"
            raise UserError(f"{self.directory} has features {sizes}: extract them with the same network")
        if inputs.reads_poses and inputs.layout != self.layout:
            raise UserError(f"{self.directory} has {self.layout or 'no'} skeletons, the model expects {inputs.layout}")
        if inputs.reads_poses and inputs.persons != self.persons:
            raise UserError(f"{self.directory} has poses of {self.persons} persons, the model expects {inputs.persons}")


# ------------------------------------------------------------------------------------------------- the reader


def _parse(serialized, inputs):
    """``(context, jpegs by part, poses [T, M, J, 3] or None, feature lists)`` of a serialised record."""
    values = inputs.pose_values
    context, sequence = schema.parsing_spec(
        parts=inputs.parts if inputs.frames else (),
        pose_values=values,
        place_values=values // 3 * 2 if inputs.pose_xy else 0,
        granularities=inputs.granularities,
        feature_size=inputs.feature_size,
    )
    context, lists = tf.io.parse_single_sequence_example(serialized, context, sequence)
    jpegs = {part: lists[f"image/{part}"] for part in inputs.parts} if inputs.frames else {}
    xyz = None
    if inputs.reads_poses:
        xyz = tf.reshape(lists["pose/xyz"], [-1, inputs.persons, inputs.joints, 3])
    return context, jpegs, xyz, lists


def _stored_features(lists, inputs):
    """Input's name -> features ``[G, D]`` as they are stored."""
    return {f"features_g{g}": lists[schema.features_list(g)] for g in inputs.granularities}


def _segment_poses(xyz, num_frames, offset, inputs):
    """Input's name -> pose sequences of segments ``[G * S, M, J, 3]``.

    Args:
        xyz: ``[frames in the recording, M, J, 3]``.
        num_frames: Frames in the recording.
        offset: Function from a number of steps to their places in the sub-sequences, as
            :func:`tfrecords.reading.sampling.step_places` wants them.
        inputs: What the model is fed.
    """
    if not inputs.segment_steps:
        return {}
    steps = {g: g * inputs.segment_steps for g in inputs.granularities}
    frames = {g: sampling.step_frames(num_frames, sampling.step_places(n, offset(n))) for g, n in steps.items()}
    return {f"pose_g{g}": tf.gather(xyz, indices) for g, indices in frames.items()}


def pose_sequence(xyz, places, inputs):
    """The pose sequence ``[tp, M, J, 3]`` that a model is fed: poses of frames, or where wanted between them.

    Args:
        xyz: ``[frames in the recording, M, J, 3]``.
        places: ``[tp]``, as for :func:`tfrecords.reading.sampling.step_frames`.
        inputs: What the model is fed.
    """
    if inputs.interpolate:
        return sampling.interpolated_steps(xyz, places)
    return tf.gather(xyz, sampling.step_frames(tf.shape(xyz)[0], places))


def _places(lists, steps, window, inputs):
    """Places of the joints at pose steps, ``[tp, M, J, 2]``; see :func:`.pictures.places_in_pictures`."""
    places = tf.reshape(tf.gather(lists["pose/xy"], steps), [-1, inputs.persons, inputs.joints, 2])
    boxes = tf.gather(lists["box/full_body"], steps)
    shape = tf.io.extract_jpeg_shape(lists["image/full_body"][steps[0]])
    return pictures.places_in_pictures(places, boxes, shape, window, inputs.size)


def _finish(features, inputs):
    """Gives the features their shapes, which are static."""
    specs = inputs.signature()
    for name in specs:
        if name.startswith("pose_g"):  # [G * S, M, J, 3]
            features[name] = tf.reshape(features[name], specs[name].shape)
    return {name: tf.ensure_shape(features[name], spec.shape) for name, spec in specs.items()}


def _label(context, label_numbers):
    """A clip's label number in the protocol, int32."""
    return tf.gather(tf.constant(label_numbers, tf.int32), context["clip/label/index"])


def _training_clip(serialized, seed, inputs, augment, label_numbers):
    """``(features, label)`` of a record, every choice drawn from ``seed`` ([2] int64)."""
    context, jpegs, xyz, lists = _parse(serialized, inputs)
    num_frames = tf.cast(context["clip/num_frames"], tf.int32)
    seeds = {
        name: tf.random.experimental.stateless_fold_in(seed, number)
        for number, name in enumerate(("start", "crop", "flip", "steps", "pose", "colours", "jitter", "span", "warp"))
    }
    flip = tf.logical_and(augment.flip, tf.random.stateless_uniform([], seeds["flip"]) < 0.5)
    features = {}
    if inputs.pose_steps:
        places = _training_places(inputs, augment, seeds)
        steps = sampling.step_frames(num_frames, places)
    if inputs.frames:
        indices = _training_frames(num_frames, inputs, augment, seeds) if inputs.has_window else steps

        def window(height, width):
            if augment.crop:
                return pictures.random_square(height, width, seeds["crop"])
            return pictures.centre_square(height, width)

        for part in inputs.parts:
            images = pictures.decode_frames(jpegs[part], indices, window)
            images = tf.cond(flip, lambda i=images: pictures.mirror(i), lambda i=images: i)
            features[part] = pictures.prepare(images, inputs.size)
            if augment.changes_colours:
                features[part] = augmentation.change_colours(features[part], augment, seeds["colours"])
        if {"left_hand", "right_hand"} <= set(inputs.parts):
            left, right = features["left_hand"], features["right_hand"]
            features["left_hand"] = tf.where(flip, right, left)
            features["right_hand"] = tf.where(flip, left, right)
        features = {skeletons.input_name(part): images for part, images in features.items()}
        if inputs.pose_xy:
            pixels = _places(lists, steps, window, inputs)
            mirrored = augmentation.mirror_places(pixels, inputs.layout, inputs.size)
            features["pose_xy"] = tf.where(flip, mirrored, pixels)
    if inputs.reads_poses:
        xyz = tf.cond(flip, lambda: augmentation.mirror_pose(xyz, inputs.layout), lambda: xyz)
        xyz = poses.normalise(xyz, inputs.layout, inputs.normalisation)
        sequences = _segment_poses(xyz, num_frames, lambda n: tf.random.stateless_uniform([n], seeds["steps"]), inputs)
        if inputs.pose_steps:
            sequences["pose"] = pose_sequence(xyz, places, inputs)
        features.update({n: augmentation.change_pose(pose, augment, seeds["pose"]) for n, pose in sequences.items()})
    features.update(_stored_features(lists, inputs))
    return _finish(features, inputs), _label(context, label_numbers)


def _training_places(inputs, augment, seeds):
    """Places of a training sequence's poses in the clip, ``[tp]``, below 0 and above 1 where it has more time."""
    offsets = tf.random.stateless_uniform([inputs.pose_steps], seeds["steps"])
    places = sampling.step_places(inputs.pose_steps, offsets)
    if augment.time_warp > 1:
        places = sampling.warp_time(places, augment.time_warp, seeds["warp"])
    if augment.pose_crop < 1 or augment.pose_pad:
        start, length = sampling.random_span(augment.pose_crop, 1.0 + augment.pose_pad, seeds["span"])
        places = start + length * places
    return places


def _training_frames(num_frames, inputs, augment, seeds):
    """Frames of a training window, ``[T]``: its start is drawn, and with temporal jitter each frame after it."""
    # The start is drawn from the clip's first half, where the window fits; a clip too short for one loops.
    last = tf.minimum(num_frames // 2, num_frames - inputs.frames * inputs.stride)
    start = tf.random.stateless_uniform([], seeds["start"], 0, tf.maximum(last + 1, 1), tf.int32)
    shift = 0
    if augment.temporal_jitter:
        shift = tf.random.stateless_uniform([inputs.frames], seeds["jitter"], 0, inputs.stride, tf.int32)
    return sampling.sample_frames(num_frames, inputs.frames, inputs.stride, start, shift)


def _shards(records, protocol, split):
    return [str(path) for path in records.shards(protocol, split)]


def training(
    records,
    protocol,
    inputs,
    *,
    split="train",
    batch,
    seed,
    epochs,
    first_epoch=0,
    augment=None,
    cache=False,
    balance="none",
    shard=(0, 1),
    deterministic=True,
):
    """Shuffled, augmented batches of all epochs of a training.

    Args:
        records: A :class:`Records`.
        protocol: One of its protocols.
        inputs: What the model is fed.
        split: Which part of the protocol; :data:`TRAIN_AND_VAL` is both.
        batch: Clips per batch. Every epoch has :meth:`Records.steps` batches; the clips left over differ by epoch.
        seed: Integer; with the epoch it determines order and augmentation.
        epochs: Epochs in all.
        first_epoch: Where a resumed training goes on.
        augment: An :class:`tfrecords.reading.augmentation.Augmentation`; default: its defaults.
        cache: Keep the (compressed) records in memory after the first epoch.
        balance: ``none``: every clip once per epoch. ``classes``: every class equally often, see
            :func:`tfrecords.reading.order.balanced`; the clips of rare classes come several times, each time changed
            anew, those of frequent ones not in every epoch. Epochs are as long as without.
        shard: ``(index, count)``: this is worker ``index`` of ``count``, each of which is given a disjoint part of
            every epoch, as many batches as the others, of ``batch`` clips. Whole shards where they can be shared
            evenly, else single records. Balanced, the parts are disjoint turns: a clip of a rare class may come to
            several workers.
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
    steps = records.steps(protocol, split, batch, workers)
    if not steps:
        among = f" for each of {workers} workers" if workers > 1 else ""
        clips = records.count(protocol, split)
        raise UserError(
            f"batch {batch}{among} is larger than {protocol} {split}, which has {clips} clips: use a smaller one"
        )
    epoch_of = _balanced_epochs if balance == "classes" else _shuffled_epochs
    ordered = epoch_of(records, protocol, split, steps * batch, shard, cache, deterministic)

    def one_epoch(epoch):
        key = tf.stack([tf.cast(seed, tf.int64), epoch])  # [2]
        # Places in the epoch of all workers together: two workers' clips are not changed alike.
        numbered = ordered(key).take(steps * batch).enumerate()
        return numbered.map(
            lambda number, record: (
                record,
                tf.random.experimental.stateless_fold_in(key, number * workers + index),
            )
        )

    label_numbers = records.label_numbers(protocol)
    data = tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch)
    data = data.map(
        lambda record, key: _training_clip(record, key, inputs, augment, label_numbers),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=deterministic,
    )
    return data.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _shuffled_epochs(records, protocol, split, length, shard, cache, deterministic):
    """Function of an epoch's key that gives its records: each of a worker's part once, at least ``length``."""
    index, workers = shard
    files, counts = _shards(records, protocol, split), records.shard_counts(protocol, split)
    mine = order.files_of_workers(counts, workers)
    by_files = min(sum(counts[number] for number in part) for part in mine) >= length
    if by_files:
        files, counts = ([values[number] for number in mine[index]] for values in (files, counts))
    # Records are dealt in turn: the parts are disjoint only if all workers read in the same order.
    in_order = deterministic or not by_files
    count = sum(counts)

    def read(files):
        data = order.read(files, in_order)
        return data if by_files else data.shard(workers, index)

    cached = read(files).cache() if cache else None

    def epoch(key):
        if cached is not None:
            return order.shuffle(cached, count, key)
        shuffled = tf.random.experimental.stateless_shuffle(tf.constant(files), key)
        return order.shuffle(read(shuffled), min(count, order.SHUFFLE_BUFFER), key)

    return epoch


def _balanced_epochs(records, protocol, split, length, shard, cache, deterministic):
    """Function of an epoch's key that gives its records: of each class equally many, ``length`` for this worker."""
    number, workers = shard
    index = order.Index.of(records.shards(protocol, split))
    cached = index.read(tf.range(len(index.label))).cache().batch(len(index.label)) if cache else None

    def epoch(key):
        picks = order.balanced(index.label, length * workers, key)[number::workers]
        if cached is not None:
            return cached.flat_map(lambda batch: tf.data.Dataset.from_tensor_slices(tf.gather(batch, picks)))
        return index.read(picks, deterministic)

    return epoch


def _views_of(record, inputs, clips, crops):
    """How many views evaluation takes of a record, by its number of frames."""
    context, _ = schema.parsing_spec()
    parsed, _ = tf.io.parse_single_sequence_example(record, context, {})
    num_frames = parsed["clip/num_frames"]
    if inputs.has_window:
        count = sampling.window_count(num_frames, inputs.frames, inputs.stride, clips)
    elif inputs.pose_steps:
        count = sampling.window_count(num_frames, inputs.pose_steps, 1, clips)
    else:
        count = tf.constant(1, tf.int32)  # segments cover the clip
    return tf.cast(count * (crops if inputs.frames else 1), tf.int64)


def _view(record, view, inputs, clips, crops, pose_crop):
    """``(features, context)`` of one view of a record."""
    context, jpegs, xyz, lists = _parse(record, inputs)
    num_frames = tf.cast(context["clip/num_frames"], tf.int32)
    view = tf.cast(view, tf.int32)
    features = _stored_features(lists, inputs)
    if inputs.pose_steps:
        offset, part_start, part_length = 0.5, 0.0, 1.0
        if not (inputs.has_window or inputs.granularities):
            # Views of a pose sequence take their frames from different places in the sub-sequences.
            count = tf.cast(sampling.window_count(num_frames, inputs.pose_steps, 1, clips), tf.float32)
            window = view // crops if inputs.frames else view
            offset = (tf.cast(window, tf.float32) + 0.5) / count
            if pose_crop < 1:
                part_start, part_length = sampling.spread_span(window, count, pose_crop)
        places = part_start + part_length * sampling.step_places(inputs.pose_steps, offset)
        steps = sampling.step_frames(num_frames, places)
    if inputs.frames:
        if inputs.has_window:
            start = sampling.window_starts(num_frames, inputs.frames, inputs.stride, clips)[view // crops]
            indices = sampling.sample_frames(num_frames, inputs.frames, inputs.stride, start)
        else:
            indices = steps
        crop = view % crops

        def window(height, width):
            corner = pictures.corner_square(height, width, crop - 1)
            return tf.where(crop == 0, pictures.centre_square(height, width), corner)

        for part in inputs.parts:
            features[skeletons.input_name(part)] = pictures.load(jpegs[part], indices, window, inputs.size)
        if inputs.pose_xy:
            features["pose_xy"] = _places(lists, steps, window, inputs)
    if inputs.reads_poses:
        xyz = poses.normalise(xyz, inputs.layout, inputs.normalisation)
        features.update(_segment_poses(xyz, num_frames, lambda n: 0.5, inputs))
        if inputs.pose_steps:
            features["pose"] = pose_sequence(xyz, places, inputs)
    return _finish(features, inputs), context


def centre_view(record, inputs):
    """What evaluation with one window and one crop feeds a model of a clip, for a graph that is given the record.

    Args:
        record: Scalar string tensor, a clip as :func:`tfrecords.schema.encode` writes it.
        inputs: What the model is fed, an :class:`Inputs`.

    Returns:
        Feature name -> tensor, as :meth:`Inputs.signature`.

    Raises:
        tf.errors.InvalidArgumentError: (when run) no such record, or it lacks what the model is fed.
    """
    features, _ = _view(record, 0, inputs, clips=1, crops=1, pose_crop=1.0)
    return features


def evaluation(records, protocol, split, inputs, *, batch, clips=1, crops=1, pose_crop=1.0):
    """Every clip of a split in a fixed order, in one or several views.

    Args:
        records: A :class:`Records`.
        protocol: One of its protocols.
        split: Which part of it.
        inputs: What the model is fed.
        batch: Views per batch; the last batch may be smaller.
        clips: Windows per recording, or ``"all"`` for as many as cover it; one window is centred. A model of poses
            alone, or of poses and their frames, gets as many samplings of the whole recording instead.
        crops: 1 (the centred square) or 3 (and two corners), per window.
        pose_crop: Samplings of a recording are of parts of it, from this share to all of it; 1: of all of it.

    Returns:
        A ``tf.data.Dataset`` of ``(features, label, clip_number)``: the label as in :func:`training`;
        ``clip_number`` counts the split's clips, all views of a clip share it.

    Raises:
        UserError: The dataset cannot feed the model.
        ValueError: ``crops`` is neither 1 nor 3.
    """
    if crops not in (1, 3):
        raise ValueError(f"crops is {crops}, expected 1 or 3")
    records.check(inputs, protocol, split)
    label_numbers = records.label_numbers(protocol)

    def views(number, record):
        return tf.data.Dataset.range(_views_of(record, inputs, clips, crops)).map(lambda view: (number, record, view))

    def load(number, record, view):
        features, context = _view(record, view, inputs, clips, crops, pose_crop)
        return features, _label(context, label_numbers), number

    data = order.read(_shards(records, protocol, split)).enumerate().flat_map(views)
    data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.batch(batch).prefetch(tf.data.AUTOTUNE)


def segments(path, inputs, granularities):
    """What a network is fed of the segments of a shard's clips: clip after clip, granularity after granularity.

    A clip is cut into G equal segments for every granularity G. A segment's frames and pose steps are the middles of
    ``inputs.frames`` and ``inputs.pose_steps`` equal parts of it: evenly spread, whatever its length, and frames of a
    short one come twice. Every frame is decoded once.

    Args:
        path: Path of the shard.
        inputs: What the network is fed of a clip, here of a segment.
        granularities: Numbers of segments.

    Returns:
        A ``tf.data.Dataset`` of features as :meth:`Inputs.signature`, one element per segment.
    """
    if inputs.interpolate:
        raise UserError("the network is fed interpolated poses (data.interpolate), those of segments are of frames")
    count = sum(granularities)

    def chosen(num_frames, steps):
        return tf.concat(
            [tf.reshape(sampling.middle_steps(num_frames, g * steps), [g, steps]) for g in granularities], axis=0
        )

    def load(record):
        context, jpegs, xyz, _ = _parse(record, inputs)
        num_frames = tf.cast(context["clip/num_frames"], tf.int32)
        clip, indices = {}, {}
        if inputs.frames:
            distinct, where = tf.unique(tf.reshape(chosen(num_frames, inputs.frames), [-1]))
            for part in inputs.parts:
                images = pictures.resize(
                    pictures.decode_frames(jpegs[part], distinct, pictures.centre_square), inputs.size
                )
                name = skeletons.input_name(part)
                clip[name], indices[name] = pictures.to_network_range(images), tf.reshape(where, [count, inputs.frames])
        if inputs.pose_steps:
            clip["pose"] = poses.normalise(xyz, inputs.layout, inputs.normalisation)
            indices["pose"] = chosen(num_frames, inputs.pose_steps)
        return clip, indices

    def cut(clip, indices):
        one = tf.data.Dataset.from_tensor_slices(indices)
        return one.map(lambda rows: _finish({name: tf.gather(clip[name], row) for name, row in rows.items()}, inputs))

    data = tf.data.TFRecordDataset(str(path)).map(load, num_parallel_calls=2, deterministic=True)
    return data.flat_map(cut)


def clip_ids(records, protocol, split):
    """Ids of a split's clips, in the order of :func:`evaluation`'s clip numbers."""
    if not records.count(protocol, split):
        return []
    context = {"clip/id": tf.io.FixedLenFeature([], tf.string)}
    data = order.read(_shards(records, protocol, split))
    data = data.map(lambda record: tf.io.parse_single_sequence_example(record, context, {})[0]["clip/id"])
    return [clip_id.decode() for clip_id in data.as_numpy_iterator()]
