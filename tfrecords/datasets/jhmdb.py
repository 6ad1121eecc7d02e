"""JHMDB: 21 actions in 928 clips of films and of the web, at most 40 frames each.

Jhuang, Gall, Zuffi, Schmid, Black. Towards understanding action recognition. ICCV 2013.

``docs/datasets/jhmdb.md`` describes the files::

    <any folder>/sit/A_Beautiful_Mind_3_sit_f_cm_np1_fr_med_6.avi       320 x 240, 30 frames per second
    splits/sit_test_split1.txt          a line per clip of the class: <name>.avi 1 (trains) or 2 (tests)
    splits/JHMDB_train1.txt             another form: a line per training clip: <name> <number of the class>
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import re
from typing import Any

from tfrecords import protocols, schema
from tfrecords.converting import video
from tfrecords.datasets import base
from tfrecords.errors import RejectedClip
from tfrecords.estimation import arguments as estimation_arguments
from tfrecords.estimation import recordings
from zoo import skeletons
from zoo.shared import messages
from zoo.shared.errors import UserError

# The folders' names, in the order in which the lists number them from 1.
ACTIONS = (
    "brush_hair", "catch", "clap", "climb_stairs", "golf", "jump", "kick_ball", "pick", "pour", "pullup", "push", "run",
    "shoot_ball", "shoot_bow", "shoot_gun", "sit", "stand", "swing_baseball", "throw", "walk", "wave",
)  # fmt: skip
VIDEO_ENDINGS = (".avi", ".mp4")
SPLITS = (1, 2, 3)
# Folder of lists with the same names, but only of clips in which the whole body is seen.
OTHER_SPLITS = "sub_splits"

# Film or video, action, visible part of the body, camera's motion, persons, view, quality, number: HMDB51's scheme.
_ACTION = "|".join(ACTIONS)
_ID = re.compile(rf"(.+)_({_ACTION})_[fhul]_[cn]m_np[0-9]_(?:fr|ba|le|ri)_(?:bad|med|goo)_([0-9]+)", re.DOTALL)
_BY_CLASS = re.compile(rf"({_ACTION})_test_split([123])\.txt")
_BY_SPLIT = re.compile(r"JHMDB_(train|test)([123])\.txt")
_PART = re.compile(r"_[0-9]+$")
_MARKS = {"0": "", "1": "train", "2": "test"}


class JHMDB(base.VideoSource):
    """JHMDB; poses are estimated.

    Args:
        folder: Folder below which the videos and the lists of splits lie.
        options: As :class:`~tfrecords.datasets.base.VideoSource`.
    """

    has_pose_files = False
    example = "A_Beautiful_Mind_3_sit_f_cm_np1_fr_med_6"

    name = "jhmdb"
    labels = ACTIONS
    layout = ""
    persons = 1
    fps = 30.0
    help = "JHMDB (Jhuang et al., ICCV 2013)"

    def __init__(self, folder: str | os.PathLike, **options: Any):
        super().__init__(folder, **options)
        self._videos: dict[str, pathlib.Path] = {}
        self._splits = read_splits(self.folder)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options of every dataset of videos, ``--layout`` and ``--persons``."""
        super().add_arguments(parser)
        parser.add_argument(
            "--layout",
            help=f"skeleton of the poses, one of {', '.join(skeletons.LAYOUTS)}; default: the estimator's own",
        )
        parser.add_argument("--persons", type=int, default=cls.persons, metavar="M", help="persons per frame")

    @classmethod
    def estimation_of(cls, arguments: argparse.Namespace) -> recordings.Settings | None:
        """How poses are estimated; ``None`` without poses."""
        if arguments.no_poses:
            estimation_arguments.refuse(arguments, (*estimation_arguments.OPTIONS, "layout"))
            return None
        return estimation_arguments.settings(arguments, layout=arguments.layout or "", persons=arguments.persons)

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """Reads ``A_Beautiful_Mind_3_sit_f_cm_np1_fr_med_6``: the film or video, the action, ..., the clip's number."""
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no clip id of JHMDB, expected a form such as {JHMDB.example}")
        return schema.ClipInfo(clip_id, ACTIONS.index(match.group(2)), repetition=int(match.group(3)))

    @staticmethod
    def performance(info: schema.ClipInfo) -> str:
        """The film or video that a clip is cut from: its clips show the same persons in the same room."""
        match = _ID.fullmatch(info.id)
        assert match  # as of every clip
        return _PART.sub("", match.group(1))

    def splits_of(self, info: schema.ClipInfo) -> dict[str, str | None]:
        """What the lists state; a tenth of the training films and videos validates."""
        splits = {}
        for name, listed in self._splits.items():
            split = listed.get(info.id)
            splits[name] = (
                protocols.train_or_val(f"{self.name}/{self.performance(info)}") if split == "train" else split
            )
        return splits

    def options(self) -> dict[str, Any]:
        """The options of every dataset of videos, and digests of splits and videos; :meth:`index` comes first."""
        listed = json.dumps(self._splits, sort_keys=True).encode()
        read = base.contents(sorted(self._videos.items()))
        return {**super().options(), "splits": hashlib.sha256(listed).hexdigest(), "files": read}

    def index(self) -> base.Index:
        """Every video whose name is a clip's."""
        endings = dict.fromkeys(VIDEO_ENDINGS, "video")
        found, rejected = base.find_files(self.folder, endings, lambda stem: self.parse_id(stem).id)
        self._videos = found["video"]
        if not self._videos and not rejected:
            raise UserError(
                f"--source {self.folder}: no clip of JHMDB below it, expected names such as {self.example}.avi"
            )
        unlisted = sorted(clip for clip in self._videos if not any(clip in listed for listed in self._splits.values()))
        if unlisted:
            listed = messages.first_of(unlisted)
            messages.warn(f"--source {self.folder}: clips in no list of splits, which no protocol uses: {listed}")
        return base.Index(tuple(self.parse_id(clip) for clip in sorted(self._videos)), tuple(rejected))

    def recording(self, info: schema.ClipInfo) -> base.Recording:
        """The video."""
        return video.Video(self._videos[info.id])

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The dataset's own annotations are not read."""
        raise RejectedClip("its poses are to be estimated")


