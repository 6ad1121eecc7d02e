"""The data contract: what one record holds.

A clip is one ``tf.train.SequenceExample``. Its context describes the clip; its feature lists have one entry per
frame. Every other file of the project refers to the names below; nothing else defines them.

=====================  ==================================================================================
context                value
=====================  ==================================================================================
``clip/id``            the dataset's own name of the clip, such as ``a01_s01_e00_v01``
``clip/dataset``       the dataset's name, such as ``nucla``
``clip/label/index``   class, from 0
``clip/label/text``    class name
``clip/subject``       performer's number; 0 where unknown (likewise the next three)
``clip/camera``        camera's number
``clip/setup``         number of the camera arrangement
``clip/repetition``    number of the repetition
``clip/num_frames``    frames in the clip
``clip/fps``           frames per second
``skeleton/layout``    a name in :data:`zoo.skeletons.LAYOUTS`; empty without poses
``skeleton/persons``   persons M in the poses; 0 without poses
``clip/recording``     name of the recording that the clip is a window of; absent for a whole recording
``clip/start``         number of the clip's first frame in the recording, from 0; likewise
=====================  ==================================================================================

=====================  ==================================================================================
feature list           value per frame
=====================  ==================================================================================
``image/<part>``       a JPEG picture of the body part (:data:`PARTS`)
``box/<part>``         where in the source frame it was cut: x_min, y_min, x_max, y_max in pixels
``pose/xyz``           persons x joints x 3, metres, camera coordinates; an absent person is all zeros
``pose/xy``            persons x joints x 2, pixels of the source frame
``pose/confidence``    persons x joints, 1 measured, 0 absent, between the two estimated
``label/frame``        class of the frame, from 0; -1: not labelled
=====================  ==================================================================================

A feature list that a clip does not have is absent: clips of poses alone and of video alone are valid.

=====================  ==================================================================================
feature list           value per segment
=====================  ==================================================================================
``features/g<G>``      features of a trained network for each of the G equal segments of the clip, D floats
=====================  ==================================================================================

``recipes/extract_features.py`` adds these lists, most often instead of the pictures; readers of the same version
that do not know them skip them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.skeletons import PARTS

if TYPE_CHECKING:  # imported where it is used: many commands need no TensorFlow
    import tensorflow as tf

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

_POSES = {"pose/xyz": 3, "pose/xy": 2, "pose/confidence": 1}  # values per joint


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """What a clip's name encodes. Numbers are the dataset's own; 0 where it has none."""

    id: str
    label: int
    subject: int = 0
    camera: int = 0
    setup: int = 0
    repetition: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """One clip in memory.

    Attributes:
        info: What the clip's name encodes.
        dataset: Name of the dataset.
        label_text: Name of the class.
        fps: Frames per second.
        images: Part -> one JPEG per frame.
        boxes: Part -> ``[T, 4]`` float32, pixels in the source frame.
        layout: Skeleton layout; empty without poses.
        pose_xyz: ``[T, M, J, 3]`` float32 in metres, or ``None``.
        pose_xy: ``[T, M, J, 2]`` float32 in pixels, or ``None``.
        pose_confidence: ``[T, M, J]`` float32 in 0 .. 1, or ``None``.
        features: Number of segments G -> ``[G, D]`` float32.
        length: Frames of the recording; needed only where nothing is stored per frame.
        frame_labels: ``[T]`` classes, -1 where a frame is not labelled; ``None``: the clip has one label alone.
        recording: Name of the recording that the clip is a window of; empty: it is a whole recording.
        start: Number of the clip's first frame in that recording, from 0.
    """

    info: ClipInfo
    dataset: str
    label_text: str
    fps: float
    images: Mapping[str, Sequence[bytes]] = dataclasses.field(default_factory=dict)
    boxes: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    layout: str = ""
    pose_xyz: np.ndarray | None = None
    pose_xy: np.ndarray | None = None
    pose_confidence: np.ndarray | None = None
    features: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)
    length: int = 0
    frame_labels: np.ndarray | None = None
    recording: str = ""
    start: int = 0

    @property
    def num_frames(self) -> int:
        """Frames in the clip; every list of values per frame has this many entries (``ValueError`` otherwise)."""
        lengths = {name: len(values) for name, values in self._frame_lists().items()}
        if not lengths and self.length:
            return self.length
        if len(set(lengths.values())) != 1:
            raise ValueError(f"clip {self.info.id}: lists of unequal or no length: {lengths}")
        return next(iter(lengths.values()))

    @property
    def persons(self) -> int:
        """Persons M in the poses; 0 without poses."""
        poses = [p for p in (self.pose_xyz, self.pose_xy) if p is not None]
        return poses[0].shape[1] if poses else 0

    def feature_lists(self) -> dict[str, Any]:
        """Name -> values per frame or segment, for the lists the clip has."""
        return {**self._frame_lists(), **{features_list(g): values for g, values in self.features.items()}}

    def _frame_lists(self):
        lists = {f"image/{part}": images for part, images in self.images.items()}
        lists.update({f"box/{part}": boxes for part, boxes in self.boxes.items()})
        poses = {"pose/xyz": self.pose_xyz, "pose/xy": self.pose_xy, "pose/confidence": self.pose_confidence}
        lists.update({name: pose for name, pose in poses.items() if pose is not None})
        if self.frame_labels is not None:
            lists["label/frame"] = np.asarray(self.frame_labels, np.int64)
        return lists


def features_list(granularity: int) -> str:
    """Name of the feature list that holds one feature for each of ``granularity`` segments."""
    return f"features/g{granularity}"


def follow_persons(boxes: np.ndarray) -> bool:
    """Whether the boxes ``[T, 4]`` of a clip are those of person crops.

    The box of a whole frame is the same in all frames of a clip and begins at the frame's corner or outside the frame.

    Example:
        >>> [follow_persons(np.tile(box, (2, 1))) for box in ((0, -20, 160, 140), (5, 0, 9, 4))]
        [False, True]
    """
    return bool((boxes[:, :2] > 0).any() or (boxes != boxes[0]).any())


def encode(clip: Clip) -> bytes:
    """Serialises a clip; the same clip always gives the same bytes.

    Args:
        clip: A :class:`Clip`.

    Returns:
        The bytes of a ``tf.train.SequenceExample``.

    Raises:
        ValueError: The clip's lists differ in length, or a part is not in :data:`PARTS`.
    """
    import tensorflow as tf

    unknown = (set(clip.images) | set(clip.boxes)) - set(PARTS)
    if unknown:
        raise ValueError(f"clip {clip.info.id}: unknown parts {sorted(unknown)}, expected some of {PARTS}")
    example = tf.train.SequenceExample()

    def put(feature, value):
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, (int, np.integer)):
            feature.int64_list.value.append(int(value))
        else:
            feature.float_list.value.extend(np.asarray(value, np.float32).ravel())

    context = {
        "clip/id": clip.info.id.encode(),
        "clip/dataset": clip.dataset.encode(),
        "clip/label/index": int(clip.info.label),
        "clip/label/text": clip.label_text.encode(),
        "clip/subject": int(clip.info.subject),
        "clip/camera": int(clip.info.camera),
        "clip/setup": int(clip.info.setup),
        "clip/repetition": int(clip.info.repetition),
        "clip/num_frames": int(clip.num_frames),
        "clip/fps": float(clip.fps),
        "skeleton/layout": clip.layout.encode(),
        "skeleton/persons": int(clip.persons),
    }
    if clip.recording:
        context.update({"clip/recording": clip.recording.encode(), "clip/start": int(clip.start)})
    for name, value in context.items():
        put(example.context.feature[name], value)
    for name, values in clip.feature_lists().items():
        frames = example.feature_lists.feature_list[name]
        for value in values:
            put(frames.feature.add(), value)
    return example.SerializeToString(deterministic=True)


def decode(serialized: bytes) -> Clip:
    """The :class:`Clip` of serialised bytes: the inverse of :func:`encode`.

    Args:
        serialized: Bytes of a ``tf.train.SequenceExample``.

    Returns:
        The clip; pictures stay JPEG.

    Raises:
        ValueError: The bytes are no record of this schema.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except DecodeError as error:
        raise ValueError(f"not a tf.train.SequenceExample: {error}") from None
    clip = _of_context(example.context.feature)
    persons = example.context.feature["skeleton/persons"].int64_list.value[0]
    lists = example.feature_lists.feature_list
    images: dict[str, list[bytes]] = {
        part: [frame.bytes_list.value[0] for frame in lists[f"image/{part}"].feature]
        for part in PARTS if f"image/{part}" in lists
    }  # fmt: skip
    floats = {
        name: np.array([frame.float_list.value for frame in frames.feature], np.float32)
        for name, frames in lists.items() if not name.startswith(("image/", "label/"))
    }  # fmt: skip
    poses = {
        name: floats[name].reshape(len(floats[name]), persons, -1, values)  # [T, M, J, values]
        for name, values in _POSES.items() if name in floats
    }  # fmt: skip
    confidence = poses.get("pose/confidence")
    frame_labels = None
    if "label/frame" in lists:
        frame_labels = np.array([frame.int64_list.value[0] for frame in lists["label/frame"].feature], np.int64)
    return dataclasses.replace(
        clip,
        images=images,
        boxes={part: floats[f"box/{part}"] for part in PARTS if f"box/{part}" in floats},
        pose_xyz=poses.get("pose/xyz"),
        pose_xy=poses.get("pose/xy"),
        pose_confidence=None if confidence is None else confidence[..., 0],
        features={len(values): values for name, values in floats.items() if name.startswith("features/")},
        frame_labels=frame_labels,
    )


