"""NTU RGB+D 60 and 120: 60 and 120 actions of one or two persons, three Kinect v2 sensors at once.

Shahroudy, Liu, Ng, Wang. NTU RGB+D: a large scale dataset for 3D human activity analysis. CVPR 2016.
Liu, Shahroudy, Perez, Wang, Duan, Kot. NTU RGB+D 120. TPAMI 2020.

``docs/datasets/ntu.md`` describes the files, field by field::

    S001C001P001R001A001.skeleton      bodies per frame, 25 joints each: metres, pixels, tracking state
    S001C001P001R001A001_rgb.avi       1920 x 1080, 30 frames per second
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfrecords import schema
from tfrecords.converting import persons, pose_files
from tfrecords.datasets import base
from tfrecords.errors import MissingPoses, RejectedClip
from zoo import skeletons
from zoo.shared.errors import UserError

# The datasets' action numbers are 1 to 120, in this order; NTU RGB+D 60 has the first 60.
ACTIONS = (
    "drink water", "eat meal/snack", "brushing teeth", "brushing hair", "drop", "pickup", "throw", "sitting down",
    "standing up (from sitting position)", "clapping", "reading", "writing", "tear up paper", "wear jacket",
    "take off jacket", "wear a shoe", "take off a shoe", "wear on glasses", "take off glasses", "put on a hat/cap",
    "take off a hat/cap", "cheer up", "hand waving", "kicking something", "reach into pocket",
    "hopping (one foot jumping)", "jump up", "make a phone call/answer phone", "playing with phone/tablet",
    "typing on a keyboard", "pointing to something with finger", "taking a selfie", "check time (from watch)",
    "rub two hands together", "nod head/bow", "shake head", "wipe face", "salute", "put the palms together",
    "cross hands in front (say stop)", "sneeze/cough", "staggering", "falling", "touch head (headache)",
    "touch chest (stomachache/heart pain)", "touch back (backache)", "touch neck (neckache)",
    "nausea or vomiting condition", "use a fan (with hand or paper)/feeling warm", "punching/slapping other person",
    "kicking other person", "pushing other person", "pat on back of other person", "point finger at the other person",
    "hugging other person", "giving something to other person", "touch other person's pocket", "handshaking",
    "walking towards each other", "walking apart from each other", "put on headphone", "take off headphone",
    "shoot at the basket", "bounce ball", "tennis bat swing", "juggling table tennis balls", "hush (quite)",
    "flick hair", "thumb up", "thumb down", "make ok sign", "make victory sign", "staple book", "counting money",
    "cutting nails", "cutting paper (using scissors)", "snapping fingers", "open bottle", "sniff (smell)", "squat down",
    "toss a coin", "fold paper", "ball up paper", "play magic cube", "apply cream on face", "apply cream on hand back",
    "put on bag", "take off bag", "put something into a bag", "take something out of a bag", "open a box",
    "move heavy objects", "shake fist", "throw up cap/hat", "hands up (both hands)", "cross arms", "arm circles",
    "arm swings", "running on the spot", "butt kicks (kick backward)", "cross toe touch", "side kick", "yawn",
    "stretch oneself", "blow nose", "hit other person with something", "wield knife towards other person",
    "knock over other person (hit with body)", "grab other person's stuff", "shoot at other person with a gun",
    "step on foot", "high-five", "cheers and drink", "carry something with other person",
    "take a photo of other person", "follow other person", "whisper in other person's ear",
    "exchange things with other person", "support somebody with hand", "finger-guessing game (rock-paper-scissors)",
)  # fmt: skip
FRAME = 1920, 1080  # width and height of the colour frames that the files' pixels refer to
FOCAL_LENGTH = 1057  # in pixels of these frames: the slope of the files' pixels as a function of y / z

_ID = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_LISTED = "listed by the authors: skeleton missing or incomplete"
_LAYOUT = skeletons.get("kinect_v2_25")
_JOINTS = _LAYOUT.num_joints


class NTU60(base.PairedSource):
    """NTU RGB+D 60.

    Args:
        folder: Folder below which skeletons, videos or both lie.
        missing: Ids of clips that the authors list as having missing or incomplete skeletons.
        options: As :class:`~tfrecords.datasets.base.VideoSource`.
    """

    title = "NTU RGB+D"
    video_endings = ("_rgb.avi", "_rgb.mp4")  # the authors'; copies of others
    poses_endings = (".skeleton",)
    example = "S001C001P001R001A001"

    name = "ntu60"
    labels: tuple[str, ...] = ACTIONS[:60]
    layout = _LAYOUT.name
    persons = 2
    fps = 30.0
    focal_per_width = FOCAL_LENGTH / FRAME[0]
    help = "NTU RGB+D 60 (Shahroudy et al., CVPR 2016)"
    # Setups, cameras, persons, repetitions and actions go from 1 to these.
    limits = (17, 3, 40, 2, 60)

    def __init__(self, folder: str | os.PathLike, *, missing: Iterable[str] = (), **options: Any):
        super().__init__(folder, **options)
        self.missing = frozenset(missing)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options of every dataset of videos, and ``--missing-skeletons``."""
        super().add_arguments(parser)
        parser.add_argument(
            "--missing-skeletons", type=pathlib.Path, metavar="FILE",
            help="the authors' list of clips with missing or incomplete skeletons, which count as clips without poses",
        )  # fmt: skip

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> NTU60:
        """The source that parsed arguments describe."""
        options = cls.picture_options(arguments)
        for option, given in (("--no-poses", arguments.no_poses), ("--poses estimate", options["estimation"])):
            if arguments.missing_skeletons and given:
                raise UserError(
                    f"--missing-skeletons with {option}: no clip is left out where skeletons are not read, choose one"
                )
        missing = read_missing(arguments.missing_skeletons) if arguments.missing_skeletons else ()
        return cls(base.require_folder(arguments.source), missing=missing, **options)

    @classmethod
    def parse_id(cls, clip_id: str) -> schema.ClipInfo:
        """Reads ``S001C001P001R001A001``: setup, camera, person, repetition, action."""
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no clip id of NTU RGB+D, expected the form S001C001P001R001A001")
        numbers = [int(number) for number in match.groups()]
        for what, number, last in zip(("setup", "camera", "person", "repetition", "action"), numbers, cls.limits):
            if not 1 <= number <= last:
                raise ValueError(f"{clip_id}: {what} {number} is not in {cls.name}, expected 1 to {last}")
        setup, camera, subject, repetition, action = numbers
        return schema.ClipInfo(clip_id, action - 1, subject, camera, setup, repetition)

    def options(self) -> dict[str, Any]:
        """The options of every dataset of videos, and the number of clips listed as missing."""
        return {**super().options(), "missing_skeletons": len(self.missing)}

    def index(self) -> base.Index:
        """Every clip that has a skeleton or a video, except those listed as missing, unless these are kept."""
        found = super().index()
        listed = set() if self.keeps_missing_poses else {clip.id for clip in found.clips} & self.missing
        rejected = [*found.rejected, *((clip, _LISTED) for clip in listed)]
        return base.Index(tuple(clip for clip in found.clips if clip.id not in listed), tuple(sorted(rejected)))

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The two bodies that move most."""
        if info.id in self.missing:
            raise MissingPoses(_LISTED)
        path = self.path(info, "poses")
        poses = self.filled(read_skeleton(path), path.name)
        if recording is not None and poses.xy is not None:  # smaller copies are common, also of 340 x 256
            poses.xy[...] *= np.divide((recording.width, recording.height), FRAME)
        return poses


class NTU120(NTU60):
    """NTU RGB+D 120; arguments as :class:`NTU60`, whose clips it includes."""

    name = "ntu120"
    labels = ACTIONS
    help = "NTU RGB+D 120 (Liu et al., TPAMI 2020)"
    limits = (32, 3, 106, 2, 120)


def read_missing(path: pathlib.Path) -> set[str]:
    """Clip ids in one of the authors' lists of clips with missing skeletons.

    Args:
        path: The text file as it is published: some lines of text, then an id per line.

    Returns:
        A set of ids.

    Raises:
        UserError: It cannot be read, or no line of it is an id.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split()
    except OSError as error:
        raise UserError(f"--missing-skeletons {path}: cannot be read ({error.strerror})") from None
    ids = {line for line in lines if _ID.fullmatch(line)}
    if not ids:
        raise UserError(f"--missing-skeletons {path}: no clip id in it, expected lines such as S001C002P005R002A008")
    return ids


