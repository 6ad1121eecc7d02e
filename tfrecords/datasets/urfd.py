"""UR Fall Detection: 30 falls and 40 sequences of daily activities, with the posture in every frame.

Kwolek, Kepski. Human fall detection on embedded platform using depth maps and wireless accelerometer. Computer Methods
and Programs in Biomedicine 2014.

``docs/datasets/urfd.md`` describes the files::

    <any folder>/fall-01-cam0.mp4       640 x 240, 30 frames per second: depth at the left, colour at the right;
                                        or 320 x 240: colour alone
    <any folder>/fall-01-cam0.npz       its poses, of python -m tfrecords.estimate
    urfall-cam0-falls.csv               a line per frame: fall-01,1,-1,... sequence, frame from 1, posture
    urfall-cam0-adls.csv                likewise of adl-01 ...; both may be called falls.csv and adls.csv

A clip is a window of a sequence; its record also has the label of every frame. The clip's label follows from the
frames' labels: ``fall`` where the person falls for at least :data:`FALLING` seconds, else ``lying`` or ``upright``,
whichever more frames show. All falls were recorded in one office, but few of the activities were. So windows of other
converted datasets may be added to the training as ``upright`` (``--upright``), or may test a network that is trained on
everything else (``--held-out``).
"""

from __future__ import annotations

import argparse
import collections
import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfrecords import datasets, manifest, schema
from tfrecords.converting import persons, pose_files, video
from tfrecords.datasets import base
from tfrecords.errors import MissingPoses, RejectedClip
from tfrecords.estimation import recordings
from tfrecords.reading import random_access
from zoo import skeletons
from zoo.shared import command_line, files, messages, windows
from zoo.shared.errors import UserError

LABELS = ("fall", "lying", "upright")
FALL, LYING, UPRIGHT = range(len(LABELS))
UNLABELLED = -1
FALLING = 0.5  # seconds of a window: half the duration of each of the dataset's falls
WINDOW, EVERY = 2.0, 0.2  # seconds
LAYOUT = "blazepose_33"  # of the default estimator
COMMON = "lcrnet_13"  # the layout onto which all others are mapped
HELD_OUT = "held_out."  # prefix of the names of recordings that are not trained on

# The tables' posture -> label. Posture 0 of the activities is somebody who lies down or gets up, which is no fall.
_POSTURES = {"fall": {"-1": UPRIGHT, "0": FALL, "1": LYING}, "adl": {"-1": UPRIGHT, "0": UNLABELLED, "1": LYING}}
_SEQUENCE = re.compile(r"(fall|adl)-([0-9]{2})")
_FILE = re.compile(r"((?:fall|adl)-[0-9]{2})(?:-cam0)?")
_TABLE = re.compile(r"(?:urfall-cam0-)?(falls|adls)\.csv")
_ID = re.compile(rf"(.+)-f([0-9]{{4,}})-({'|'.join(LABELS)})", re.DOTALL)
_NOT_UPRIGHT = re.compile(r"\b(fall|lie|lying|lay)")  # beginnings of words in the names of other datasets' classes
_ENDINGS = {".mp4": "video", ".avi": "video", ".npz": "poses"}


