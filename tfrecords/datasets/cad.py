"""Cornell Activity Datasets, CAD-60 and CAD-120: a person's activities at home and in the office, one Kinect v1.

Sung, Ponce, Selman, Saxena. Unstructured human activity detection from RGBD images. ICRA 2012.
Koppula, Gupta, Saxena. Learning human activities and object affordances from RGB-D videos. IJRR 2013.

``docs/datasets/cad.md`` describes the files, field by field::

    CAD-60      data1/activityLabel.txt              recording and activity per line
                data1/0512164529.txt                 a row of joints per frame
                data1/0512164529/RGB_1.png           320 x 240
    CAD-120     Subject1_annotations/making_cereal/1204142055.txt
                Subject1_rgbd_images/making_cereal/1204142055/RGB_1.png      640 x 480
"""

from __future__ import annotations

import pathlib
import re

import numpy as np

from tfrecords import schema
from tfrecords.converting import persons
from tfrecords.datasets import base, openni
from tfrecords.errors import RejectedClip
from zoo import skeletons

# As activityLabel.txt calls them, in the order of the dataset's web page; a clip's id numbers them from 1.
ACTIVITIES_60 = (
    "rinsing mouth with water", "brushing teeth", "wearing contact lenses", "talking on the phone", "drinking water",
    "opening pill container", "cooking (chopping)", "cooking (stirring)", "talking on couch", "relaxing on couch",
    "writing on whiteboard", "working on computer",
)  # fmt: skip
# Names of the folders, with spaces instead of underscores; order as above.
ACTIVITIES_120 = (
    "making cereal", "taking medicine", "stacking objects", "unstacking objects", "microwaving food", "picking objects",
    "cleaning objects", "taking food", "arranging objects", "having meal",
)  # fmt: skip
LABELS_FILE = "activityLabel.txt"

# The files' order: eleven joints with an orientation, then four without.
WITH_ORIENTATION = (
    "head", "neck", "torso", "left_shoulder", "left_elbow", "right_shoulder", "right_elbow", "left_hip", "left_knee",
    "right_hip", "right_knee",
)  # fmt: skip
WITHOUT_ORIENTATION = ("left_hand", "right_hand", "left_foot", "right_foot")
_VALUES = 14 * len(WITH_ORIENTATION) + 4 * len(WITHOUT_ORIENTATION)
_ORDER = [(*WITH_ORIENTATION, *WITHOUT_ORIENTATION).index(joint) for joint in skeletons.get("nite_15").joints]

_ID = re.compile(r"a([0-9]{2})_s([0-9])_([0-9]{10})")
_RECORDING = re.compile(r"[0-9]{10}")


