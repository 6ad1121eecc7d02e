"""MSR Daily Activity 3D: 16 activities on and around a sofa, ten subjects, one Kinect v1.

Wang, Liu, Wu, Yuan. Mining actionlet ensemble for action recognition with depth cameras. CVPR 2012.

``docs/datasets/msr_daily.md`` describes the files, field by field::

    a01_s01_e01_rgb.avi                 640 x 480
    a01_s01_e01_skeleton.txt            the official form: rows of joints in metres and in the picture
    a01_s01_e01_skeleton_proj.txt       a converted form: frame, joint, x, y, z
"""

from __future__ import annotations

import re

import numpy as np

from tfrecords import schema
from tfrecords.converting import persons
from tfrecords.datasets import base, nucla
from tfrecords.errors import RejectedClip
from zoo import skeletons

# The dataset's own numbering, from 1.
ACTIVITIES = (
    "drink", "eat", "read book", "call cellphone", "write on a paper", "use laptop", "use vacuum cleaner", "cheer up",
    "sit still", "toss paper", "play game", "lie down on sofa", "walk", "play guitar", "stand up", "sit down",
)  # fmt: skip
SUBJECTS, POSTURES = range(1, 11), range(1, 3)

_ID = re.compile(r"a([0-9]{2})_s([0-9]{2})_e([0-9]{2})")
_JOINTS = skeletons.get("kinect_v1_20").num_joints


class MSRDaily(base.PairedSource):
    """MSR Daily Activity 3D; arguments as :class:`~tfrecords.datasets.base.VideoSource`."""

    title = "MSR Daily Activity 3D"
    video_endings = ("_rgb.avi",)
    poses_endings = ("_skeleton.txt", "_skeleton_proj.txt")
    example = "a01_s01_e01"

    name = "msr_daily"
    labels = ACTIVITIES
    layout = "kinect_v1_20"
    persons = 1
    fps = 30.0
    focal_per_width = nucla.FOCAL_LENGTH / nucla.FOCAL_WIDTH
    help = "MSR Daily Activity 3D (Wang et al., CVPR 2012)"

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """Reads ``a01_s01_e01``: activity, subject and which of the two performances it is."""
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no clip id of MSR Daily Activity 3D, expected the form a01_s01_e01")
        activity, subject, posture = (int(number) for number in match.groups())
        for letter, number, valid in (
            ("a", activity, range(1, len(ACTIVITIES) + 1)), ("s", subject, SUBJECTS), ("e", posture, POSTURES),
        ):  # fmt: skip
            if number not in valid:
                last = f"{letter}{valid[-1]:02d}"
                raise ValueError(f"{clip_id}: no {letter}{number:02d}, expected {letter}01 to {last}")
        return schema.ClipInfo(clip_id, activity - 1, subject, repetition=posture)

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The first body of every frame, as the dataset's authors take it."""
        path = self.path(info, "poses")
        parse = parse_skeleton if path.name.endswith(self.poses_endings[0]) else parse_converted
        joints = parse(base.read_text(path), path.name)[:, np.newaxis]  # M = 1
        poses = self.filled(persons.Poses(joints[..., :3], joints[..., 5], joints[..., 3:5]), path.name)
        if recording is None:
            return persons.Poses(poses.xyz, poses.confidence)
        if parse is parse_converted:
            return self.projected(poses, recording, nucla.FOCAL_LENGTH * recording.width / nucla.FOCAL_WIDTH)
        xy = np.asarray(poses.xy) * np.array([recording.width, recording.height], np.float32)
        return persons.Poses(poses.xyz, poses.confidence, xy)


def parse_skeleton(text: str, name: str) -> np.ndarray:
    """The first body in each frame of one ``_skeleton.txt``.

    The first line holds the numbers of frames and joints. Each frame begins with its number of rows: 40 per body, two
    per joint: x, y, z in metres; u, v as fractions of the picture, and the depth. Every row ends with a confidence that
    the dataset's authors say is of no use.

    Args:
        text: The file's contents.
        name: Its name, for messages.

    Returns:
        ``[T, 20, 6]`` float32: x, y, z, u, v, confidence; zeros in frames without a body.

    Raises:
        RejectedClip: The file is truncated, or not of this format.
    """
    values = _numbers(text, name)
    if len(values) < 2 or values[1] != _JOINTS or not float(values[0]).is_integer() or values[0] < 1:
        raise RejectedClip(f"{name}: empty or of another form, expected numbers of frames and of {_JOINTS} joints")
    frames, position = int(values[0]), 2
    if frames > len(values) - position:
        raise RejectedClip(f"{name}: truncated, {len(values)} values for {frames} frames")
    joints = np.zeros((frames, _JOINTS, 6), np.float64)
    for frame in range(frames):
        if position >= len(values):
            raise RejectedClip(f"{name}: truncated in frame {frame + 1} of {frames}")
        rows = values[position]
        if rows not in (0, 2 * _JOINTS) and (not rows > 0 or rows % (2 * _JOINTS)):
            raise RejectedClip(f"{name} frame {frame + 1}: {rows:g} rows, expected {2 * _JOINTS} per body")
        end = position + 1 + int(rows) * 4
        if end > len(values):
            raise RejectedClip(f"{name}: truncated in frame {frame + 1} of {frames}")
        if rows:
            first = values[position + 1 : position + 1 + 2 * _JOINTS * 4].reshape(_JOINTS, 2, 4)
            joints[frame, :, :3], joints[frame, :, 3:5] = first[:, 0, :3], first[:, 1, :2]
        position = end
    if position != len(values):
        raise RejectedClip(f"{name}: more values than its {frames} frames need")
    return _with_confidence(joints)


def parse_converted(text: str, name: str) -> np.ndarray:
    """The body in one ``_skeleton_proj.txt``: rows ``frame joint x y z``, frames and joints from 1, metres.

    Args:
        text: The file's contents.
        name: Its name, for messages.

    Returns:
        As :func:`parse_skeleton`, u and v zero.

    Raises:
        RejectedClip: The file is truncated, or not of this format.
    """
    values = _numbers(text, name)
    if not len(values) or len(values) % (5 * _JOINTS):
        raise RejectedClip(f"{name}: truncated, {len(values)} values, expected {5 * _JOINTS} per frame")
    rows = values.reshape(-1, _JOINTS, 5)
    frames = np.arange(1, len(rows) + 1)[:, np.newaxis]
    if not (np.all(rows[..., 0] == frames) and np.all(rows[..., 1] == np.arange(1, _JOINTS + 1))):
        raise RejectedClip(f"{name}: frames or joints out of order, expected both from 1")
    joints = np.zeros((len(rows), _JOINTS, 6), np.float64)
    joints[..., :3] = rows[..., 2:]
    return _with_confidence(joints)


def _numbers(text, name):
    """All values of a text; NaN as Windows writes it, such as ``1.#QNAN``, is read as NaN."""
    try:
        return np.array([np.nan if "#" in word else float(word) for word in text.split()])
    except ValueError as error:
        raise RejectedClip(f"{name}: holds a value that is not a number ({error})") from None


def _with_confidence(joints):
    """Fills in the last value, the confidence; a joint that was not measured is zero."""
    seen = np.isfinite(joints[..., :5]).all(axis=-1) & (np.abs(joints[..., :5]) < 100).all(axis=-1)
    seen &= joints[..., 2] > 0  # a joint the sensor has lost lies at the sensor itself
    joints[..., 5] = persons.TRACKED
    return np.where(seen[..., np.newaxis], joints, 0.0).astype(np.float32)
