"""Clips of your own: any videos or parts of them, with or without files of poses, and one CSV that describes them.

``docs/datasets/folder.md`` has an example from the first video to the served model::

    clips.csv       video,poses,label,subject,split
                    kitchen/0001.mp4,kitchen/0001.npz,drink,3,train
                    kitchen/0002.mp4,kitchen/0002.npz,eat,4,test
"""

from __future__ import annotations

import argparse
import codecs
import csv
import io
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrecords import protocols, schema
from tfrecords.converting import persons, pose_files, video
from tfrecords.datasets import base
from tfrecords.errors import MissingPoses, RejectedClip
from tfrecords.estimation import arguments as estimation_arguments
from tfrecords.estimation import recordings
from zoo import skeletons
from zoo.shared import files, messages
from zoo.shared.errors import UserError

DEFAULT_PROTOCOL = "default"
_NUMBERS = ("subject", "camera", "setup", "repetition")
_TIMES = ("start", "end")
_COLUMNS = ("id", "video", "poses", "label", *_TIMES, *_NUMBERS, "split")
_SPLITS = (*protocols.SPLITS, "")
_SYNONYMS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
_DELIMITERS = (",", ";", "\t")
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"  # soft hyphen and zero-width spaces, which copied text has
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?)")  # hours, minutes, seconds
_SPLIT_COLUMN = re.compile(r"split(_[A-Za-z0-9_.-]+)?")  # a protocol's name is part of file names


