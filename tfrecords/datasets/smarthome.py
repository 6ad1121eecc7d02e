"""Toyota Smarthome: 31 activities of 18 older people at home, seven Kinect v1 cameras, unscripted.

Das, Dai, Koperski, Minciullo, Garattoni, Bremond, Francesca. Toyota Smarthome: real-world activities of daily living.
ICCV 2019.

``docs/datasets/smarthome.md`` describes the files::

    Cook.Cleandishes_p02_r00_v02_c03.mp4        640 x 480
    Cook.Cleandishes_p02_r00_v02_c03_pose3d.json    LCR-Net++ poses, 13 joints in pixels and in metres, per frame
"""

from __future__ import annotations

import re

import numpy as np

from tfrecords import schema
from tfrecords.converting import persons
from tfrecords.datasets import base, nucla
from tfrecords.errors import MissingPoses, RejectedClip
from zoo import skeletons

ACTIVITIES = (
    "Cook.Cleandishes", "Cook.Cleanup", "Cook.Cut", "Cook.Stir", "Cook.Usestove", "Cutbread", "Drink.Frombottle",
    "Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack", "Enter", "Getup", "Laydown",
    "Leave", "Makecoffee.Pourgrains", "Makecoffee.Pourwater", "Maketea.Boilwater", "Maketea.Insertteabag",
    "Pour.Frombottle", "Pour.Fromcan", "Pour.Fromkettle", "Readbook", "Sitdown", "Takepills", "Uselaptop", "Usetablet",
    "Usetelephone", "Walk", "WatchTV",
)  # fmt: skip
# An activity in the download that has too few clips to learn and is in no protocol.
DROPPED = "Pour.Fromcup"
CAMERAS = range(1, 8)

_ID = re.compile(r"([A-Za-z]+(?:\.[A-Za-z]+)?)_p(\d+)_r(\d+)_v(\d+)_c(\d+)")
_LAYOUT = skeletons.get("lcrnet_13")
_JOINTS = _LAYOUT.num_joints


class Smarthome(base.PairedSource):
    """Toyota Smarthome, trimmed; arguments as :class:`~tfrecords.datasets.base.VideoSource`."""

    title = "Toyota Smarthome"
    video_endings = (".mp4",)
    poses_endings = ("_pose3d.json", ".json")
    example = "Walk_p02_r00_v02_c03"
    other_folders = frozenset({"depth"})

    name = "smarthome"
    labels = ACTIVITIES
    layout = _LAYOUT.name
    persons = 1
    fps = 20.0
    focal_per_width = nucla.FOCAL_LENGTH / nucla.FOCAL_WIDTH  # of the same sensor
    help = "Toyota Smarthome (Das et al., ICCV 2019)"

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """Reads ``Cook.Cleandishes_p02_r00_v02_c03``: activity, person, repetition, video, camera."""
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(
                f"{clip_id!r} is no clip id of Toyota Smarthome, expected a form such as Walk_p02_r00_v02_c03"
            )
        activity = match.group(1)
        subject, repetition, recording, camera = (int(number) for number in match.groups()[1:])
        if activity == DROPPED:
            raise ValueError(f"activity {DROPPED} is in none of the dataset's protocols, which have 31 activities")
        if activity not in ACTIVITIES:
            raise ValueError(f"no activity {activity!r}, expected one of {', '.join(ACTIVITIES)}")
        if camera not in CAMERAS:
            raise ValueError(f"no camera c{camera:02d}, expected c01 to c07")
        return schema.ClipInfo(clip_id, ACTIVITIES.index(activity), subject, camera, recording, repetition)

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The person with LCR-Net's highest score in each frame."""
        path = self.path(info, "poses")
        xyz, xy, confidence = parse_poses(base.read_text(path), path.name)
        poses = persons.Poses(*(values[:, np.newaxis] for values in (xyz, confidence, xy)))  # M = 1
        return self.filled(poses, path.name)


def parse_poses(text: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The person in one ``_pose3d.json``.

    Args:
        text: The file's contents.
        name: Its name, for messages.

    Returns:
        ``(xyz, xy, confidence)``: ``[T, 13, 3]`` metres with Y upwards, ``[T, 13, 2]`` pixels and ``[T, 13]``; zeros in
        frames without a person.

    Raises:
        RejectedClip: The file is truncated or not of this format.
        MissingPoses: It has no frames.
    """
    content = base.parse_json(text, name)
    try:
        frames = content["frames"]
        found = [max(frame, key=lambda person: person.get("cumscore", 0.0), default=None) for frame in frames]
        shapes = {"pose3d": 3, "pose2d": 2}
        values: dict[str, np.ndarray] = {
            key: np.array([[0.0] * (n * _JOINTS) if p is None else p[key] for p in found], np.float64)
            for key, n in shapes.items()
        }
    except (ValueError, OverflowError) as error:  # the latter: a whole number too large for a float
        raise RejectedClip(f"{name}: values that are no numbers ({error})") from None
    except (KeyError, TypeError, AttributeError):
        raise RejectedClip(f"{name}: expected frames, a list of lists of persons with pose2d and pose3d") from None
    if not len(found):
        raise MissingPoses(f"{name}: no frames")
    for key, n in shapes.items():
        if values[key].shape != (len(found), n * _JOINTS):
            raise RejectedClip(f"{name}: {key} of another length than {n * _JOINTS}")
    # All x, then all y, (then all z).
    xyz, xy = (np.moveaxis(values[key].reshape(-1, n, _JOINTS), 1, 2) for key, n in shapes.items())
    seen = np.array([person is not None for person in found])[:, np.newaxis]
    measured = seen & np.isfinite(xyz).all(axis=-1) & np.isfinite(xy).all(axis=-1) & (np.abs(xyz) < 100).all(axis=-1)
    xyz, xy = (np.where(measured[..., np.newaxis], v, 0.0).astype(np.float32) for v in (xyz, xy))
    if measured.any() and _points_down(xyz, xy, measured):
        xyz[..., 1] *= -1
    return xyz, xy, measured * np.float32(persons.TRACKED)


def _points_down(xyz, xy, measured):
    """Whether Y grows downwards, as in pixels; in the schema it grows upwards.

    The release does not say which way its axes point. The joints' heights in metres and in pixels show it.
    """
    heights = [values - values.mean(axis=1, keepdims=True) for values in (xyz[..., 1], xy[..., 1])]
    return float((heights[0] * heights[1])[measured.all(axis=1)].sum()) > 0