def read_skeleton(path: pathlib.Path) -> pose_files.FilePoses:
    """The two bodies of a ``.skeleton`` file that move most, as in a conversion; gaps are not filled.

    Raises:
        RejectedClip: As :func:`parse_skeleton`, or the file cannot be read.
    """
    tracks, frames = parse_skeleton(base.read_text(path), path.name)
    poses = persons.join(persons.without_false_bodies(tracks), frames, NTU60.persons, _JOINTS)
    return pose_files.FilePoses(poses.xyz, poses.confidence, poses.xy, _LAYOUT.name, NTU60.fps, FRAME)


def parse_skeleton(text: str, name: str) -> tuple[list[persons.Track], int]:
    """The bodies in one ``.skeleton`` file.

    Args:
        text: The file's contents.
        name: Its name, for messages.

    Returns:
        ``(tracks, frames)``: a :class:`~tfrecords.converting.persons.Track` of every body, in the order of their first
        frames, and the number of frames.

    Raises:
        RejectedClip: The file is truncated, or not of this format.
    """
    lines = text.split("\n")
    position = 0

    def take(what, values):
        nonlocal position
        if position >= len(lines) or not lines[position].strip():
            raise RejectedClip(f"{name}: truncated at line {position + 1}, expected {what}")
        fields = lines[position].split()
        position += 1
        if len(fields) != values:
            raise RejectedClip(f"{name} line {position}: {len(fields)} values, expected {what}")
        return fields

    def number(what):
        (field,) = take(what, 1)
        if not field.isascii() or not field.isdigit():
            raise RejectedClip(f"{name} line {position}: {field[:20]!r}, expected {what}")
        return int(field)

    bodies: dict[str, dict[int, np.ndarray]] = {}
    frames = number("the number of frames")
    for frame in range(frames):
        for _ in range(number("the number of bodies")):
            body = take("a body's 10 values", 10)[0]
            joints = number("the number of joints")
            if joints != _JOINTS:
                raise RejectedClip(f"{name} line {position}: {joints} joints, expected {_JOINTS}")
            rows = [take("a joint's 12 values", 12) for _ in range(joints)]
            try:
                values = np.array(rows, np.float64)
            except ValueError:
                raise RejectedClip(f"{name} line {position}: a joint's value is no number") from None
            bodies.setdefault(body, {})[frame] = values
    if any(line.strip() for line in lines[position:]):
        raise RejectedClip(f"{name} line {position + 1}: more lines than its {frames} frames need")
    return [_track(seen) for seen in bodies.values()], frames


