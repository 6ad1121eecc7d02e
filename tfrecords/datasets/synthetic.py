"""SynthADL: rendered activities of daily living with exact poses, for where no dataset can be downloaded.

A clip shows one of ten activities by a person of 25 joints in a furnished room. Ids, cameras and coordinates follow
NTU RGB+D (Shahroudy et al., CVPR 2016, section 3): ``S001C001P001R001A001`` is activity 1, done by person 1 for the
first time in setup 1, seen by camera 1. A performance is one motion in one room, whichever camera sees it.

Activities come in twins, :data:`CONFUSABLE`. Twins of the same setup, person and repetition take place in the same
room and share every draw of the motion, so that they differ only in what names the pair:

* ``object``: the motion is the same to the last bit, only the object in the hand differs, so poses are not enough;
* ``motion``: the object is the same, the hand takes it to another target;
* ``order``: one twin is the other played backwards, so frames without their order are not enough.

The room of both twins holds the same objects, at least one of each kind: an object that is not in the hand lies about.
``object`` twins therefore differ not in which objects there are, but in which one is in the hand.

:mod:`tfrecords.synthadl` holds the persons, rooms and motions, and draws them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords import schema
from tfrecords.converting.crops import cut_size, encode_jpeg
from tfrecords.datasets import base
from tfrecords.synthadl.cameras import CAMERAS, FOCAL_LENGTH, FRAME_SIZE, SETUPS, camera
from tfrecords.synthadl.drawing import render
from tfrecords.synthadl.motion import FPS
from tfrecords.synthadl.performance import Activity, perform, twins
from tfrecords.synthadl.randomness import generator
from tfrecords.synthadl.skeleton import LAYOUT
from zoo import skeletons
from zoo.shared import extras
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import cv2
else:
    cv2 = extras.lazy("cv2")

# Twins are neighbours: 1 and 2, 3 and 4, ...
ACTIVITIES = (
    Activity("drink from cup", "mouth", "cup"),
    Activity("take pills", "mouth", "pill box"),
    Activity("answer phone", "ear", "phone"),
    Activity("text message", "chest", "phone"),
    Activity("wave", "sweep", None),
    Activity("clean window", "sweep", "cloth"),
    Activity("pick up", "reach", "any"),
    Activity("put down", "reach", "any", reverse=True),
    Activity("sit down", "sit", None),
    Activity("stand up", "sit", None, reverse=True),
)


def _confusable():
    pairs = {"object": [], "motion": [], "order": []}
    for first, second in zip(ACTIVITIES[::2], ACTIVITIES[1::2]):
        differs = {
            "object": first.object != second.object,
            "motion": first.motion != second.motion,
            "order": first.reverse != second.reverse,
        }
        (kind,) = [name for name, value in differs.items() if value]
        pairs[kind].append((first.label, second.label))
    return {kind: tuple(twins) for kind, twins in pairs.items()}


CONFUSABLE = _confusable()
"""The only difference of twins -> pairs of class names."""

JPEG_QUALITY = 92
_ID = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")


def _square(centre, side):
    """Squares ``[..., 4]`` (x_min, y_min, x_max, y_max) around points ``[..., 2]``, in whole pixels of the frame.

    Sides are even, so that a picture can be halved without loss.
    """
    side = 2 * np.minimum(np.rint(np.asarray(side) / 2), min(FRAME_SIZE) // 2).astype(int)[..., None]
    low = np.clip(np.rint(centre - side / 2).astype(int), 0, np.array(FRAME_SIZE) - side)
    return np.concatenate([low, low + side], axis=-1)


def _part_box(part, xy, depth):
    """Where a part is cut out: boxes ``[T, 4]``, from the joints' pixels ``[T, J, 2]`` and depths ``[T, J]``.

    The full body's square stays where it is, so that a model sees the person move, and is large enough for what is in
    the hands. A hand's square follows the hand and is half a metre wide. The full image is the frame.
    """
    if part == skeletons.FULL_IMAGE:
        return np.broadcast_to(np.array([0, 0, *FRAME_SIZE]), (len(xy), 4))
    if part != "full_body":
        joint = getattr(LAYOUT, part)
        return _square(xy[:, joint], FOCAL_LENGTH * 0.5 / depth[:, joint])
    margin = FOCAL_LENGTH * 0.22 / depth.mean()
    low, high = xy.min(axis=(0, 1)) - margin, xy.max(axis=(0, 1)) + margin
    return np.broadcast_to(_square((low + high) / 2, (high - low).max()), (len(xy), 4))


class SynthADL(base.Source):
    """The generated dataset.

    Its size is activities x subjects x cameras x repetitions, so that every class, subject and camera has as many
    clips as any other. Any clip is generated alone, from the options and its id.

    Args:
        seed: Everything that is drawn depends on it.
        subjects: Number of subjects.
        repetitions: Performances of each activity by each subject.
        frames: Mean number of frames of a clip; lengths vary by 20 % either way.
        size: Side of the stored pictures in pixels.
        parts: Pictures to store, some of :data:`tfrecords.schema.PARTS`; none for poses alone.

    Example:
        >>> source = SynthADL(subjects=2, repetitions=1)
        >>> clip = source.read(source.parse_id("S001C001P001R001A002"))
        >>> clip.label_text, clip.pose_xyz.shape[1:]
        ('take pills', (1, 25, 3))
    """

    name = "synthetic"
    labels = tuple(activity.label for activity in ACTIVITIES)
    layout = LAYOUT.name
    persons = 1
    fps = FPS
    help = "SynthADL: activities rendered on this machine, with exact poses; needs no download"
    more_validation = "convert again with more --subjects or --repetitions"

    def __init__(
        self,
        *,
        seed: int = 0,
        subjects: int = 8,
        repetitions: int = 4,
        frames: int = 40,
        size: int = 112,
        parts: Sequence[str] = ("full_body",),
    ):
        self.seed, self.subjects, self.repetitions = seed, subjects, repetitions
        self.frames, self.size, self.parts = frames, size, tuple(parts)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options that the generated clips depend on."""
        parser.add_argument("--seed", type=int, default=0, help="random seed of people, rooms and motions")
        parser.add_argument("--subjects", type=int, default=8, help="number of people; odd ones train in protocol cs")
        parser.add_argument(
            "--repetitions", type=int, default=4, metavar="R",
            help=f"performances per activity and subject; {len(cls.labels)} activities x subjects x {len(CAMERAS)} "
            "cameras x R clips in all",
        )  # fmt: skip
        parser.add_argument(
            "--frames", type=int, default=40, help="mean number of frames of a clip (15 frames per second)"
        )
        parser.add_argument("--size", type=int, default=112, metavar="N", help="store pictures of N x N pixels")
        parser.add_argument(
            "--parts", default="full_body", metavar="PART[,PART]", help=f"some of {','.join(schema.PARTS)}, or none"
        )

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> SynthADL:
        """The source that parsed arguments describe; :class:`~zoo.shared.errors.UserError` if one is out of range."""
        limits = {
            "seed": (0, 2**63 - 1),
            "subjects": (2, 999),
            "repetitions": (1, 999),
            "frames": (15, 1000),
            "size": (32, min(FRAME_SIZE)),
        }
        for option, (low, high) in limits.items():
            value = getattr(arguments, option)
            if not low <= value <= high:
                raise UserError(f"--{option} {value}: expected a number from {low} to {high}")
        parts = () if arguments.parts == "none" else tuple(arguments.parts.split(","))
        unknown = [part for part in parts if part not in schema.PARTS]
        if unknown or len(set(parts)) != len(parts):
            raise UserError(f"--parts {arguments.parts}: expected some of {','.join(schema.PARTS)}, each once, or none")
        stored = [part for part in schema.PARTS if part in parts]
        return cls(parts=stored, **{option: getattr(arguments, option) for option in limits})

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """The :class:`~tfrecords.schema.ClipInfo` of an id such as ``S001C001P001R001A001``; ``ValueError`` if none."""
        match = _ID.fullmatch(clip_id)
        setup, number, person, repetition, activity = map(int, match.groups()) if match else [0] * 5
        if min(setup, person, repetition) < 1 or number not in CAMERAS or not 1 <= activity <= len(ACTIVITIES):
            raise ValueError(
                f"{clip_id!r} is no id of SynthADL, expected SsssCcccPpppRrrrAaaa with camera 1 to {len(CAMERAS)} "
                f"and activity 1 to {len(ACTIVITIES)}"
            )
        return schema.ClipInfo(clip_id, activity - 1, person, number, setup, repetition)

    @staticmethod
    def performance(info: schema.ClipInfo) -> str:
        """Twins share a performance: a model that knows a room from one twin would mistake the other twin for it."""
        return f"{info.setup}/{twins(info)}/{info.subject}/{info.repetition}"

    def options(self) -> dict[str, Any]:
        """All that the clips depend on."""
        return {
            "seed": self.seed,
            "subjects": self.subjects,
            "repetitions": self.repetitions,
            "frames": self.frames,
            "size": self.size,
            "parts": list(self.parts),
        }

    def index(self) -> base.Index:
        """Every clip; a subject's repetitions go through the setups, and subjects 1 and 2, 3 and 4, ... share them."""
        ids = [
            f"S{setup:03}C{number:03}P{person:03}R{repetition:03}A{activity:03}"
            for person in range(1, self.subjects + 1)
            for repetition in range(1, self.repetitions + 1)
            for setup in (((person - 1) // 2 + repetition - 1) % SETUPS + 1,)
            for number in CAMERAS
            for activity in range(1, len(ACTIVITIES) + 1)
        ]
        return base.Index(tuple(self.parse_id(clip_id) for clip_id in sorted(ids)))

    def read(self, info: schema.ClipInfo) -> schema.Clip:
        """Generates a clip."""
        performance = perform(self.seed, info, ACTIVITIES[info.label], self.frames)
        view = camera(self.seed, info.setup, info.camera)
        xyz = view.transform(performance.joints)  # [T, 25, 3]
        xy, depth = view.project(xyz), xyz[..., 2]
        boxes = {part: _part_box(part, xy, depth) for part in self.parts}
        images: dict[str, list[bytes]] = {part: [] for part in self.parts}
        # Twins share the light too.
        key = (self.seed, info.setup, info.subject, info.repetition, twins(info), info.camera)
        frames = render(performance, view, generator("light", *key)) if boxes else ()
        for time, frame in enumerate(frames):
            for part, box in boxes.items():
                x_min, y_min, x_max, y_max = box[time]
                images[part].append(self._jpeg(frame[y_min:y_max, x_min:x_max]))
        return schema.Clip(
            info=info,
            dataset=self.name,
            label_text=self.labels[info.label],
            fps=self.fps,
            images=images,
            boxes={part: box.astype(np.float32) for part, box in boxes.items()},
            layout=self.layout,
            pose_xyz=xyz[:, None].astype(np.float32),
            pose_xy=xy[:, None].astype(np.float32),
            pose_confidence=np.ones((len(xyz), 1, len(LAYOUT.joints)), np.float32),
        )

    def _jpeg(self, crop):
        """An RGB crop as JPEG of the stored size, which is the shorter side for the whole frame."""
        height, width = crop.shape[:2]
        new_height, new_width = cut_size((0, 0, width, height), self.size)
        if height >= 2 * new_height:  # halved first: twice as fast, and still a mean over areas
            crop = cv2.resize(crop, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        interpolation = cv2.INTER_AREA if new_height < len(crop) else cv2.INTER_LINEAR
        return encode_jpeg(cv2.resize(crop, (new_width, new_height), interpolation=interpolation), JPEG_QUALITY)