class URFD(base.VideoSource):
    """UR Fall Detection, camera 0; poses are those of ``python -m tfrecords.estimate``.

    Args:
        folder: Folder below which the videos, the tables and the files of poses lie.
        poses_from: Folder below which the files of poses lie; default: ``folder``.
        layout: Skeleton layout to store.
        window: Seconds of a window.
        every: Seconds from one window to the next.
        upright: Folders of converted datasets, windows of whose clips are trained on as ``upright``.
        held_out: Folders of converted datasets, windows of whose clips protocol ``all`` tests on.
        options: As :class:`~tfrecords.datasets.base.VideoSource`.
    """

    name = "urfd"
    labels = LABELS
    layout = LAYOUT
    persons = 1
    fps = 30.0
    help = "UR Fall Detection (Kwolek and Kepski, CMPB 2014): windows of fall, lying, upright"
    more_validation = "use smaller steps between windows (--every)"
    example = "fall-01-cam0"

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        poses_from: str | os.PathLike | None = None,
        layout: str = LAYOUT,
        window: float = WINDOW,
        every: float = EVERY,
        upright: Sequence[str | os.PathLike] = (),
        held_out: Sequence[str | os.PathLike] = (),
        **options: Any,
    ):
        self.layout = layout
        super().__init__(folder, missing_poses="keep", **options)
        self.poses_from = pathlib.Path(poses_from) if poses_from else self.folder
        self.window, self.every = window, every
        self.upright, self.held_out = (tuple(map(pathlib.Path, paths)) for paths in (upright, held_out))
        self._labels = read_tables(self.folder)
        self._files: dict[str, dict[str, pathlib.Path]] = {"video": {}, "poses": {}}
        self._others: dict[str, random_access.Location] = {}  # "dataset.clip" -> where its record is
        self._lengths: dict[str, int] = {}  # id of a window -> frames
        # Windows of a recording are read one after the other, so each recording is read only once.
        self._poses, self._other = _Newest(self._poses_of_file), _Newest(random_access.Location.read)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds ``--source``, what is stored, the windows, ``--upright`` and ``--held-out``."""
        parser.add_argument("--source", type=pathlib.Path, required=True, metavar="DIR", help="folder of the download")
        base.add_picture_arguments(parser)
        parser.add_argument("--no-poses", action="store_true", help="video alone, frames whole")
        parser.add_argument(
            "--poses-from",
            type=pathlib.Path,
            metavar="DIR",
            help="folder that python -m tfrecords.estimate has written; default: the files of poses are below --source",
        )
        parser.add_argument(
            "--layout",
            choices=skeletons.LAYOUTS,
            metavar="NAME",
            help=f"skeleton of the poses, one of {', '.join(skeletons.LAYOUTS)}; default: {LAYOUT}, or with other "
            f"datasets {COMMON}",
        )
        seconds = command_line.positive(float)
        parser.add_argument(
            "--window", type=seconds, default=WINDOW, metavar="SECONDS", help=f"length of a clip; default: {WINDOW:g}"
        )
        parser.add_argument(
            "--every",
            type=seconds,
            default=EVERY,
            metavar="SECONDS",
            help=f"distance between the starts of clips; default: {EVERY:g}",
        )
        others = {
            "--upright": "converted datasets whose clips are added to training as upright; classes with a word that "
            "begins with fall, lie, lying or lay are left out",
            "--held-out": "likewise, but they are not trained on: protocol all tests on them, for false alarms",
        }
        for option, use in others.items():
            parser.add_argument(option, type=pathlib.Path, nargs="+", default=[], metavar="DIR", help=use)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> URFD:
        """The source that parsed arguments describe."""
        parts, size = base.picture_options(arguments)
        if arguments.every > arguments.window:
            raise UserError(f"--every {arguments.every:g}: expected at most --window, {arguments.window:g}")
        return cls(
            base.require_folder(arguments.source),
            poses_from=arguments.poses_from and base.require_folder(arguments.poses_from),
            layout=arguments.layout or (COMMON if arguments.upright or arguments.held_out else LAYOUT),
            window=arguments.window,
            every=arguments.every,
            upright=arguments.upright,
            held_out=arguments.held_out,
            parts=parts,
            size=size,
            poses=not arguments.no_poses,
        )

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """Reads ``fall-01-f0031-fall``: sequence, first frame from 1, label; or ``nucla.<its id>-f0001-upright``.

        ``setup`` is 1 for the sequence of a fall, 2 for one of activities, 3 for another dataset, 4 for a held-out one;
        ``repetition`` is the number of the sequence.
        """
        match = _ID.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no clip id of URFD, expected a form such as fall-01-f0031-fall")
        sequence, label = _SEQUENCE.fullmatch(match.group(1)), LABELS.index(match.group(3))
        if not sequence:
            return schema.ClipInfo(clip_id, label, setup=4 if clip_id.startswith(HELD_OUT) else 3)
        setup = 1 if sequence.group(1) == "fall" else 2
        return schema.ClipInfo(clip_id, label, setup=setup, repetition=int(sequence.group(2)))

    @staticmethod
    def performance(info: schema.ClipInfo) -> str:
        """The sequence; for a clip of another dataset, the performance as that dataset names it."""
        recording, _ = _parts(info.id)
        if info.setup < 3:
            return recording
        name, _, clip_id = (recording[len(HELD_OUT) :] if info.setup == 4 else recording).partition(".")
        try:
            other = datasets.get(name)
            return f"{name}/{other.performance(other.parse_id(clip_id))}"
        except (KeyError, TypeError, ValueError):  # a dataset whose own files list its ids
            return recording

    def options(self) -> dict[str, Any]:
        """The options of every dataset of videos, the windows, and digests of tables, files and other datasets."""
        digest = hashlib.sha256(json.dumps(self._labels, sort_keys=True).encode()).hexdigest()
        own = {"window": self.window, "every": self.every, "postures": digest, "layout": self.layout}
        others = {
            name: [files.sha256_of(path / schema.MANIFEST) for path in paths]
            for name, paths in (("upright", self.upright), ("held_out", self.held_out))
            if paths or name == "upright"  # always there, as before held_out was added
        }
        read = base.contents(entry for kind in self.kinds_of_files for entry in sorted(self._files[kind].items()))
        return {**super().options(), **own, **others, "files": read}

    def index(self) -> base.Index:
        """Windows of every sequence that has a video or a file of poses, and windows of the other datasets."""
        found, rejected = base.find_files(self.folder, _ENDINGS, _sequence_of)
        if self.poses_from != self.folder:
            found["poses"] = base.find_files(self.poses_from, {".npz": "poses"}, _sequence_of)[0]["poses"]
        self._files = found
        sequences = sorted(set().union(*found.values()))
        if not sequences and not rejected:
            raise UserError(
                f"--source {self.folder}: no video of URFD below it, expected names such as {self.example}.mp4"
            )
        unlabelled = [name for name in sequences if name not in self._labels]
        rejected += [(name, "no line of it in the tables of postures") for name in unlabelled]
        clips = [clip for name in sequences if name in self._labels for clip in self._windows(name)]
        for paths, prefix, option in ((self.upright, "", "--upright"), (self.held_out, HELD_OUT, "--held-out")):
            clips += self._windows_of_others(paths, prefix, option)
        return base.Index(tuple(sorted(clips, key=lambda info: info.id)), tuple(rejected))

    def _windows(self, sequence) -> Iterator[schema.ClipInfo]:
        labels = self.frame_labels(sequence)
        length, step = (max(round(seconds * self.fps), 1) for seconds in (self.window, self.every))
        for first, held in windows.windows(labels, length, min(step, length)):
            label = label_of(held, self.fps)
            if label is not None:
                yield self._window(sequence, first, len(held), label)

    def _window(self, recording, first, length, label):
        info = self.parse_id(f"{recording}-f{first + 1:04d}-{LABELS[label]}")
        self._lengths[info.id] = length
        return info

    def _windows_of_others(self, paths, prefix, option) -> Iterator[schema.ClipInfo]:
        for path in paths:
            found = manifest.load(path)
            _require_usable(f"{option} {path}", found, self.parts, self.layout if self.with_poses else "")
            for shard in manifest.shards(found):
                for location, clip in random_access.outlines(path / shard["file"]):
                    if _NOT_UPRIGHT.search(clip.label_text.lower()):
                        continue
                    plain = f"{clip.dataset}.{clip.info.id}"
                    if plain in self._others or HELD_OUT + plain in self._others:
                        raise UserError(f"{option} {path}: {clip.info.id} of {clip.dataset} is there twice")
                    name = prefix + plain
                    self._others[name] = location
                    length = max(round(self.window * clip.fps), 1)
                    for first, held in windows.windows(range(clip.num_frames), length, length):
                        yield self._window(name, first, len(held), UPRIGHT)

    def frame_labels(self, sequence: str) -> list[int]:
        """The label of every frame of a sequence, up to the last labelled frame; :data:`UNLABELLED` without a label."""
        known = self._labels[sequence]
        return [known.get(frame, UNLABELLED) for frame in range(1, max(known) + 1)]

    def recording(self, info: schema.ClipInfo) -> base.Recording:
        """The frames of a window."""
        sequence, first = _parts(info.id)
        path = self._files["video"].get(sequence)
        if path is None:
            raise RejectedClip("no video of it (--parts none converts poses alone)")
        whole = video.Video(path)
        colour = video.RightHalf(whole) if video.shows_two_pictures(whole.width, whole.height) else whole
        part = recordings.Part(colour, first=first, length=self._lengths[info.id])
        return part  # type: ignore[return-value]

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The poses of a window."""
        sequence, first = _parts(info.id)
        path = self._files["poses"].get(sequence)
        if path is None:
            raise RejectedClip(
                f"no file of poses of it: python -m tfrecords.estimate {self.folder} --out DIR, with --right-half for "
                "the authors' videos, which show depth at the left"
            )
        poses = self._poses(path)
        span = poses.part(first, self._lengths[info.id])
        if len(span) < self._lengths[info.id]:
            raise RejectedClip(f"{path.name}: only {len(poses)} poses, but the tables label later frames")
        if not span.confidence.any():
            raise MissingPoses("nobody found in any of its frames")
        return span

    def _poses_of_file(self, path):
        try:
            found = pose_files.read(path)
            if found.frame and video.shows_two_pictures(*found.frame):
                raise RejectedClip(
                    f"{path.name}: its poses are of frames that show depth beside colour: estimate them of the colour, "
                    f"python -m tfrecords.estimate {self.folder} --right-half --out DIR"
                )
            return persons.onto(persons.of_count(found, self.persons), found.layout or LAYOUT, self.layout)
        except OSError as error:
            raise RejectedClip(f"{path.name}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise RejectedClip(f"{path.name}: {error}") from None

    def read(self, info: schema.ClipInfo) -> schema.Clip:
        """One window."""
        recording, first = _parts(info.id)
        length = self._lengths[info.id]
        if info.setup > 2:
            clip, labels = self._of_other(info, self._other(self._others[recording])), [UPRIGHT] * length
        else:
            clip, labels = super().read(info), self.frame_labels(recording)[first:]
        if self.with_poses and clip.pose_confidence is None:  # the base class stores absent persons only with pictures
            absent = persons.absent(length, self.persons, skeletons.get(self.layout).num_joints)
            clip = dataclasses.replace(clip, pose_xyz=absent.xyz, pose_confidence=absent.confidence)
        labels = labels[: clip.num_frames]  # the tables may go on for a frame or two after the video
        return dataclasses.replace(clip, recording=recording, start=first, frame_labels=np.array(labels, np.int64))

    def _of_other(self, info, clip):
        """A window of another dataset's clip, its poses in the layout of this dataset."""
        _, first = _parts(info.id)
        length = self._lengths[info.id]
        span = slice(first, first + length)
        poses: dict[str, Any] = {"layout": ""}
        if self.with_poses:
            found = persons.Poses(clip.pose_xyz, clip.pose_confidence, clip.pose_xy)
            found = persons.onto(persons.of_count(found.part(first, length), self.persons), clip.layout, self.layout)
            poses = {"layout": self.layout, "pose_xyz": found.xyz, "pose_confidence": found.confidence}
            poses["pose_xy"] = found.xy
        images = {part: clip.images[part][span] for part in self.parts}
        boxes = {part: clip.boxes[part][span] for part in self.parts if part in clip.boxes}
        return schema.Clip(info, self.name, LABELS[UPRIGHT], clip.fps, images=images, boxes=boxes, **poses)


class _Newest:
    """A function that caches its newest value for repeated calls with the same argument."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._argument = self._value = None

    def __call__(self, argument: Any) -> Any:
        if argument != self._argument:
            self._value = self._function(argument)
            self._argument = argument
        return self._value


def label_of(labels: Sequence[int], fps: float) -> int | None:
    """The label of a window.

    Args:
        labels: Labels of its frames.
        fps: Frames per second.

    Returns:
        :data:`FALL` where :data:`FALLING` seconds show a fall, else the more frequent of the two other labels,
        :data:`LYING` if both are equally frequent; ``None`` where no frame has either.

    Example:
        >>> [LABELS[label_of(labels, fps=4)] for labels in ([2, 2, 0, 0], [2, 0, 1, 1], [2, 2, 2, -1])]
        ['fall', 'lying', 'upright']
    """
    counts = collections.Counter(labels)
    if counts[FALL] >= FALLING * fps:
        return FALL
    if not counts[LYING] and not counts[UPRIGHT]:
        return None
    return LYING if counts[LYING] >= counts[UPRIGHT] else UPRIGHT


def read_tables(folder: pathlib.Path) -> dict[str, dict[int, int]]:
    """The tables of postures below a folder.

    Args:
        folder: The folder.

    Returns:
        Sequence -> number of the frame, from 1 -> label.

    Raises:
        UserError: A table is missing, there twice, or not of its form.
    """
    tables: dict[str, pathlib.Path] = {}
    for directory, names in base.walk(folder, {}):
        for name in names:
            match = _TABLE.fullmatch(name)
            if match and match.group(1) in tables:
                raise UserError(
                    f"--source {folder}: {tables[match.group(1)]} and {directory / name}, remove one of them"
                )
            if match:
                tables[match.group(1)] = directory / name
    missing = [f"urfall-cam0-{kind}.csv" for kind in ("falls", "adls") if kind not in tables]
    if missing:
        raise UserError(f"--source {folder}: no {' and no '.join(missing)} below it, expected the tables of postures")
    labels: dict[str, dict[int, int]] = {}
    for path in tables.values():
        for number, (sequence, frame, label) in _lines(path):
            if frame in labels.setdefault(sequence, {}):
                raise UserError(f"{path} line {number}: frame {frame} of {sequence} is there twice")
            labels[sequence][frame] = label
    return labels


def _lines(path) -> Iterator[tuple[int, tuple[str, int, int]]]:
    """Numbers of the lines of a table; sequence, frame and label of each."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a table of postures") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no CSV file ({messages.one_line(error)}), expected a table of postures") from None
    for number, row in enumerate(rows, start=1):
        if not row or (number == 1 and row[0].strip() == "name"):
            continue
        name, frame, posture = (*(value.strip() for value in row[:3]), "", "")[:3]
        match = _SEQUENCE.fullmatch(name)
        label = _POSTURES[match.group(1)].get(posture) if match else None
        if label is None or not frame.isdecimal() or not int(frame):
            raise UserError(
                f"{path} line {number}: {','.join(row[:3])!r}, expected sequence, frame from 1, and -1, 0 or 1, "
                "such as fall-01,1,-1"
            )
        yield number, (name, int(frame), label)


def _sequence_of(stem):
    match = _FILE.fullmatch(stem)
    if not match:
        raise ValueError(f"{stem!r} is no recording of camera 0, expected a name such as {URFD.example}")
    return match.group(1)


def _parts(clip_id):
    """Recording of a window, and number of its first frame there, from 0."""
    match = _ID.fullmatch(clip_id)
    assert match  # as of every clip
    return match.group(1), int(match.group(2)) - 1


def _require_usable(where: str, found: Mapping[str, Any], parts: Sequence[str], layout: str) -> None:
    """``UserError`` unless a converted dataset stores the pictures and poses that are needed."""
    missing = [part for part in parts if part not in found["parts"]]
    if missing:
        raise UserError(f"{where}: stores no pictures of {missing[0]}, expected them, or --parts none here")
    own = found["skeleton_layout"]
    if layout and own != layout and layout not in skeletons.targets(own):
        raise UserError(f"{where}: has {own or 'no'} skeletons, which are not mapped onto {layout}")