class Folder(base.VideoSource):
    """The clips that a CSV lists.

    Args:
        table: Path of the CSV; the paths in it are relative to its folder.
        layout: Skeleton layout of the files of poses; empty without poses.
        persons: Persons M to store of each pose; further persons in a file are left out.
        fps: Frames per second of clips without a video, where their files of poses state none.
        focal_length: Focal length of the camera in pixels, for files of poses that have only metres: it projects the
            joints, so that pictures can be cut out around them.
        pictures: ``parts``, ``size`` and ``estimation`` as :class:`~tfrecords.datasets.base.VideoSource`.
        missing_poses: As in the same class; with ``keep`` a line of the CSV may name no file of poses.
    """

    name = "folder"
    help = "videos and poses of your own, listed in a CSV"
    more_validation = "mark more clips as val in the CSV's column of splits, and convert again"

    def __init__(
        self,
        table: str | os.PathLike,
        *,
        layout: str = "",
        persons: int = 1,
        fps: float = 30.0,
        focal_length: float = 0.0,
        parts: Sequence[str] = ("full_body",),
        size: int = base.SIZE,
        estimation: recordings.Settings | None = None,
        missing_poses: str = "reject",
    ):
        self.layout, self.persons = layout, persons
        super().__init__(
            pathlib.Path(table).parent,
            parts=parts,
            size=size,
            poses=bool(layout or estimation),
            estimation=estimation,
            missing_poses=missing_poses,
        )
        self.table, self.fps, self.focal_length = pathlib.Path(table), fps, focal_length
        self._rows, self._protocols = _read_table(
            self.table,
            with_poses=self.reads_poses,
            with_pictures=self.reads_recordings,
            may_lack=("poses",) if self.keeps_missing_poses else (),
        )
        # File -> the first clip of it or of a copy: of its parts the earliest, whatever their ids are.
        self._first_of_file: dict[str, str] = {}
        for clip, row in sorted(self._rows.items(), key=lambda item: (item[1]["start"] or 0.0, item[0])):
            self._first_of_file.setdefault(row["original"], clip)
        self.labels = tuple(sorted({row["label"] for row in self._rows.values()}))
        used = {(column, row[column]) for row in self._rows.values() for column in self._protocols.values()}
        self._validated = {column for column, split in used if split == "val"}

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds ``--csv`` and options for what a CSV does not state."""
        parser.add_argument(
            "--csv",
            type=pathlib.Path,
            required=True,
            metavar="FILE",
            help="table of the clips: columns video, poses, label, split, ...",
        )
        base.add_picture_arguments(parser)
        base.add_poses_argument(parser, has_pose_files=True)
        parser.add_argument(
            "--layout",
            help=f"skeleton of the poses, one of {', '.join(skeletons.LAYOUTS)}; default: no poses, or with --poses "
            "estimate the estimator's own",
        )
        parser.add_argument(
            "--persons",
            type=int,
            default=1,
            metavar="M",
            help="persons stored per frame, the first M of a file",
        )
        base.add_missing_poses_argument(parser)
        parser.add_argument(
            "--fps",
            type=float,
            default=30.0,
            help="frames per second of clips without a video, where pose files state none",
        )
        parser.add_argument(
            "--focal-length", type=float, metavar="PIXELS",
            help="focal length of the camera: projects joints to pixels if pose files hold metres alone, and gives the "
            "distances of persons with --poses estimate (default: 60 degrees of horizontal view)",
        )  # fmt: skip
        estimation_arguments.add(parser.add_argument_group("with --poses estimate"), focal_length=False)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Folder:
        """The source that parsed arguments describe."""
        parts, size = base.picture_options(arguments)
        if arguments.layout:
            try:
                skeletons.get(arguments.layout)
            except ValueError as error:
                raise UserError(f"--layout: {error}") from None
        elif (not parts or not base.WHOLE_FRAMES.issuperset(parts)) and arguments.poses != "estimate":
            raise UserError(
                f"--parts {arguments.parts} needs poses: name their skeleton with --layout, or give --poses estimate"
            )
        for option, least in (("persons", 1), ("fps", 1e-3), ("focal_length", 0.0)):
            value = getattr(arguments, option)
            if value is not None and not least <= value < 1e6:
                raise UserError(f"--{option.replace('_', '-')} {value}: expected a number from {least:g}")
        estimation = None
        if arguments.poses == "estimate":
            estimation = estimation_arguments.settings(
                arguments, layout=arguments.layout or "", persons=arguments.persons
            )
        else:
            estimation_arguments.refuse(arguments, ("estimator", "model"))
        return cls(
            arguments.csv,
            layout=arguments.layout or "",
            persons=arguments.persons,
            fps=arguments.fps,
            focal_length=arguments.focal_length or 0.0,
            parts=parts,
            size=size,
            estimation=estimation,
            missing_poses=base.missing_poses(
                arguments, poses=bool(arguments.layout or estimation), parts=parts, estimated=estimation is not None
            ),
        )

    def parse_id(self, clip_id: str) -> schema.ClipInfo:  # type: ignore[override]
        """The :class:`~tfrecords.schema.ClipInfo` of a clip in the list; ``ValueError`` where there is none."""
        if clip_id not in self._rows:
            raise ValueError(f"{clip_id!r} is in no line of {self.table}")
        row = self._rows[clip_id]
        return schema.ClipInfo(clip_id, self.labels.index(row["label"]), **{name: row[name] for name in _NUMBERS})

    def performance(self, info: schema.ClipInfo) -> str:  # type: ignore[override]
        """As for every dataset where the CSV distinguishes performances; else each video is one performance.

        A video that is listed several times, or has copies, is one performance: that of the first of its clips.
        """
        first = self.parse_id(self._first_of_file[self._rows[info.id]["original"]])
        known = first.subject or first.setup or first.repetition
        return base.Source.performance(first) if known else first.id

    def protocols(self) -> dict[str, dict[str, Any]]:
        """The CSV's columns of splits."""
        return {
            name: {"description": f"column {column!r} of {self.table.name}"} for name, column in self._protocols.items()
        }

    def splits_of(self, info: schema.ClipInfo) -> dict[str, str | None]:
        """What the CSV states; where it names no validation clips, a tenth of the training performances."""
        splits = {}
        for name, column in self._protocols.items():
            split = self._rows[info.id][column]
            if split == "train" and column not in self._validated:
                split = protocols.train_or_val(f"{self.name}/{self.performance(info)}")
            splits[name] = split or None
        return splits

    def options(self) -> dict[str, Any]:
        """All that the records depend on."""
        out = {"layout": self.layout, "persons": self.persons, "fps": self.fps, "focal_length": self.focal_length}
        rows, kinds = sorted(self._rows.items()), self.kinds_of_files
        read = base.contents((clip, self.folder / row[kind]) for clip, row in rows for kind in kinds if row[kind])
        return {**super().options(), **out, "csv": files.sha256_of(self.table), "files": read}

    def index(self) -> base.Index:
        """Every line of the CSV."""
        return base.Index(tuple(self.parse_id(clip_id) for clip_id in sorted(self._rows)))

    def recording(self, info: schema.ClipInfo) -> base.Recording:
        """The video, or the part of it between ``start`` and ``end``."""
        row, path = self._rows[info.id], self._path(info, "video")
        return video.Segment(path, row["start"] or 0.0, row["end"]) if _is_part(row) else video.Video(path)

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> persons.Poses:
        """The persons in the clip's file of poses."""
        if not self._rows[info.id]["poses"]:
            raise MissingPoses("no file of poses in the CSV")
        path, found = self._read_poses(info)
        layout = skeletons.get(self.layout)
        if found.layout not in ("", self.layout):
            raise RejectedClip(f"{path.name}: poses of the layout {found.layout}, --layout is {self.layout}")
        if found.confidence.shape[2] != layout.num_joints:
            joints = f"{found.confidence.shape[2]} joints, {self.layout} has {layout.num_joints}"
            raise RejectedClip(f"{path.name}: {joints}")
        fps = found.fps if recording is None else recording.fps
        poses = persons.of_count(found, self.persons)
        if _is_part(self._rows[info.id]):
            poses = poses.part(*self._span_of_poses(info, recording, len(poses), fps, path.name))
        poses = self.filled(poses, path.name, fps=fps)
        if poses.xy is None and self.focal_length and recording is not None:
            _require_in_front(poses, layout, path.name)
            return self.projected(poses, recording, self.focal_length)
        return poses

    def _span_of_poses(self, info, recording, count, fps, name):
        """Number of the first pose, and number of poses, of a part of a recording.

        Args:
            info: The clip.
            recording: Its recording; ``None`` without pictures.
            count: Number of poses in its file.
            fps: Poses per second; 0: as ``--fps`` states.
            name: Name of the file.
        """
        if recording is None:
            row, fps = self._rows[info.id], fps or self.fps
            return video.span([number / fps for number in range(count)], row["start"] or 0.0, row["end"], fps, name)
        # No fraction of an hour may be lacking, as it may of a clip: the part would get the poses of another minute.
        if abs(count - recording.whole) > video.LENGTHS_DIFFER:
            raise RejectedClip(
                f"{name}: {count} poses, the whole video has {recording.whole} frames: with start and end, expected "
                "the poses of the whole video"
            )
        return recording.first, recording.length

    def fps_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> float:
        """The video's frame rate; without a video that of the file of poses, or ``--fps`` where the file has none."""
        stated = 0.0 if recording is not None else self._read_poses(info)[1].fps
        return stated or super().fps_of(info, recording)

    def _read_poses(self, info):
        """Path of a clip's file of poses, and what it holds."""
        path = self._path(info, "poses")
        try:
            return path, pose_files.read(path)
        except OSError as error:
            raise RejectedClip(f"{path.name}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise RejectedClip(f"{path.name}: {error}") from None

    def _path(self, info, kind):
        return self.folder / self._rows[info.id][kind]


def _is_part(row):
    """Whether a line of the CSV names a part of a recording."""
    return row["start"] is not None or row["end"] is not None


def _require_in_front(poses, layout, name):
    """``RejectedClip`` for joints behind the camera, often coordinates relative to the body: no projection exists."""
    behind = np.argwhere((poses.confidence > 0) & (poses.xyz[..., 2] <= 0))
    if len(behind):
        frame, _, joint = behind[0]
        raise RejectedClip(
            f"{name}: not in the camera's coordinates, z must be positive for --focal-length: {layout.joints[joint]} "
            f"at z = {poses.xyz[tuple(behind[0])][2]:g} in frame {frame}"
        )


def _read_table(path, *, with_poses, with_pictures, may_lack):
    """Clip's id -> its line of the CSV; and protocol -> its column.

    Each line gets two more values: ``file``, the path of its video or poses, and ``original``, the path of the first
    listed video of which its video is a copy, else ``file``.

    Args:
        path: Path of the CSV.
        with_poses: Whether the column of poses is needed.
        with_pictures: Whether the column of videos is needed.
        may_lack: Columns that are needed, but may be empty.
    """
    text = _text(path)
    try:
        delimiter, columns = _header(text)
        table = csv.DictReader(io.StringIO(text, newline=""), columns, restval="", delimiter=delimiter)
        next(table, None)  # the header
        rows = [(table.line_num, row) for row in table]
    except csv.Error as error:
        raise UserError(f"--csv {path}: no CSV file ({error})") from None
    for number, row in rows:
        if any(value.strip() for value in row.pop(None, [])):
            raise UserError(
                f"--csv {path} line {number}: more values than the header has columns, {len(columns)}: put a value "
                f"that holds {delimiter!r} in double quotes"
            )
    rows = [(number, _stripped(row)) for number, row in rows]
    rows = [(number, row) for number, row in rows if any(row.values())]  # spreadsheets write empty rows
    split_columns = [name for name in columns if name == "split" or name.startswith("split_")]
    unknown = [name for name in columns if name and name not in _COLUMNS and name not in split_columns]
    needed = ["label", *(["poses"] if with_poses else []), *(["video"] if with_pictures else [])]
    lacking = [name for name in needed if name not in columns]
    if lacking or unknown or not split_columns:
        problems = [f"no column {name!r}" for name in lacking] + [f"unknown column {name!r}" for name in unknown]
        what = [*problems, "no column 'split'"][0]
        found = f"found {', '.join(columns)} (separated by {delimiter!r})"
        expected = f"expected {', '.join(_COLUMNS)}, split_<protocol>; needed here: {', '.join(needed)}, one of splits"
        raise UserError(f"--csv {path}: {what}; {found}; {expected}")
    for name in split_columns:
        if not _SPLIT_COLUMN.fullmatch(name):
            raise UserError(f"--csv {path}: column {name!r}, expected split_<protocol> of letters, digits, _, . and -")
    by_protocol = {_protocol(name): name for name in split_columns}
    for name in filter(None, columns):
        if columns.count(name) > 1:
            raise UserError(f"--csv {path}: the column {name!r} is there twice, remove or rename one")
        if name in split_columns and by_protocol[_protocol(name)] != name:
            raise UserError(f"--csv {path}: {name!r} and 'split_default' are one protocol, remove or rename one")
    if not rows:
        raise UserError(f"--csv {path}: no clip in it, expected a line for each")
    for number, row in rows:
        filled = [name for name in needed if name not in may_lack]
        _check(row, f"--csv {path} line {number}", filled, split_columns)
        row.update(_part(row, f"--csv {path} line {number}"))
        for name in ("video", "poses"):
            if name in row:
                row[name] = _on_disk(path.parent, row[name])
        row["file"] = os.path.realpath(os.path.join(path.parent, row.get("video") or row["poses"]))
    originals = files.copies(row["file"] for _, row in rows if row.get("video"))
    for _, row in rows:
        row["original"] = originals.get(row["file"], row["file"])
    for name in _NUMBERS:
        _number(path, name, rows)
    _warn_of_similar(path, "classes", {row["label"] for _, row in rows})
    for name in split_columns:
        _require_one_split(path, name, rows)
    _warn_of_copies(path, split_columns, rows)
    clips, lines = {}, {}
    for (number, row), default in zip(rows, _default_ids([row for _, row in rows], path.parent)):
        row["id"] = row.get("id") or default
        if row["id"] in clips:
            raise UserError(f"--csv {path} line {number}: {_twice(row, clips[row['id']], lines[row['id']])}")
        clips[row["id"]], lines[row["id"]] = row, number
    return clips, by_protocol


def _protocol(column):
    """The protocol that a column of splits belongs to."""
    return column[len("split_") :] or DEFAULT_PROTOCOL


def _part(row, where):
    """``start`` and ``end`` of a line in seconds, ``None`` where it has none."""
    found = {}
    for name in _TIMES:
        text = row.get(name) or ""
        match = _TIME.fullmatch(text)
        if text and not match:
            raise UserError(f"{where}: {name} is {text!r}, expected seconds such as 83.4, or 1:23.4, or 0:01:23.4")
        if match:
            hours, minutes, seconds = match.groups("0")
            found[name] = float(hours) * 3600 + float(minutes) * 60 + float(seconds.replace(",", "."))
    start, end = (found.get(name) for name in _TIMES)
    if end is not None and end <= (start or 0.0):
        raise UserError(f"{where}: end is {row['end']!r}, expected a time after the start ({row.get('start') or 0})")
    return {"start": start, "end": end}


def _require_one_split(path, column, rows):
    """``UserError`` for a file that is in two splits of one protocol: it would be tested after training on it."""
    found = {}
    for number, row in rows:
        split, line = found.setdefault(row["file"], (row[column], number)) if row[column] else ("", 0)
        if split != row[column]:
            name = row.get("video") or row["poses"]
            raise UserError(
                f"--csv {path} line {number}: {name!r} is in {row[column]} here and in {split} in line {line} "
                f"({column}): a video belongs to one split"
            )


def _warn_of_copies(path, split_columns, rows):
    """Warns of videos that exist under several names: with other labels, in two splits, or counted twice."""
    firsts, unlike, apart, same = {}, [], [], []
    for number, row in rows:
        part = (row["original"], row["start"] or 0.0, row["end"])
        # Of parts that differ it only matters whether they are in two splits.
        for key in (part, *((row["original"], column) for column in split_columns if row[column])):
            line, first = firsts.setdefault(key, (number, row))
            splits = next(({row[c], first[c]} for c in split_columns if row[c] and first[c] and row[c] != first[c]), ())
            if first["file"] == row["file"] or not (key == part or splits):
                continue
            copies = unlike if key == part and first["label"] != row["label"] else apart if splits else same
            where = f" ({', '.join(sorted(splits))})" if splits else ""
            copies.append(f"{row['video']!r} in line {number} of {first['video']!r} in line {line}{where}")
            break
    for copies, what, remedy in (
        (unlike, "with another label", "correct the label or leave one out"),
        (apart, "in another split, whose accuracy is then too high", "leave one out"),
        (same, "in the same split", "leave out those that should not weigh more"),
    ):
        if copies:
            messages.warn(f"--csv {path}: copies of videos {what}: {len(copies)}, such as {copies[0]}: {remedy}")


def _text(path):
    """The text of a CSV in UTF-8, or in UTF-16 if its first bytes say so, as in a spreadsheet's "Unicode text"."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except OSError as error:
        raise UserError(f"--csv {path}: cannot be read ({error.strerror}), expected a CSV file") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"--csv {path} line {line}: no text in UTF-8, save the table as CSV with the character set UTF-8 "
            "(Excel: 'CSV UTF-8')"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # of any system, old ones included
    return re.sub(r"\Asep=.(?=\n)", "", text)  # a line that tells Excel the delimiter; the others keep their numbers


def _on_disk(folder, text):
    """A path of the CSV as it is written on the disk.

    Windows separates folders by backslashes, and macOS stores an accent as a separate character, which looks the same.
    """
    if not text or os.path.exists(os.path.join(folder, text)):
        return text
    slashes = text.replace("\\", "/")
    forms = (unicodedata.normalize(form, way) for way in (text, slashes) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.exists(os.path.join(folder, form))), text)


def _warn_of_similar(path, what, names):
    """Warns of names that differ only in capitals: they count as different names."""
    alike = {}
    for name in sorted(names):
        alike.setdefault(name.casefold(), []).append(name)
    for spellings in alike.values():
        if len(spellings) > 1:
            listed = ", ".join(map(repr, spellings))
            messages.warn(f"--csv {path}: {listed} are {len(spellings)} {what}: if one is meant, spell it the same way")


def _name(text):
    """A name as it is compared: accents in one form, single spaces, no invisible characters."""
    visible = text.translate(dict.fromkeys(map(ord, _INVISIBLE)))
    return " ".join(unicodedata.normalize("NFC", visible).split())


def _twice(row, first, line):
    """What is wrong where a row has the id of an earlier one, and what to do."""
    names = [each.get("video") or each["poses"] for each in (row, first)]
    if names[0] == names[1] and all(row[time] == first[time] for time in _TIMES):
        what = f"{names[0]!r}{' with this start and end' if _is_part(row) else ''}"
        return f"{what} is in line {line} already: remove one of the two, or give each an id in a column 'id'"
    return f"the id {row['id']!r} is there twice, in line {line} too: give each an id of its own in a column 'id'"


def _header(text):
    """Delimiter and names of columns: the spreadsheet delimiter that gives the most columns known here."""
    first = text.lstrip("\n").partition("\n")[0]
    found = []
    for delimiter in _DELIMITERS:
        names = next(csv.reader([first], delimiter=delimiter), [])
        columns = [_column(name.strip()) for name in names]
        found.append((sum(name in _COLUMNS or name.startswith("split") for name in columns), delimiter, columns))
    _, delimiter, columns = max(found, key=lambda entry: entry[0])  # of equals the first, a comma
    return delimiter, columns


def _column(name):
    """A column's name in small letters, but for the protocol in ``split_<protocol>``."""
    lower = name.lower()
    return lower[: len("split")] + name[len("split") :] if lower.startswith("split_") else lower


def _stripped(row):
    """The values of a row without white space around them; those of columns without a name are left out."""
    return {name: (value or "").strip() for name, value in row.items() if name}


def _number(path, name, rows):
    """Turns a column's text into whole numbers; names of subjects, cameras etc. are numbered in sorted order."""
    values = [_name(row.get(name) or "") or "0" for _, row in rows]
    if any(value[0].isalpha() for value in values):
        found = {value: number for number, value in enumerate(sorted({*values} - {"0"}), start=1)}
        _warn_of_similar(path, f"{name}s", found)
        listed = messages.first_of(f"{value} {number}" for value, number in found.items())
        messages.note(f"--csv {path}: {name} holds names, which are numbered: {listed}")
        values = [str(found.get(value, 0)) for value in values]
    for (line, row), value in zip(rows, values):
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise UserError(
                f"--csv {path} line {line}: {name} is {value!r}, expected a whole number from 0, or names in all lines"
            )
        row[name] = int(value)


def _check(row, where, needed, split_columns):
    """Checks a line's text."""
    for name in needed:
        if not row[name]:
            hint = ", or keep such clips with --missing-poses keep" if name == "poses" else ""
            raise UserError(f"{where}: no {name}, expected one{hint}")
    if len(row["label"].splitlines()) > 1:  # labels are stored one per line
        raise UserError(f"{where}: the label {row['label']!r} holds a line break, expected a name in one line")
    row["label"] = _name(row["label"])
    for name in split_columns:
        split = row[name].lower()
        row[name] = _SYNONYMS.get(split, split)
        if row[name] not in _SPLITS:
            raise UserError(f"{where}: {name} is {row[name]!r}, expected train, val, test or nothing")


def _default_ids(rows, folder):
    """Ids of clips: the paths of their files, without what differs from machine to machine.

    A path in the CSV's folder counts from there; all others count from the folder that they have in common.
    """
    folder = os.path.abspath(folder)
    paths = [os.path.abspath(os.path.join(folder, row.get("video") or row["poses"])) for row in rows]
    outside = [path for path in paths if os.path.commonpath([folder, path]) != folder]
    common = os.path.commonpath([os.path.dirname(path) for path in outside]) if outside else folder
    bases = dict.fromkeys(outside, common)
    relative = (os.path.relpath(path, bases.get(path, folder)) for path in paths)
    names = [pathlib.PurePath(path).with_suffix("").as_posix().replace("/", ".") for path in relative]
    return [f"{name}.{_seconds(row)}" if _is_part(row) else name for name, row in zip(names, rows)]


def _seconds(row):
    """The part of a recording, as it stands in an id: ``83.4-91``."""
    start, end = ("" if row[time] is None else f"{row[time]:.3f}".rstrip("0").rstrip(".") for time in _TIMES)
    return f"{start or 0}-{end}"