def _of_context(context: Mapping[str, Any]) -> Clip:
    """A clip without its lists, of the features of its context."""
    if "clip/id" not in context:
        raise ValueError("a SequenceExample without clip/id: not a record of this schema")

    def integer(name):
        return context[name].int64_list.value[0]

    def text(name):
        return context[name].bytes_list.value[0].decode()

    numbers = {name: integer(f"clip/{name}") for name in ("subject", "camera", "setup", "repetition")}
    return Clip(
        info=ClipInfo(id=text("clip/id"), label=integer("clip/label/index"), **numbers),
        dataset=text("clip/dataset"),
        label_text=text("clip/label/text"),
        fps=context["clip/fps"].float_list.value[0],
        layout=text("skeleton/layout"),
        length=integer("clip/num_frames"),
        recording=text("clip/recording") if "clip/recording" in context else "",
        start=integer("clip/start") if "clip/start" in context else 0,
    )


def outline(head: bytes) -> Clip:
    """The clip of a record, as far as the record's first bytes describe it.

    Args:
        head: The record's beginning: its context, which :func:`encode` writes first, and any bytes after it.

    Returns:
        The :class:`Clip` without its lists; ``length`` and ``num_frames`` are its frames.

    Raises:
        ValueError: It does not begin with the context of a record of this schema.
    """
    return _of_context(_context(head))