class CAD120(openni.OpenNISource):
    """CAD-120; arguments as :class:`~tfrecords.datasets.base.VideoSource`."""

    title = "CAD-120"
    tree = (
        "Subject1_annotations/making_cereal/1204142055.txt and Subject1_rgbd_images/making_cereal/1204142055/RGB_1.png"
    )
    picture_name = re.compile(r"RGB_([0-9]+)\.png")
    poses_name = re.compile(r"[0-9]{10}\.txt")
    subject_folder = re.compile(r"subject([0-9])(_.*)?", re.IGNORECASE)

    name = "cad120"
    labels: tuple[str, ...] = ACTIVITIES_120
    persons = 1
    fps = 30.0
    help = "CAD-120 (Koppula et al., IJRR 2013)"
    subjects = (1, 3, 4, 5)

    @classmethod
    def parse_id(cls, clip_id: str) -> schema.ClipInfo:
        """Reads ``a01_s1_1204142055``: activity, subject and the recording's number, which is its time."""
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no clip id of {cls.title}, expected the form a01_s1_1204142055")
        activity, subject = int(match.group(1)), int(match.group(2))
        if not 1 <= activity <= len(cls.labels):
            raise ValueError(f"no activity a{activity:02d}, expected a01 to a{len(cls.labels):02d}")
        if subject not in cls.subjects:
            raise ValueError(f"no subject s{subject}, expected s{', s'.join(str(s) for s in cls.subjects)}")
        return schema.ClipInfo(clip_id, activity - 1, subject)

    @staticmethod
    def performance(info: schema.ClipInfo) -> str:
        """A recording: an activity that a subject repeats is performed anew, often with another object."""
        return info.id

    @staticmethod
    def stem_of(path: pathlib.Path) -> pathlib.Path:
        """The path without ``.txt``."""
        return path.with_suffix("")

    def clip_id(self, stem: pathlib.Path) -> str:
        """``a01_s1_1204142055`` from the names of a recording's file or folder and of its parent folders."""
        if not _RECORDING.fullmatch(stem.name):
            raise ValueError("pictures in a folder that is no recording, expected a name of ten digits")
        activity = self.activity(stem)
        if activity not in self.labels:
            raise ValueError(f"activity {activity!r} is none of the dataset's {len(self.labels)} classes")
        return self.parse_id(f"a{self.labels.index(activity) + 1:02d}_s{self._subject(stem)}_{stem.name}").id

    def activity(self, stem: pathlib.Path) -> str:
        """What a recording shows: the name of the folder it lies in."""
        return stem.parent.name.replace("_", " ")

    def _subject(self, stem):
        """The number in the name of the nearest parent folder that is a subject's."""
        for name in reversed(stem.absolute().parts[:-1]):
            match = self.subject_folder.fullmatch(name)
            if match:
                return int(match.group(1))
        raise ValueError(f"in no subject's folder, expected a tree such as {self.tree}")

    @staticmethod
    def parse_rows(text: str, name: str) -> dict[int, np.ndarray]:
        """The person in one skeleton text: frame number -> ``[1, 15, 4]``, metres and confidence.

        The tracker's own confidence is 1 or 0. Where it is 0, the tracker has inferred the joint from other joints.
        """
        body, end, rest = text.rstrip().rpartition("END")
        if end != "END" or rest:
            raise RejectedClip(f"{name}: truncated, its last line is not END")
        rows = openni.rows_of(body, name, _VALUES)
        values = np.stack(list(rows.values()))
        with_orientation = values[:, : 14 * len(WITH_ORIENTATION)].reshape(len(rows), -1, 14)[..., 10:]
        without = values[:, 14 * len(WITH_ORIENTATION) :].reshape(len(rows), -1, 4)
        joints = np.concatenate([with_orientation, without], axis=1)[:, np.newaxis, _ORDER]  # [T, 1, 15, 4]
        confidence = np.where(joints[..., 3] > 0, persons.TRACKED, persons.INFERRED)
        return dict(zip(rows, openni.measured(joints[..., :3] / 1000, confidence)))


class CAD60(CAD120):
    """CAD-60; arguments as :class:`~tfrecords.datasets.base.VideoSource`."""

    title = "CAD-60"
    tree = "data1/activityLabel.txt, data1/0512164529.txt and data1/0512164529/RGB_1.png"
    subject_folder = re.compile(r"(?:data|person|subject)_?([0-9])", re.IGNORECASE)

    name = "cad60"
    labels = ACTIVITIES_60
    help = "CAD-60 (Sung et al., ICRA 2012)"
    subjects = (1, 2, 3, 4)

    def activity(self, stem: pathlib.Path) -> str:
        """What a recording shows: the word beside its number in ``activityLabel.txt``."""
        path = stem.parent / LABELS_FILE
        try:
            lines = [line.split(",") for line in base.read_text(path).splitlines()]
        except RejectedClip as reason:
            raise ValueError(f"no label: {reason}") from None
        found = {fields[0].strip(): fields[1].strip() for fields in lines if len(fields) > 1}
        if stem.name not in found:
            raise ValueError(f"no label: not in {LABELS_FILE}")
        return found[stem.name]