def _track(seen):
    """A body's track from frame -> ``[25, 12]``."""
    values = np.stack(list(seen.values()))  # [n, 25, 12]
    xyz, xy, states = values[..., :3], values[..., 5:7], values[..., 11]
    confidence = np.zeros(states.shape, np.float32)
    for state, trust in persons.KINECT_STATES.items():
        confidence[states == state] = trust
    # Coordinates outside any room, or not in front of the sensor, count as not measured.
    confidence[~(np.isfinite(xyz).all(axis=-1) & (np.abs(xyz) < 100).all(axis=-1) & (xyz[..., 2] > 0))] = persons.ABSENT
    xyz = np.where(confidence[..., np.newaxis] > 0, xyz, 0.0)
    xy = _with_projection(xyz, np.where(np.abs(xy) < 1e5, xy, np.nan), confidence > 0)
    return persons.Track(np.array(list(seen)), xyz.astype(np.float32), confidence, xy.astype(np.float32))


def _with_projection(xyz, xy, measured):
    """``xy`` with pixels that the file lacks (NaN: outside the picture), computed by a camera fitted to the rest."""
    known = np.isfinite(xy).all(axis=-1) & measured
    lacking = ~known & measured
    if lacking.any() and known.sum() >= 2:
        for axis in range(2):
            slope, middle = np.polyfit(xyz[known][:, axis] / xyz[known][:, 2], xy[known][:, axis], 1)
            xy[lacking, axis] = middle + slope * xyz[lacking][:, axis] / xyz[lacking][:, 2]
    return np.where(np.isfinite(xy), xy, 0.0)
