"""One clip, from its record to a model's inputs. Training, evaluation and segments take the same steps.

::

    record ─► parse ─► choose ─────────────────────────────► load ────────────────────► augment ─► features
                       frames, pose steps, window, mirrored  decode, crop, normalise

Only the choice differs: training draws it, evaluation takes one view after the other, segments cover the clip.
Evaluation does not augment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from tfrecords import schema
from tfrecords.reading import augmentation, pictures, poses, sampling
from tfrecords.reading.inputs import Inputs

Features = dict[str, tf.Tensor]
FULL = "full"  # in place of a number of crops: the whole picture
_DRAWS = ("start", "crop", "flip", "steps", "pose", "colours", "jitter", "span", "warp", "missing", "swap")
# The order of the names numbers the seeds.


class Record(NamedTuple):
    """A parsed record; its pictures are still JPEG.

    Attributes:
        context: The record's context, see :mod:`tfrecords.schema`.
        lists: Its feature lists.
    """

    context: Mapping[str, tf.Tensor]
    lists: Mapping[str, tf.Tensor]

    @property
    def num_frames(self) -> tf.Tensor:
        """Frames in the recording, int32."""
        return tf.cast(self.context["clip/num_frames"], tf.int32)


class Choice(NamedTuple):
    """Which frames, pose steps and picture windows of a clip are read.

    Attributes:
        frames: Frames whose pictures are fed, ``[T]`` int32.
        steps: Positions of the pose steps in the clip, ``[tp]``, see :func:`.sampling.step_positions`.
        segment_steps: Number of segments G -> positions of their pose steps, ``[G * S]``.
        window: Part of a picture that is fed; a function of height and width, see :func:`.pictures.decode_frames`.
        mirrored: Whether the clip is mirrored, a bool tensor; ``None``: never.
        square: Whether pictures are fed as squares, or in the proportions of the window.
        swapped: Whether the persons' order is reversed, a bool tensor; ``None``: never.
    """

    frames: tf.Tensor | None = None
    steps: tf.Tensor | None = None
    segment_steps: Mapping[int, tf.Tensor] = {}
    window: pictures.Window = pictures.centre_square
    mirrored: tf.Tensor | None = None
    square: bool = True
    swapped: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Views:
    """The views evaluation takes of a clip.

    Attributes:
        clips: Windows per recording, or ``"all"`` for as many as cover it.
        crops: 1 (the centred square) or 3 (and two corners), per window; ``"full"``: the whole picture, not a square.
        pose_crop: Pose sequences are taken from parts of the recording, of lengths from this fraction to the whole.
        swap_persons: Every view is taken in both orders of the persons.
        flip: Every view is taken as it is and mirrored.
    """

    clips: int | str = 1
    crops: int | str = 1
    pose_crop: float = 1.0
    swap_persons: bool = False
    flip: bool = False

    @property
    def crop_count(self) -> int:
        """Crops per window."""
        return 1 if self.crops == FULL else int(self.crops)

    def windows(self, num_frames: tf.Tensor, inputs: Inputs) -> tf.Tensor:
        """Windows (or samplings) of a recording."""
        if inputs.has_window:
            return sampling.window_count(num_frames, inputs.frames, inputs.stride, self.clips)
        if inputs.pose_steps:
            return sampling.window_count(num_frames, inputs.pose_steps, 1, self.clips)
        return tf.constant(1, tf.int32)  # segments cover the clip

    def count(self, num_frames: tf.Tensor, inputs: Inputs) -> tf.Tensor:
        """Views of a recording, int64."""
        count = self.windows(num_frames, inputs) * (self.crop_count if inputs.frames else 1)
        return tf.cast(count * (2 if self.swap_persons else 1) * (2 if self.flip else 1), tf.int64)


def parse(serialized: tf.Tensor, inputs: Inputs) -> Record:
    """Parses a model's inputs from a serialised record; decodes no picture."""
    values = _stored_values(inputs)
    context, lists = schema.parsing_spec(
        parts=tuple(map(inputs.stored_part, inputs.parts)) if inputs.frames else (),
        pose_values=values,
        xy_values=values // 3 * 2 if inputs.pose_xy else 0,
        boxes=[inputs.stored_part("full_body")] if inputs.pose_xy else (),
        granularities=inputs.granularities,
        feature_size=inputs.feature_size,
    )
    return Record(*tf.io.parse_single_sequence_example(serialized, context, lists))


