"""SBU Kinect Interaction: eight interactions of two persons, seven participants in 21 ordered pairs.

Yun, Honorio, Chattopadhyay, Berg, Samaras. Two-person interaction detection using body-pose features and multiple
instance learning. CVPR workshops 2012.

``docs/datasets/sbu.md`` describes the files::

    s01s02/03/001/skeleton_pos.txt      a row per frame: number, 2 persons x 15 joints x 3 normalised coordinates
                  rgb_000350.png        640 x 480
"""

from __future__ import annotations

import pathlib
import re

import numpy as np

from tfrecords import protocols, schema
from tfrecords.converting import persons
from tfrecords.datasets import openni
from zoo import skeletons

# By the number of their folder, 01 to 08. A list in which 04 is punching, 05 pushing, 07 shaking hands and 08
# exchanging is in circulation; docs/datasets/sbu.md has the reasons against it.
INTERACTIONS = (
    "approaching", "departing", "kicking", "pushing", "shaking hands", "hugging", "exchanging object", "punching",
)  # fmt: skip
PAIRS = sorted(pair for fold in protocols.SBU_FOLDS for pair in fold)

_ID = re.compile(r"s([0-9]{2})s([0-9]{2})_([0-9]{2})_([0-9]{3})")
_JOINTS = skeletons.get("nite_15").num_joints


class SBU(openni.OpenNISource):
    """SBU Kinect Interaction; arguments as :class:`~tfrecords.datasets.base.VideoSource`.

    A clip's subject is its pair: 102 for ``s01s02``. The order of the persons states neither side nor role.
    """

    title = "SBU Kinect Interaction"
    example = "s01s02_03_001"
    tree = "s01s02/03/001/skeleton_pos.txt and rgb_000350.png beside it"
    picture_name = re.compile(r"rgb_([0-9]+)\.png")
    poses_name = re.compile(r"skeleton_pos\.txt")

    name = "sbu"
    labels = INTERACTIONS
    persons = 2
    fps = 15.0
    help = "SBU Kinect Interaction (Yun et al., CVPR workshops 2012)"

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """Reads ``s01s02_03_001``: the pair, the interaction, the repetition."""
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no clip id of SBU Kinect Interaction, expected the form s01s02_03_001")
        first, second, interaction, repetition = (int(number) for number in match.groups())
        pair = 100 * first + second
        if pair not in PAIRS:
            pairs = ", ".join(f"s{p // 100:02d}s{p % 100:02d}" for p in PAIRS)
            raise ValueError(f"no pair s{first:02d}s{second:02d}, expected one of {pairs}")
        if not 1 <= interaction <= len(INTERACTIONS):
            raise ValueError(f"no interaction {interaction:02d}, expected 01 to {len(INTERACTIONS):02d}")
        return schema.ClipInfo(clip_id, interaction - 1, subject=pair, repetition=repetition)

    @staticmethod
    def stem_of(path: pathlib.Path) -> pathlib.Path:
        """The folder, ``s01s02/03/001``."""
        return path.parent

    def clip_id(self, stem: pathlib.Path) -> str:
        """``s01s02_03_001`` from the last three folders' names."""
        return self.parse_id("_".join(stem.absolute().parts[-3:])).id

    @staticmethod
    def parse_rows(text: str, name: str) -> dict[int, np.ndarray]:
        """The persons in one ``skeleton_pos.txt``: frame number -> ``[2, 15, 4]``, metres and confidence.

        The README's equations give millimetres, x to the right in the pictures and y upwards.
        """
        rows = openni.rows_of(text, name, 2 * _JOINTS * 3)
        values = np.stack(list(rows.values())).reshape(-1, 2, _JOINTS, 3)
        millimetres = np.stack(
            [1280 - 2560 * values[..., 0], 960 - 1920 * values[..., 1], values[..., 2] * 10000 / 7.8125], axis=-1
        )
        return dict(zip(rows, openni.measured(millimetres / 1000, persons.TRACKED)))
