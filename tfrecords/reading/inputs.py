"""A model's inputs for a clip: names, shapes and how they are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfrecords import schema
from tfrecords.reading import pictures, poses
from zoo import skeletons

FRAMES_AT = ("stride", "pose_steps")
SHORT_CLIPS = ("loop", "spread")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A model's inputs for a clip.

    Attributes:
        frames: Frames T of a video clip; 0 for a model without video.
        stride: Distance between two sampled frames in the recording.
        frames_at: Which frames are sampled. ``stride``: every ``stride``-th of a window. ``pose_steps``: those of the
            pose sequence, so that a frame and a pose of the same step show the same moment; frames and steps
            are equally many.
        short_clips: How a recording shorter than a window is sampled. ``loop``: it starts again. ``spread``: the
            frames are spread evenly over all of it, some of them twice.
        size: Height and width of a frame, pixels.
        parts: Body parts whose pictures are fed, some of :data:`tfrecords.schema.PARTS`.
        whole_frames: Take the full body's pictures from the stored part ``full_image``: whole frames, of which training
            sees squares.
        framing: Which part of a recording's frame a picture shows, one of :data:`tfrecords.reading.pictures.FRAMINGS`,
            the same as in training. Stored pictures have already been cut in this way.
        pose_steps: Steps tp of a pose sequence; 0 for a model without poses.
        persons: Number M of persons in a pose, and of persons around whom pictures are cut.
        layout: Skeleton layout; needed with poses.
        stored_persons: Persons in the records' poses: the model is fed the first M, followed by absent ones if there
            are fewer; 0: M.
        stored_layout: Skeleton layout of the records, mapped onto ``layout``; empty: the same.
        normalisation: How poses are normalised.
        interpolate: Poses between two frames are interpolated linearly, so that a sequence of more steps than the clip
            has frames moves evenly; else each step is the pose of a frame.
        pose_xy: Also feed the joints' pixel coordinates in the full body's pictures; frames are then at the pose steps.
        granularities: Numbers of segments G that a clip is cut into, for a model that is fed features of segments.
        feature_size: Values D of a segment's feature.
        segment_steps: Steps S of the pose sequence of a segment; 0 for a model without poses of segments.

    Example:
        >>> inputs = Inputs(frames=16, size=64, pose_steps=5, layout="kinect_v1_20")
        >>> {name: tuple(spec.shape) for name, spec in inputs.signature().items()}
        {'rgb': (16, 64, 64, 3), 'pose': (5, 1, 20, 3)}
    """

    frames: int = 0
    stride: int = 2
    frames_at: str = "stride"
    short_clips: str = "loop"
    size: int = 224
    parts: tuple[str, ...] = ("full_body",)
    whole_frames: bool = False
    framing: str = "centre"
    pose_steps: int = 0
    persons: int = 1
    layout: str = ""
    stored_persons: int = 0
    stored_layout: str = ""
    normalisation: poses.Normalisation = dataclasses.field(default_factory=poses.Normalisation)
    interpolate: bool = False
    pose_xy: bool = False
    granularities: tuple[int, ...] = ()
    feature_size: int = 0
    segment_steps: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "granularities", tuple(self.granularities))
        unknown = sorted(set(self.parts) - set(schema.PARTS))
        if unknown:
            raise ValueError(f"unknown body parts {unknown}, expected some of {schema.PARTS}")
        if not self.frames and not self.pose_steps and not self.granularities:
            raise ValueError("a model needs frames, pose_steps or granularities, but none is given")
        if self.frames_at not in FRAMES_AT:
            raise ValueError(f"frames_at is {self.frames_at!r}, expected one of {', '.join(FRAMES_AT)}")
        if self.short_clips not in SHORT_CLIPS:
            raise ValueError(f"short_clips is {self.short_clips!r}, expected one of {', '.join(SHORT_CLIPS)}")
        if self.framing not in pictures.FRAMINGS:
            raise ValueError(f"framing is {self.framing!r}, expected one of {', '.join(pictures.FRAMINGS)}")
        if self.frames_at == "pose_steps" and self.frames != self.pose_steps:
            raise ValueError(
                f"frames_at pose_steps: frames and pose_steps must be equal, they are {self.frames} and "
                f"{self.pose_steps}"
            )
        if self.pose_xy and (self.frames_at != "pose_steps" or "full_body" not in self.parts):
            raise ValueError(
                "pose_xy are pixel coordinates in pictures: they need the full body's, with frames_at pose_steps"
            )
        if self.interpolate and self.segment_steps:
            raise ValueError("interpolate: the poses of segments are those of frames, leave it out")
        if self.stored_layout:
            skeletons.map_weights(self.stored_layout, self.layout)  # ValueError: there is no such map
        for name in ("stride", "size", "persons"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def joints(self) -> int:
        """Joints J of the skeleton layout."""
        return skeletons.get(self.layout).num_joints

    @property
    def stored_pose(self) -> tuple[int, str]:
        """Persons and skeleton layout in the records."""
        return self.stored_persons or self.persons, self.stored_layout or self.layout

    @property
    def stored_joints(self) -> int:
        """Joints of the skeleton layout in the records."""
        return skeletons.get(self.stored_pose[1]).num_joints

    @property
    def pose_values(self) -> int:
        """Values M * J * 3 of one frame's poses; 0 without poses."""
        return self.persons * self.joints * 3 if self.reads_poses else 0

    @property
    def reads_poses(self) -> bool:
        """Whether the model is fed poses, of the clip or of its segments."""
        return bool(self.pose_steps or self.segment_steps)

    @property
    def poses_alone(self) -> bool:
        """Whether the model is fed poses and nothing else, so that it cannot classify a clip without a pose."""
        return self.reads_poses and not self.frames and not self.granularities

    @property
    def has_window(self) -> bool:
        """Whether the frames are taken from a window in the recording, not from equal parts of the whole recording."""
        return bool(self.frames) and self.frames_at == "stride"

    @property
    def picture_names(self) -> dict[str, str]:
        """Body part -> name of the feature that holds its pictures."""
        return {part: skeletons.input_name(part) for part in self.parts} if self.frames else {}

    def stored_part(self, part: str) -> str:
        """The stored part whose pictures are the model's input for a body part."""
        return skeletons.FULL_IMAGE if self.whole_frames and part == "full_body" else part

    @property
    def pose_names(self) -> tuple[str, ...]:
        """Names of the features that hold poses, of the clip and of its segments."""
        segments = [f"pose_g{g}" for g in self.granularities] if self.segment_steps else []
        return (*(["pose"] if self.pose_steps else []), *segments)

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Feature name -> ``tf.TensorSpec`` of one clip.

        ``rgb`` [T, H, W, 3] in [-1, 1], likewise ``rgb_left_hand`` and ``rgb_right_hand``; ``pose`` [tp, M, J, 3],
        normalised; ``pose_xy`` [tp, M, J, 2]: pixels of ``rgb``, x to the right and y downwards, 0 is the middle
        of the first pixel; ``features_gG`` [G, D]; ``pose_gG`` [G, S, M, J, 3].
        """
        pictures = (self.frames, self.size, self.size, 3)
        specs = {name: tf.TensorSpec(pictures, tf.float32) for name in self.picture_names.values()}
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

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which :meth:`from_dict` makes an equal object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """The inverse of :meth:`to_dict`."""
        normalisation = poses.Normalisation(**values.get("normalisation", {}))
        return cls(**{**values, "normalisation": normalisation})