def count_frames(serialized: tf.Tensor) -> tf.Tensor:
    """Frames in the recording of a serialised record, int32."""
    context, _ = schema.parsing_spec()
    return Record(*tf.io.parse_single_sequence_example(serialized, context, {})).num_frames


def clip_id(serialized: tf.Tensor) -> tf.Tensor:
    """Id of the clip of a serialised record, a string tensor."""
    spec = {"clip/id": tf.io.FixedLenFeature([], tf.string)}
    return tf.io.parse_single_sequence_example(serialized, spec, {})[0]["clip/id"]


def has_pose(serialized: tf.Tensor, inputs: Inputs) -> tf.Tensor:
    """Whether anybody's pose is known in a serialised record, a bool tensor."""
    spec = schema.parsing_spec(pose_values=_stored_values(inputs))
    return tf.reduce_any(tf.not_equal(tf.io.parse_single_sequence_example(serialized, *spec)[1]["pose/xyz"], 0.0))


def _stored_values(inputs):
    """Values of one frame's poses in a record; 0 without poses."""
    return inputs.stored_pose[0] * inputs.stored_joints * 3 if inputs.reads_poses else 0


def _by_joint(values, axes, inputs):
    """Stored coordinates ``[T, values]`` by person and joint, ``[T, M, J, axes]``."""
    return tf.reshape(values, [-1, inputs.stored_pose[0], inputs.stored_joints, axes])


def label(record: Record, label_numbers: tuple[int, ...]) -> tf.Tensor:
    """A clip's label number in the protocol, int32; see :meth:`.records.Records.label_numbers`."""
    return tf.gather(tf.constant(label_numbers, tf.int32), record.context["clip/label/index"])


# ----------------------------------------------------------------------------------------------------------- choose