def read_splits(folder: pathlib.Path) -> dict[str, dict[str, str]]:
    """The lists of splits below a folder, in either form; files in a folder ``sub_splits`` are skipped.

    Args:
        folder: The folder.

    Returns:
        Protocol -> clip's id -> ``"train"`` or ``"test"``, of all three protocols.

    Raises:
        UserError: A list is missing, not of its form, or there are two that differ.
    """
    by_class: dict[str, pathlib.Path] = {}
    by_split: dict[str, pathlib.Path] = {}
    for directory, names in base.walk(folder, {}):
        if directory.name == OTHER_SPLITS:
            continue
        for name in names:
            found = by_class if _BY_CLASS.fullmatch(name) else by_split if _BY_SPLIT.fullmatch(name) else None
            if found is None:
                continue
            path = directory / name
            if name in found and _lines(found[name]) != _lines(path):
                raise UserError(f"--source {folder}: {found[name]} and {path} differ, remove one of the two")
            found.setdefault(name, path)
    if by_class:
        expected = [f"{action}_test_split{number}.txt" for action in ACTIONS for number in SPLITS]
        lists = by_class
    else:
        expected = [f"JHMDB_{part}{number}.txt" for part in ("train", "test") for number in SPLITS]
        lists = by_split
    missing = [name for name in expected if name not in lists]
    if missing:
        raise UserError(
            f"--source {folder}: no {messages.first_of(missing, 3)} below it, expected the dataset's lists of splits "
            "there: unpack splits.zip beside the videos"
        )
    splits: dict[str, dict[str, str]] = {f"split_{number}": {} for number in SPLITS}
    for name in expected:
        protocol = f"split_{name[-len('1.txt')]}"
        for clip, split in _clips(lists[name]).items():
            if clip in splits[protocol]:
                raise UserError(f"{lists[name]}: {clip} is in two lists of {protocol}, expected it in one")
            splits[protocol][clip] = split
    return splits


def _clips(path: pathlib.Path) -> dict[str, str]:
    """Clip's id -> ``"train"`` or ``"test"`` in one list."""
    part = _BY_SPLIT.fullmatch(path.name)
    clips = {}
    for line in filter(str.strip, _lines(path)):
        name, _, number = line.strip().rpartition(" ")
        if not name.strip() or (not part and number not in _MARKS):
            form = "a clip's name and the number of its class" if part else "<name>.avi and 1 (trains) or 2 (tests)"
            raise UserError(f"{path}: the line {line.strip()!r}, expected {form}")
        split = part.group(1) if part else _MARKS[number]
        if split:
            clips[_without_ending(name.strip())] = split
    return clips


def _without_ending(name):
    ending = next((ending for ending in VIDEO_ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def _lines(path):
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a list of clips") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file, expected a list of clips") from None