def label_of(head: bytes) -> int:
    """The stored label of a record, from its first bytes.

    Args:
        head: As of :func:`outline`.

    Returns:
        ``clip/label/index``.

    Raises:
        ValueError: It does not begin with the context of a record of this schema.
    """
    context = _context(head)
    if "clip/label/index" not in context:
        raise ValueError("a SequenceExample without clip/label/index: not a record of this schema")
    return context["clip/label/index"].int64_list.value[0]


def _context(head: bytes) -> Mapping[str, Any]:
    """The features of a record's context, from the record's first bytes."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    # Field 1, the context: its tag, its length as a varint of seven bits per byte, itself.
    length, start = 0, 1
    for byte in head[1:6]:
        length |= (byte & 0x7F) << 7 * (start - 1)
        start += 1
        if byte < 0x80:
            break
    try:
        if head[:1] != b"\n" or start + length > len(head):
            raise DecodeError("no context at its start")
        return tf.train.Features.FromString(head[start : start + length]).feature
    except DecodeError as error:
        raise ValueError(f"not a tf.train.SequenceExample: {error}") from None


def without_pictures(serialized: bytes, parts: Collection[str]) -> bytes:
    """A record that lacks the pictures of some body parts; everything else stays.

    Args:
        serialized: Bytes of a ``tf.train.SequenceExample``.
        parts: Body parts, some of :data:`PARTS`.

    Returns:
        The bytes of the smaller record.
    """
    import tensorflow as tf

    example = tf.train.SequenceExample.FromString(serialized)
    for part in parts:
        example.feature_lists.feature_list.pop(f"image/{part}", None)
    return example.SerializeToString(deterministic=True)


def parsing_spec(
    *,
    parts: Sequence[str] = (),
    pose_values: int = 0,
    xy_values: int = 0,
    boxes: Sequence[str] = (),
    granularities: Sequence[int] = (),
    feature_size: int = 0,
) -> tuple[dict[str, Any], dict[str, tf.io.FixedLenSequenceFeature]]:
    """Arguments for ``tf.io.parse_single_sequence_example`` that read a record in a graph.

    Args:
        parts: Body parts whose pictures to read, some of :data:`PARTS`.
        pose_values: Values M * J * 3 of one frame's 3D poses; 0 to read no poses.
        xy_values: Values M * J * 2 of the joints' pixel coordinates in one source frame; 0 to read none.
        boxes: Body parts whose boxes to read, some of :data:`PARTS`.
        granularities: Numbers of segments G whose features to read.
        feature_size: Values D of a segment's feature.

    Returns:
        ``(context_features, sequence_features)``. Pictures come as strings ``[T]`` (nothing is decoded), poses as
        float32 ``[T, pose_values]``, pixel coordinates as ``[T, xy_values]``, boxes as ``[T, 4]``, features as
        ``[G, feature_size]``.
    """
    import tensorflow as tf

    context = {
        "clip/id": tf.io.FixedLenFeature([], tf.string),
        "clip/label/index": tf.io.FixedLenFeature([], tf.int64),
        "clip/num_frames": tf.io.FixedLenFeature([], tf.int64),
    }
    sequence = {f"image/{part}": tf.io.FixedLenSequenceFeature([], tf.string) for part in parts}
    if pose_values:
        sequence["pose/xyz"] = tf.io.FixedLenSequenceFeature([pose_values], tf.float32)
    if xy_values:
        sequence["pose/xy"] = tf.io.FixedLenSequenceFeature([xy_values], tf.float32)
    sequence.update({f"box/{part}": tf.io.FixedLenSequenceFeature([4], tf.float32) for part in boxes})
    for granularity in granularities:
        sequence[features_list(granularity)] = tf.io.FixedLenSequenceFeature([feature_size], tf.float32)
    return context, sequence