def seeds_of(seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Name of a random draw -> its seed, from the seed ``[2]`` int64 of a clip."""
    return {name: tf.random.experimental.stateless_fold_in(seed, number) for number, name in enumerate(_DRAWS)}


def draw(
    num_frames: tf.Tensor, inputs: Inputs, augment: augmentation.Augmentation, seeds: Mapping[str, tf.Tensor]
) -> Choice:
    """The choice of a training: every part of it is drawn."""
    steps = _drawn_steps(inputs, augment, seeds) if inputs.pose_steps else None

    def window(height, width):
        if augment.crop:
            return pictures.random_square(height, width, seeds["crop"])
        return pictures.centre_square(height, width)

    return Choice(
        frames=_drawn_frames(num_frames, inputs, augment, seeds)
        if inputs.has_window
        else _frames_at(num_frames, steps, inputs),
        steps=steps,
        segment_steps=_segment_steps(inputs, lambda count: tf.random.stateless_uniform([count], seeds["steps"])),
        window=window,
        mirrored=tf.random.stateless_uniform([], seeds["flip"]) < 0.5 if augment.flip else None,
        swapped=tf.random.stateless_uniform([], seeds["swap"]) < 0.5 if augment.swap_persons else None,
    )


def view(num_frames: tf.Tensor, inputs: Inputs, number: tf.Tensor, views: Views) -> Choice:
    """The choice of an evaluation: one of its views.

    Args:
        num_frames: Frames in the recording.
        inputs: What the model is fed.
        number: Number of the view, from 0. Fastest to slowest, it counts: unmirrored and mirrored, orders of the
            persons, crops, windows.
        views: The views that ``number`` counts.
    """
    number, mirrored, swapped = tf.cast(number, tf.int32), None, None
    if views.flip:
        number, mirrored = number // 2, number % 2 == 1
    if views.swap_persons:
        number, swapped = number // 2, number % 2 == 1
    crops = views.crop_count
    window, crop = (number // crops, number % crops) if inputs.frames else (number, 0)
    steps = _steps_of_view(num_frames, inputs, window, views) if inputs.pose_steps else None
    if inputs.has_window:
        frames = _frames_of_window(num_frames, inputs, window=window, windows=views.clips)
    else:
        frames = _frames_at(num_frames, steps, inputs)

    def square(height, width):
        corner = pictures.corner_square(height, width, crop - 1)
        return tf.where(crop == 0, pictures.centre_square(height, width), corner)

    full = views.crops == FULL
    shown = pictures.all_of_it if full else square
    segments = _segment_steps(inputs, lambda count: 0.5)
    return Choice(frames, steps, segments, shown, mirrored, square=not full, swapped=swapped)


def _frames_at(num_frames, steps, inputs):
    """Frames at the pose steps; ``None`` for a model without frames."""
    return sampling.step_frames(num_frames, steps) if inputs.frames else None


def _segment_steps(inputs, offset):
    """Number of segments -> positions of their pose steps; ``offset`` is a function of the number of positions."""
    counts = {g: g * inputs.segment_steps for g in inputs.granularities} if inputs.segment_steps else {}
    return {g: sampling.step_positions(count, offset(count)) for g, count in counts.items()}


def _drawn_steps(inputs, augment, seeds):
    """Positions of a training's pose steps, ``[tp]``: below 0 and above 1 where time is padded."""
    offsets = tf.random.stateless_uniform([inputs.pose_steps], seeds["steps"])
    positions = sampling.step_positions(inputs.pose_steps, offsets)
    if augment.time_warp > 1:
        positions = sampling.warp_time(positions, augment.time_warp, seeds["warp"])
    if augment.pose_crop < 1 or augment.pose_pad:
        start, length = sampling.random_span(augment.pose_crop, 1.0 + augment.pose_pad, seeds["span"])
        positions = start + length * positions
    return positions


def _drawn_frames(num_frames, inputs, augment, seeds):
    """Frames of a training window, ``[T]``: its start is drawn, and with temporal jitter each frame after it."""
    shift = 0
    if augment.temporal_jitter:
        shift = tf.random.stateless_uniform([inputs.frames], seeds["jitter"], 0, inputs.stride, tf.int32)
    if not augment.window:
        return _frames_of_window(num_frames, inputs, shift=shift)
    # The start is drawn from the clip's first half, where the window fits; a clip shorter than the window loops.
    last = tf.minimum(num_frames // 2, num_frames - inputs.frames * inputs.stride)
    start = tf.random.stateless_uniform([], seeds["start"], 0, tf.maximum(last + 1, 1), tf.int32)
    spread = tf.random.stateless_uniform([], seeds["start"]) if inputs.short_clips == "spread" else None
    return sampling.sample_frames(num_frames, inputs.frames, inputs.stride, start, shift, spread)


def _frames_of_window(num_frames, inputs, *, window=0, windows=1, shift=0):
    """Frames of one of an evaluation's windows, ``[T]``."""
    start = sampling.window_starts(num_frames, inputs.frames, inputs.stride, windows)[window]
    spread = 0.5 if inputs.short_clips == "spread" else None
    return sampling.sample_frames(num_frames, inputs.frames, inputs.stride, start, shift, spread)


def _steps_of_view(num_frames, inputs, window, views):
    """Positions of an evaluation's pose steps, ``[tp]``; without a window or segments they differ by view."""
    if inputs.has_window or inputs.granularities:
        return sampling.step_positions(inputs.pose_steps, 0.5)
    count = tf.cast(views.windows(num_frames, inputs), tf.float32)
    positions = sampling.step_positions(inputs.pose_steps, (tf.cast(window, tf.float32) + 0.5) / count)
    if views.pose_crop < 1:
        start, length = sampling.spread_span(window, views.windows(num_frames, inputs), views.pose_crop)
        positions = start + length * positions
    return positions


# ------------------------------------------------------------------------------------------------------------- load


def load(record: Record, choice: Choice, inputs: Inputs) -> Features:
    """Loads what was chosen of a clip: pictures decoded, poses normalised.

    Returns:
        Feature name -> tensor, as :meth:`.inputs.Inputs.signature`, but the poses of segments are ``[G * S, M, J, 3]``.
    """
    features = {f"features_g{g}": record.lists[schema.features_list(g)] for g in inputs.granularities}
    if inputs.frames:
        features.update(_load_pictures(record, choice, inputs))
    if inputs.pose_xy:
        features["pose_xy"] = _load_pixels(record, choice, inputs)
    if inputs.reads_poses:
        features.update(_load_poses(record, choice, inputs))
    return features


def _if_mirrored(choice, mirrored, value):
    """``mirrored(value)`` where the clip is mirrored, else ``value``."""
    return value if choice.mirrored is None else tf.cond(choice.mirrored, lambda: mirrored(value), lambda: value)


def _in_order(choice, values):
    """``values`` ``[T, M, ...]`` in the chosen order of the persons."""
    return values if choice.swapped is None else tf.where(choice.swapped, values[:, ::-1], values)


def _load_pictures(record, choice, inputs):
    """Feature name -> pictures ``[T, size, size, 3]``, or ``[T, height, width, 3]``, float32 in [-1, 1]."""
    found = {}
    for part, name in inputs.picture_names.items():
        images = pictures.decode_frames(record.lists[f"image/{inputs.stored_part(part)}"], choice.frames, choice.window)
        images = _if_mirrored(choice, pictures.mirror, images)
        found[name] = pictures.prepare(images, inputs.size, choice.square)
    left, right = (inputs.picture_names.get(part) for part in ("left_hand", "right_hand"))
    if left and right:  # a mirror shows a left hand as a right one
        hands = _if_mirrored(choice, lambda hands: hands[::-1], (found[left], found[right]))
        found[left], found[right] = hands
    return found


def _load_pixels(record, choice, inputs):
    """Pixel coordinates of the joints ``[tp, M, J, 2]`` in the full body's pictures as they are fed."""
    frames = sampling.step_frames(record.num_frames, choice.steps)
    xy = _in_order(choice, _as_fed(tf.gather(record.lists["pose/xy"], frames), 2, inputs))
    part = inputs.stored_part("full_body")
    boxes = tf.gather(record.lists[f"box/{part}"], frames)
    shape = tf.io.extract_jpeg_shape(record.lists[f"image/{part}"][frames[0]])
    pixels = pictures.pixels_in_window(xy, boxes, shape, choice.window, inputs.size)
    return _if_mirrored(choice, lambda xy: augmentation.mirror_pixels(xy, inputs.layout, inputs.size), pixels)


def _load_poses(record, choice, inputs):
    """Feature name -> normalised poses ``[steps, M, J, 3]``."""
    xyz = _in_order(choice, _as_fed(record.lists["pose/xyz"], 3, inputs))
    xyz = _if_mirrored(choice, lambda pose: augmentation.mirror_pose(pose, inputs.layout), xyz)
    xyz = poses.normalise(xyz, inputs.layout, inputs.normalisation)
    found = {"pose": pose_sequence(xyz, choice.steps, inputs)} if inputs.pose_steps else {}
    for g, steps in choice.segment_steps.items():
        found[f"pose_g{g}"] = tf.gather(xyz, sampling.step_frames(record.num_frames, steps))
    return found


def _as_fed(values, axes, inputs):
    """Stored coordinates ``[T, values]`` as those of the persons and joints that are fed, ``[T, M, J, axes]``."""
    persons, layout = inputs.stored_pose
    values = poses.map_joints(_by_joint(values, axes, inputs)[:, : inputs.persons], layout, inputs.layout)
    return tf.pad(values, [[0, 0], [0, max(inputs.persons - persons, 0)], [0, 0], [0, 0]])


def pose_sequence(xyz: tf.Tensor, positions: tf.Tensor, inputs: Inputs) -> tf.Tensor:
    """The pose sequence ``[tp, M, J, 3]`` that a model is fed: poses of frames, or interpolated between them.

    Args:
        xyz: ``[frames in the recording, M, J, 3]``.
        positions: ``[tp]``, as for :func:`tfrecords.reading.sampling.step_frames`.
        inputs: What the model is fed.
    """
    if inputs.interpolate:
        return sampling.interpolated_steps(xyz, positions)
    return tf.gather(xyz, sampling.step_frames(tf.shape(xyz)[0], positions))


# ---------------------------------------------------------------------------------------------------------- augment


def augment(
    features: Features, inputs: Inputs, changes: augmentation.Augmentation, seeds: Mapping[str, tf.Tensor]
) -> Features:
    """Random changes of what was loaded: of the pictures' colours and of the poses; some clips lose their poses."""
    features = dict(features)
    if changes.changes_colours:
        for name in inputs.picture_names.values():
            features[name] = augmentation.change_colours(features[name], changes, seeds["colours"])
    for name in inputs.pose_names:
        features[name] = augmentation.change_pose(features[name], changes, seeds["pose"], inputs.normalisation.depth)
    if changes.pose_missing and not inputs.poses_alone:
        kept = tf.random.stateless_uniform([], seeds["missing"]) >= changes.pose_missing
        for name in (*inputs.pose_names, *(["pose_xy"] if inputs.pose_xy else [])):
            features[name] = tf.where(kept, features[name], tf.zeros_like(features[name]))
    return features


def with_static_shapes(features: Features, inputs: Inputs, square: bool = True) -> Features:
    """The features in the shapes, and in the order, of :meth:`.inputs.Inputs.signature`.

    Pictures that are not ``square`` have no known height and width.
    """
    specs = inputs.signature()
    if not square:
        whole = tf.TensorSpec((inputs.frames, None, None, 3), tf.float32)
        specs.update(dict.fromkeys(inputs.picture_names.values(), whole))
    segments = {name: tf.reshape(features[name], specs[name].shape) for name in inputs.pose_names if name != "pose"}
    return {name: tf.ensure_shape({**features, **segments}[name], spec.shape) for name, spec in specs.items()}


# --------------------------------------------------------------------------------------------------- the three ways


def training_clip(
    serialized: tf.Tensor,
    seed: tf.Tensor,
    inputs: Inputs,
    changes: augmentation.Augmentation,
    label_numbers: tuple[int, ...],
) -> tuple[Features, tf.Tensor]:
    """``(features, label)`` of a record; every choice is drawn from ``seed`` (``[2]`` int64)."""
    record, seeds = parse(serialized, inputs), seeds_of(seed)
    features = load(record, draw(record.num_frames, inputs, changes, seeds), inputs)
    return with_static_shapes(augment(features, inputs, changes, seeds), inputs), label(record, label_numbers)


def evaluated_view(
    serialized: tf.Tensor,
    number: tf.Tensor,
    inputs: Inputs,
    views: Views,
    change_poses: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[Features, Record]:
    """``(features, record)`` of one view of a record, whose poses ``[frames, M, J, 3]`` in metres may be changed."""
    record = parse(serialized, inputs)
    if change_poses and inputs.reads_poses:
        changed = change_poses(_by_joint(record.lists["pose/xyz"], 3, inputs))
        record = record._replace(lists={**record.lists, "pose/xyz": changed})
    choice = view(record.num_frames, inputs, number, views)
    return with_static_shapes(load(record, choice, inputs), inputs, choice.square), record


def load_segments(
    serialized: tf.Tensor, inputs: Inputs, granularities: tuple[int, ...]
) -> tuple[Features, dict[str, tf.Tensor]]:
    """The features that a clip's segments are cut from, and each segment's rows in them, by granularity.

    Returns:
        ``(features, rows)``: feature name -> tensor of the clip, and feature name -> ``[segments, T or tp]``. Every
        frame is decoded once.
    """
    record, segments = parse(serialized, inputs), sum(granularities)

    def positions(steps):
        """The middles of all segments' equal parts, ``[segments * steps]``."""
        return tf.concat([sampling.step_positions(g * steps, 0.5) for g in granularities], axis=0)

    choice, rows = Choice(), {}
    if inputs.frames:
        frames, of_frames = tf.unique(sampling.step_frames(record.num_frames, positions(inputs.frames)))
        choice = choice._replace(frames=frames)
        rows = {name: tf.reshape(of_frames, [segments, -1]) for name in inputs.picture_names.values()}
    if inputs.pose_steps:
        choice = choice._replace(steps=positions(inputs.pose_steps))
        rows["pose"] = tf.reshape(tf.range(segments * inputs.pose_steps), [segments, -1])
    if inputs.pose_xy:
        rows["pose_xy"] = rows["pose"]
    return load(record, choice, inputs), rows


def cut_segments(features: Features, rows: Mapping[str, tf.Tensor], inputs: Inputs) -> tf.data.Dataset:
    """The features of one segment after the other, from those of :func:`load_segments`."""

    def segment(rows):
        return with_static_shapes({name: tf.gather(features[name], row) for name, row in rows.items()}, inputs)

    return tf.data.Dataset.from_tensor_slices(rows).map(segment)
