"""The reader: from the shards of a converted dataset to the batches a model accepts.

::

    shards ─► records ─► shuffle ─► parse ─► choose frames ─► decode those, cropping ─► resize ─► [-1, 1]  ─► batch
                                      └────► normalise poses ─► choose steps ─► augment ──────────────────────┘

Nothing is decoded that is not used: a record is parsed first, its frames are chosen, and only those are decoded.
Every random choice is a function of (seed, epoch, position), so a resumed training sees the batches it would have
seen, and reading in parallel changes nothing.
"""

import dataclasses
import hashlib
import pathlib

import tensorflow as tf

from tfrecords import manifest, poses, protocols, schema
from tfrecords.errors import UserError
from zoo import skeletons

CORNER_CROP = 0.875  # side of the corner crops, as a share of the picture: 224 of 256 pixels
SMALLEST_CROP = 0.8  # side of the smallest random training crop, likewise
SHUFFLE_BUFFER = 512  # records; they are still compressed here
FRAMES_AT = ("stride", "pose_steps")
_READ_CYCLE = 16  # shards read side by side


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


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training clips; each is the same for all frames of a clip.

    Attributes:
        crop: Crop videos at random, sides from :data:`SMALLEST_CROP` to all of the picture.
        flip: Mirror every second clip: pictures, left and right joints, and the two hands' pictures.
        rotation: Largest rotation of poses about the vertical axis, degrees.
        scale: Largest relative change of the poses' size.
        noise: Standard deviation of noise on every coordinate, in units of normalised poses.
    """

    crop: bool = True
    flip: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    noise: float = 0.0


class Records:
    """A converted dataset, opened.

    Args:
        directory: Folder with shards and manifest.

    Raises:
        UserError: No complete dataset is there.
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
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
    def labels(self):
        """Class names, in the order of the labels."""
        return tuple(self.manifest["labels"])

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

    def _cells(self, protocol, split):
        if protocol not in self.manifest["protocols"]:
            raise UserError(f"{self.dataset} has no protocol {protocol!r}, valid: {', '.join(self.protocols)}")
        if split not in protocols.SPLITS:
            raise UserError(f"no split {split!r}, valid: {', '.join(protocols.SPLITS)}")
        return [self.manifest["cells"][cell] for cell in self.manifest["protocols"][protocol][split]]

    def shards(self, protocol, split):
        """Paths of the shards of one split of a protocol."""
        files = [shard["file"] for cell in self._cells(protocol, split) for shard in cell["shards"]]
        return [self.directory / file for file in files]

    def count(self, protocol, split):
        """Clips in one split of a protocol."""
        return sum(cell["clips"] for cell in self._cells(protocol, split))

    def check(self, inputs, protocol, split):
        """Raises :class:`~tfrecords.errors.UserError` unless this dataset can feed such a model from that split."""
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
            clip = schema.decode(next(_read(_shards(self, protocol, split)).take(1).as_numpy_iterator()))
            if clip.pose_xy is None or "full_body" not in clip.boxes:
                raise UserError(
                    f"{self.directory} does not know where in the pictures the joints are (clip {clip.info.id}), which "
                    "the model reads: convert a dataset that has pose/xy, or choose a model that does not read pose_xy"
                )

    def check_stored(self, inputs):
        """Raises :class:`~tfrecords.errors.UserError` unless this dataset stores what such a model is fed."""
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


# ---------------------------------------------------------------------------------------------- choosing frames


def sample_frames(num_frames, frames, stride, start):
    """Indices of a clip's frames (PhD20 section 4.6.1): every ``stride``-th from ``start``; a short clip loops.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        frames: Frames T wanted.
        stride: Distance of two frames.
        start: First frame.

    Returns:
        ``[T]`` int32.

    Example:
        >>> sample_frames(5, 4, 2, 0).numpy().tolist()
        [0, 2, 4, 1]
    """
    return tf.math.floormod(start + stride * tf.range(frames), tf.maximum(tf.cast(num_frames, tf.int32), 1))


def window_count(num_frames, frames, stride, clips):
    """How many evaluation windows a recording gets: ``clips``, or as many as cover it for ``"all"``."""
    if clips != "all":
        return tf.constant(clips, tf.int32)
    span = frames * stride
    return tf.maximum((tf.cast(num_frames, tf.int32) + span - 1) // span, 1)


def window_starts(num_frames, frames, stride, clips):
    """First frames of the evaluation windows: evenly spread from the first window that fits to the last.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        frames: Frames T of a window.
        stride: Distance of two frames.
        clips: Number of windows, or ``"all"`` for as many as cover the recording.

    Returns:
        ``[windows]`` int32; one window is centred.

    Example:
        >>> window_starts(100, 16, 2, "all").numpy().tolist()
        [0, 22, 45, 68]
        >>> window_starts(100, 16, 2, 1).numpy().tolist()
        [34]
    """
    count = window_count(num_frames, frames, stride, clips)
    room = tf.maximum(tf.cast(num_frames, tf.int32) - frames * stride, 0)
    return tf.cond(
        count > 1,
        lambda: tf.range(count) * room // tf.maximum(count - 1, 1),
        lambda: tf.fill([1], room // 2),
    )


def step_frames(num_frames, steps, offset):
    """Frames of a pose sequence: the clip is cut into equal sub-sequences, and each gives the frame at ``offset``.

    Args:
        num_frames: Frames in the recording, scalar integer tensor.
        steps: Sub-sequences tp.
        offset: Place within each sub-sequence, in [0, 1); a scalar or ``[steps]``.

    Returns:
        ``[steps]`` int32.
    """
    position = (tf.cast(tf.range(steps), tf.float32) + offset) / steps
    count = tf.cast(num_frames, tf.float32)
    return tf.cast(tf.minimum(position * count, tf.maximum(count - 1, 0)), tf.int32)


def middle_steps(num_frames, steps):
    """Frames of an evaluated pose sequence: the middle of each of ``steps`` equal sub-sequences.

    Example:
        >>> middle_steps(10, 5).numpy().tolist()
        [1, 3, 5, 7, 9]
    """
    return step_frames(num_frames, steps, 0.5)


# -------------------------------------------------------------------------------------------------- pictures


def to_network_range(images):
    """uint8 pictures (or float32 of the same range) as the networks expect them: float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def resize(images, size):
    """Resizes pictures ``[T, H, W, 3]`` to ``[T, size, size, 3]`` float32, values as they came in.

    Bilinear with anti-aliasing: without it small objects flicker when a picture shrinks.
    """
    shape = tf.shape(images)
    right = tf.logical_and(tf.equal(shape[1], size), tf.equal(shape[2], size))
    images = tf.cond(
        right,
        lambda: tf.cast(images, tf.float32),
        lambda: tf.image.resize(images, [size, size], antialias=True),
    )
    images.set_shape([None, size, size, 3])
    return images


def centre_square(height, width):
    """Window (top, left, height, width) of the largest centred square."""
    side = tf.minimum(height, width)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def _corner_square(height, width, corner):
    """Window of the crop at the top left (``corner`` 0) or at the bottom right (1)."""
    side = tf.cast(CORNER_CROP * tf.cast(tf.minimum(height, width), tf.float32), tf.int32)
    return tf.stack([corner * (height - side), corner * (width - side), side, side])


def _random_square(height, width, seed):
    random = tf.random.stateless_uniform([3], seed)
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.cast(shorter * (SMALLEST_CROP + (1.0 - SMALLEST_CROP) * random[0]), tf.int32)
    room = tf.cast(tf.stack([height - side, width - side]), tf.float32)
    place = tf.cast(random[1:] * (room + 1.0), tf.int32)
    return tf.concat([place, [side, side]], axis=0)


def decode_frames(jpegs, indices, window):
    """Decodes the chosen frames of a clip, and of each only the window.

    Args:
        jpegs: ``[frames in the recording]`` strings.
        indices: ``[T]`` int32, the frames wanted; one that is wanted twice is decoded once.
        window: Function (height, width) -> ``[4]`` int32: top, left, height, width.

    Returns:
        ``[T, h, w, 3]`` uint8.
    """
    chosen, where = tf.unique(indices)
    jpegs = tf.gather(jpegs, chosen)
    shape = tf.io.extract_jpeg_shape(jpegs[0])
    cut = window(shape[0], shape[1])
    pictures = tf.map_fn(
        lambda jpeg: tf.io.decode_and_crop_jpeg(jpeg, cut, channels=3, dct_method="INTEGER_FAST"),
        jpegs,
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )
    return tf.gather(pictures, where)


# ----------------------------------------------------------------------------------------------------- poses


def _rotate_about_vertical(pose, angle):
    """Rotates ``[..., 3]`` about the Y axis by an angle in radians."""
    x, y, z = tf.unstack(pose, axis=-1)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return tf.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)


def _augment_pose(pose, augment, seed):
    """Random rotation, scale and noise of a normalised pose sequence ``[tp, M, J, 3]``; absent persons stay zero."""
    there = poses.present(pose)[..., tf.newaxis, tf.newaxis]  # [tp, M, 1, 1]
    random = tf.random.stateless_uniform([2], seed, -1.0, 1.0)
    if augment.rotation:
        pose = _rotate_about_vertical(pose, random[0] * (augment.rotation * 3.14159265 / 180.0))
    if augment.scale:
        pose = pose * (1.0 + augment.scale * random[1])
    if augment.noise:
        pose = pose + augment.noise * tf.random.stateless_normal(tf.shape(pose), seed + 1)
    return tf.where(there, pose, tf.zeros_like(pose))


def _places_in_pictures(places, boxes, shape, window, size):
    """Joints in the pixels of what a network is fed, from their pixels in the source frames.

    Args:
        places: ``[T, M, J, 2]`` float32, pixels of the source frames.
        boxes: ``[T, 4]`` float32, where the stored pictures were cut out of them.
        shape: ``[3]`` int32, height and width (and channels) of a stored picture.
        window: As for :func:`decode_frames`: the part of a stored picture that is fed.
        size: Height and width it is fed with.

    Returns:
        ``[T, M, J, 2]`` float32; 0 is the middle of the first pixel.
    """
    height, width = shape[0], shape[1]
    low, high = boxes[:, tf.newaxis, tf.newaxis, :2], boxes[:, tf.newaxis, tf.newaxis, 2:]
    stored = (places - low) / (high - low) * tf.cast(tf.stack([width, height]), tf.float32)
    top, left, rows, columns = tf.unstack(tf.cast(window(height, width), tf.float32))
    return (stored - tf.stack([left, top])) * size / tf.stack([columns, rows]) - 0.5


def _mirror_places(places, layout, size):
    """Joints' places ``[..., J, 2]`` in the mirrored pictures: left and right joints change places too."""
    x, y = tf.unstack(tf.gather(places, skeletons.get(layout).mirrored, axis=-2), axis=-1)
    return tf.stack([size - 1 - x, y], axis=-1)


def _mirror_pose(pose, layout):
    """The poses a mirror would show: left and right change places, X changes its sign. ``[..., J, 3]``."""
    return tf.gather(pose, skeletons.get(layout).mirrored, axis=-2) * tf.constant([-1.0, 1.0, 1.0])


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
        offset: Function from a number of steps to their places in the sub-sequences, see :func:`step_frames`.
        inputs: What the model is fed.
    """
    if not inputs.segment_steps:
        return {}
    steps = {g: g * inputs.segment_steps for g in inputs.granularities}
    return {f"pose_g{g}": tf.gather(xyz, step_frames(num_frames, n, offset(n))) for g, n in steps.items()}


def _places(lists, steps, window, inputs):
    """Places of the joints at pose steps, ``[tp, M, J, 2]``; see :func:`_places_in_pictures`."""
    places = tf.reshape(tf.gather(lists["pose/xy"], steps), [-1, inputs.persons, inputs.joints, 2])
    boxes = tf.gather(lists["box/full_body"], steps)
    shape = tf.io.extract_jpeg_shape(lists["image/full_body"][steps[0]])
    return _places_in_pictures(places, boxes, shape, window, inputs.size)


def _finish(features, inputs):
    """Gives the features their shapes, which are static."""
    specs = inputs.signature()
    for name in specs:
        if name.startswith("pose_g"):  # [G * S, M, J, 3]
            features[name] = tf.reshape(features[name], specs[name].shape)
    return {name: tf.ensure_shape(features[name], spec.shape) for name, spec in specs.items()}


def _training_clip(serialized, seed, inputs, augment):
    """``(features, label)`` of a record, every choice drawn from ``seed`` ([2] int64)."""
    context, jpegs, xyz, lists = _parse(serialized, inputs)
    num_frames = tf.cast(context["clip/num_frames"], tf.int32)
    seeds = {
        name: tf.random.experimental.stateless_fold_in(seed, number)
        for number, name in enumerate(("start", "crop", "flip", "steps", "pose"))
    }
    flip = tf.logical_and(augment.flip, tf.random.stateless_uniform([], seeds["flip"]) < 0.5)
    features = {}
    if inputs.pose_steps:
        steps = step_frames(
            num_frames, inputs.pose_steps, tf.random.stateless_uniform([inputs.pose_steps], seeds["steps"])
        )
    if inputs.frames:
        if inputs.has_window:
            # The start is drawn from the clip's first half, where the window fits; a clip too short for one loops.
            last = tf.minimum(num_frames // 2, num_frames - inputs.frames * inputs.stride)
            start = tf.random.stateless_uniform([], seeds["start"], 0, tf.maximum(last + 1, 1), tf.int32)
            indices = sample_frames(num_frames, inputs.frames, inputs.stride, start)
        else:
            indices = steps

        def window(height, width):
            return _random_square(height, width, seeds["crop"]) if augment.crop else centre_square(height, width)

        for part in inputs.parts:
            images = resize(decode_frames(jpegs[part], indices, window), inputs.size)
            features[part] = to_network_range(tf.cond(flip, lambda i=images: tf.reverse(i, [2]), lambda i=images: i))
        if {"left_hand", "right_hand"} <= set(inputs.parts):
            left, right = features["left_hand"], features["right_hand"]
            features["left_hand"] = tf.where(flip, right, left)
            features["right_hand"] = tf.where(flip, left, right)
        features = {skeletons.input_name(part): images for part, images in features.items()}
        if inputs.pose_xy:
            places = _places(lists, steps, window, inputs)
            mirrored = _mirror_places(places, inputs.layout, inputs.size)
            features["pose_xy"] = tf.where(flip, mirrored, places)
    if inputs.reads_poses:
        xyz = tf.cond(flip, lambda: _mirror_pose(xyz, inputs.layout), lambda: xyz)
        xyz = poses.normalise(xyz, inputs.layout, inputs.normalisation)
        sequences = _segment_poses(xyz, num_frames, lambda n: tf.random.stateless_uniform([n], seeds["steps"]), inputs)
        if inputs.pose_steps:
            sequences["pose"] = tf.gather(xyz, steps)
        features.update({name: _augment_pose(pose, augment, seeds["pose"]) for name, pose in sequences.items()})
    features.update(_stored_features(lists, inputs))
    return _finish(features, inputs), tf.cast(context["clip/label/index"], tf.int32)


def _shards(records, protocol, split):
    return [str(path) for path in records.shards(protocol, split)]


def _read(files):
    """Serialised records of shards (a list or tensor of paths), read side by side in a fixed order."""
    return tf.data.Dataset.from_tensor_slices(files).interleave(
        tf.data.TFRecordDataset,
        cycle_length=_READ_CYCLE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _shuffle(data, buffer, key):
    """Shuffles ``buffer`` records at a time; unlike ``Dataset.shuffle``, by the key alone and by no global seed."""

    def shuffle(number, chunk):
        return tf.random.experimental.stateless_shuffle(chunk, tf.random.experimental.stateless_fold_in(key, number))

    return data.batch(buffer).enumerate().map(shuffle).unbatch()


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
):
    """Shuffled, augmented batches of all epochs of a training.

    Args:
        records: A :class:`Records`.
        protocol: One of its protocols.
        inputs: What the model is fed.
        split: Which part of the protocol.
        batch: Clips per batch. Every epoch has ``count // batch`` batches; the clips left over differ by epoch.
        seed: Integer; with the epoch it determines order and augmentation.
        epochs: Epochs in all.
        first_epoch: Where a resumed training goes on.
        augment: An :class:`Augmentation`; default: its defaults.
        cache: Keep the (compressed) records in memory after the first epoch.

    Returns:
        A ``tf.data.Dataset`` of ``(features, label)``: features as :meth:`Inputs.signature` with a batch axis, label
        ``[batch]`` int32.

    Raises:
        UserError: The dataset cannot feed the model, or a batch is larger than the split.
    """
    augment = augment or Augmentation()
    records.check(inputs, protocol, split)
    count = records.count(protocol, split)
    steps = count // batch
    if not steps:
        raise UserError(f"batch {batch} is larger than {protocol} {split}, which has {count} clips: use a smaller one")
    files = _shards(records, protocol, split)
    cached = _read(files).cache() if cache else None

    def one_epoch(epoch):
        key = tf.stack([tf.cast(seed, tf.int64), epoch])  # [2]
        if cached is not None:
            shuffled = _shuffle(cached, count, key)
        else:
            order = tf.random.experimental.stateless_shuffle(tf.constant(files), key)
            shuffled = _shuffle(_read(order), min(count, SHUFFLE_BUFFER), key)
        numbered = shuffled.take(steps * batch).enumerate()
        return numbered.map(lambda number, record: (record, tf.random.experimental.stateless_fold_in(key, number)))

    data = tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch)
    data = data.map(
        lambda record, key: _training_clip(record, key, inputs, augment),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return data.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _views_of(record, inputs, clips, crops):
    """How many views evaluation takes of a record, by its number of frames."""
    context, _ = schema.parsing_spec()
    parsed, _ = tf.io.parse_single_sequence_example(record, context, {})
    num_frames = parsed["clip/num_frames"]
    if inputs.has_window:
        count = window_count(num_frames, inputs.frames, inputs.stride, clips)
    elif inputs.pose_steps:
        count = window_count(num_frames, inputs.pose_steps, 1, clips)
    else:
        count = tf.constant(1, tf.int32)  # segments cover the clip
    return tf.cast(count * (crops if inputs.frames else 1), tf.int64)


def _evaluation_view(record, view, inputs, clips, crops):
    """``(features, label)`` of one view of a record."""
    context, jpegs, xyz, lists = _parse(record, inputs)
    num_frames = tf.cast(context["clip/num_frames"], tf.int32)
    view = tf.cast(view, tf.int32)
    features = _stored_features(lists, inputs)
    if inputs.pose_steps:
        if inputs.has_window or inputs.granularities:
            steps = middle_steps(num_frames, inputs.pose_steps)
        else:  # views of a pose sequence take their frames from different places in the sub-sequences
            count = tf.cast(window_count(num_frames, inputs.pose_steps, 1, clips), tf.float32)
            window = view // crops if inputs.frames else view
            steps = step_frames(num_frames, inputs.pose_steps, (tf.cast(window, tf.float32) + 0.5) / count)
    if inputs.frames:
        if inputs.has_window:
            start = window_starts(num_frames, inputs.frames, inputs.stride, clips)[view // crops]
            indices = sample_frames(num_frames, inputs.frames, inputs.stride, start)
        else:
            indices = steps
        crop = view % crops

        def window(height, width):
            corner = _corner_square(height, width, crop - 1)
            return tf.where(crop == 0, centre_square(height, width), corner)

        for part in inputs.parts:
            images = resize(decode_frames(jpegs[part], indices, window), inputs.size)
            features[skeletons.input_name(part)] = to_network_range(images)
        if inputs.pose_xy:
            features["pose_xy"] = _places(lists, steps, window, inputs)
    if inputs.reads_poses:
        xyz = poses.normalise(xyz, inputs.layout, inputs.normalisation)
        features.update(_segment_poses(xyz, num_frames, lambda n: 0.5, inputs))
        if inputs.pose_steps:
            features["pose"] = tf.gather(xyz, steps)
    return _finish(features, inputs), tf.cast(context["clip/label/index"], tf.int32)


def evaluation(records, protocol, split, inputs, *, batch, clips=1, crops=1):
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

    Returns:
        A ``tf.data.Dataset`` of ``(features, label, clip_number)``; ``clip_number`` counts the split's clips, all
        views of a clip share it.

    Raises:
        UserError: The dataset cannot feed the model.
        ValueError: ``crops`` is neither 1 nor 3.
    """
    if crops not in (1, 3):
        raise ValueError(f"crops is {crops}, expected 1 or 3")
    records.check(inputs, protocol, split)

    def views(number, record):
        return tf.data.Dataset.range(_views_of(record, inputs, clips, crops)).map(lambda view: (number, record, view))

    def load(number, record, view):
        features, label = _evaluation_view(record, view, inputs, clips, crops)
        return features, label, number

    data = _read(_shards(records, protocol, split)).enumerate().flat_map(views)
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
    count = sum(granularities)

    def chosen(num_frames, steps):
        return tf.concat([tf.reshape(middle_steps(num_frames, g * steps), [g, steps]) for g in granularities], axis=0)

    def load(record):
        context, jpegs, xyz, _ = _parse(record, inputs)
        num_frames = tf.cast(context["clip/num_frames"], tf.int32)
        clip, indices = {}, {}
        if inputs.frames:
            distinct, where = tf.unique(tf.reshape(chosen(num_frames, inputs.frames), [-1]))
            for part in inputs.parts:
                images = resize(decode_frames(jpegs[part], distinct, centre_square), inputs.size)
                name = skeletons.input_name(part)
                clip[name], indices[name] = to_network_range(images), tf.reshape(where, [count, inputs.frames])
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
    data = _read(_shards(records, protocol, split))
    data = data.map(lambda record: tf.io.parse_single_sequence_example(record, context, {})[0]["clip/id"])
    return [clip_id.decode() for clip_id in data.as_numpy_iterator()]
