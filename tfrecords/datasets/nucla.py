"""Northwestern-UCLA Multiview Action 3D: ten actions, ten subjects, three Kinect v1 sensors at once.

Wang, Nie, Xia, Wu, Zhu. Cross-view action modeling, learning and recognition. CVPR 2014.

Three forms are in circulation, distinguished by the folder's contents; ``docs/datasets/nucla.md`` describes them::

    json       all_sqe/a01_s01_e00_v01.json          poses: file_name, label 1-10, skeletons [T][20][3]
    original   view_1/a01_s01_e00/frame_12_tc_48321_rgb.jpg          a picture per frame
                                  frame_12_tc_48321_skeletons.txt    joints per frame: x,y,z,state
    videos     a01/v01_s01_e00.avi                colour video, without skeletons
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrecords import schema
from tfrecords.converting import persons, video
from tfrecords.datasets import base
from tfrecords.errors import MissingPoses, RejectedClip
from zoo import skeletons
from zoo.shared.errors import UserError

# The dataset's action numbers, in the order of the labels 1-10 of the JSON release. There is no a07 and no a10.
ACTIONS = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
VIEWS = (1, 2, 3)
FORMS = ("json", "original", "videos")

# Nominal focal length of the Kinect v1 colour camera in a 640-pixel-wide picture (Kinect for Windows SDK 1.8,
# NUI_CAMERA_COLOR_NOMINAL_FOCAL_LENGTH_IN_PIXELS).
FOCAL_LENGTH, FOCAL_WIDTH = 531.15, 640

_CLIP = re.compile(r"a(\d+)_s(\d+)_e(\d+)_v(\d+)")
_PERFORMANCE = re.compile(r"a\d+_s\d+_e\d+")
_VIDEO = re.compile(r"(v\d+)_(s\d+_e\d+)\.avi")
_FRAME = re.compile(r"frame_(\d+)_(?:tc_[^_]+_)?(rgb\.jpg|skeletons\.txt)")
_LAYOUT = skeletons.get("kinect_v1_20")
_JOINTS = _LAYOUT.num_joints


class NUCLA(base.VideoSource):
    """Northwestern-UCLA in one of its forms.

    Args:
        folder: The folder of JSON files, or the folder that holds ``view_1``, ``view_2``, ``view_3``, or the folder
            that holds the actions' folders of videos.
        form: ``json`` (poses alone), ``original`` or ``videos`` (without skeletons).
        options: As :class:`~tfrecords.datasets.base.VideoSource`, for the forms with pictures.
    """

    name = "nucla"
    labels = tuple(ACTIONS.values())
    layout = _LAYOUT.name
    persons = 1
    # Neither form states the rate. In `walk around` the hips move 0.08 m per frame (upper quartile): 1 m/s at 12 fps.
    fps = 12.0
    focal_per_width = FOCAL_LENGTH / FOCAL_WIDTH
    help = "Northwestern-UCLA Multiview Action 3D (Wang et al., CVPR 2014)"

    def __init__(self, folder: str | os.PathLike, form: str, **options: Any):
        super().__init__(folder, **{"parts": (), **options})
        self.form = form

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options of every dataset of videos, and ``--form``."""
        super().add_arguments(parser)
        parser.add_argument("--form", choices=FORMS, help="release of the dataset; default: recognised by its files")

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> NUCLA:
        """The release found in ``--source``; ``UserError`` when there is none, several, or an option is wrong."""
        source = base.require_folder(arguments.source)
        found = {form: folder for form, folder in _releases(source) if arguments.form in (None, form)}
        if not found:
            raise UserError(
                f"--source {source}: no {arguments.form + ' ' if arguments.form else ''}release of N-UCLA there, "
                "expected files a01_s01_e00_v01.json (JSON release), folders view_1, view_2, view_3 (original) or "
                "files a01/v01_s01_e00.avi (videos)"
            )
        if len(found) > 1:
            choices = " or ".join(f"--form {form}" for form in found)
            raise UserError(f"--source {source}: holds several releases, choose one with {choices}")
        ((form, folder),) = found.items()
        if form == "json":
            poses = arguments.no_poses or arguments.missing_poses == "keep" or cls.estimation_of(arguments)
            if arguments.size or arguments.parts or poses:
                options = "--size, --parts, --no-poses, --missing-poses keep, --poses estimate"
                raise UserError(f"{options}: the JSON release holds no pictures, leave them out")
            return cls(folder, form)
        opened = cls(folder, form, **cls.picture_options(arguments))
        if form == "videos" and opened.reads_poses:
            raise UserError(
                f"--source {source}: has videos alone: give --poses estimate, or --no-poses to store no poses"
            )
        return opened

    @staticmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """Reads ``a01_s01_e00_v01``: action, subject, repetition (episode) and view."""
        match = _CLIP.fullmatch(clip_id)
        if not match:
            raise ValueError(f"{clip_id!r} is no N-UCLA clip id, expected the form a01_s01_e00_v01")
        action, subject, repetition, view = (int(number) for number in match.groups())
        if action not in ACTIONS:
            raise ValueError(f"no action a{action:02d}, expected one of {', '.join(f'a{a:02d}' for a in ACTIONS)}")
        if view not in VIEWS:
            raise ValueError(f"no view v{view:02d}, expected v01 to v03")
        label = list(ACTIONS).index(action)
        return schema.ClipInfo(clip_id, label, subject=subject, camera=view, repetition=repetition)

    def options(self) -> dict[str, Any]:
        """The form and, for the forms with pictures, the options of every dataset of videos."""
        return {"form": self.form, **({} if self.form == "json" else super().options())}

    def index(self) -> base.Index:
        """Every clip by its file's or folder's name."""
        clips: list[schema.ClipInfo] = []
        rejected: list[tuple[str, str]] = []
        if self.form == "json":
            names = [path.stem for path in self.folder.glob("*.json") if _CLIP.fullmatch(path.stem)]
        elif self.form == "videos":
            names = _names_of_videos(self.folder)
        else:
            names = [f"{name}_v{view:02d}" for view in VIEWS for name in self._performances(view, rejected)]
        for name in sorted(names):
            try:
                clips.append(self.parse_id(name))
            except ValueError as error:
                rejected.append((name, str(error)))
        if not clips and not rejected:
            raise UserError(f"--source {self.folder}: no N-UCLA clip in it, expected names such as a01_s01_e00_v01")
        return base.Index(tuple(clips), tuple(sorted(rejected)))

    def _performances(self, view, rejected):
        """Names of a view's folders of performances; a folder that cannot be read is added to ``rejected``."""
        folder = self.folder / f"view_{view}"
        try:
            return [name for name in os.listdir(folder) if _PERFORMANCE.fullmatch(name)]
        except FileNotFoundError:  # a download of some of the views
            return []
        except OSError as error:
            rejected.append((folder.name, f"folder cannot be read ({error.strerror}), check its mode and owner"))
            return []

    def recording(self, info: schema.ClipInfo) -> base.Recording:
        """The video of a clip, or its pictures of the original form."""
        if self.form == "videos":
            return video.Video(self._path_of_video(info))
        folder, pictures, _ = self._frames(info)
        if not pictures:
            raise RejectedClip(f"{_shown(folder)}: no pictures frame_*_rgb.jpg (--parts none converts poses alone)")
        try:
            return video.Pictures([pictures[number] for number in sorted(pictures)], self.fps)
        except ValueError as error:
            raise RejectedClip(f"{_shown(folder)}/{error}") from None

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The performer's poses."""
        if self.form == "json":
            return self._read_json(info)
        folder, pictures, texts = self._frames(info)
        if not texts:
            raise MissingPoses(f"{_shown(folder)}: no skeleton files frame_*_skeletons.txt")
        if recording is not None:
            base.require_counterparts(_shown(folder), ("pictures", pictures), ("skeleton files", texts))
        numbers = sorted(texts if recording is None else pictures)  # by number: frame_10 comes after frame_9
        states = np.zeros((len(numbers), _JOINTS, 4), np.float32)  # x, y, z, confidence; all zeros: no skeleton
        for frame, number in enumerate(numbers):
            if number in texts:
                states[frame] = nearest_person(parse_skeletons(base.read_text(texts[number]), _shown(texts[number])))
        return self._performer(states[..., :3], states[..., 3], _shown(folder), recording)

    def _performer(self, xyz, confidence, name, recording=None):
        """The performer's poses without gaps, projected into the recording if there is one.

        Args:
            xyz: ``[T, J, 3]``.
            confidence: ``[T, J]``; 0 where not measured.
            name: Name of the clip, for messages.
            recording: The recording that the poses belong to.
        """
        poses = persons.Poses(xyz[:, np.newaxis], confidence[:, np.newaxis])  # M = 1
        poses = self.filled(poses, name, longest=None)
        if recording is None:
            return poses
        return self.projected(poses, recording, FOCAL_LENGTH * recording.width / FOCAL_WIDTH)

    def _frames(self, info):
        """A clip's folder; frame number -> path of its pictures, and of its skeleton files."""
        folder = self.folder / f"view_{info.camera}" / info.id.rpartition("_")[0]
        return (folder, *_frames(folder))

    def _path_of_video(self, info):
        """Path of a clip's video: the inverse of :func:`_names_of_videos`."""
        action, subject, repetition, view = info.id.split("_")
        return self.folder / action / f"{view}_{subject}_{repetition}.avi"

    def _read_json(self, info):
        path = self.folder / f"{info.id}.json"
        content = base.parse_json(base.read_text(path), path.name)
        try:
            name, label, frames = content["file_name"], content["label"], content["skeletons"]
        except (KeyError, TypeError):
            raise RejectedClip(f"{path.name}: expected the keys file_name, label, skeletons") from None
        if name != info.id:
            raise RejectedClip(f"{path.name}: holds the clip {name!r}")
        if not isinstance(label, int) or not 1 <= label <= len(ACTIONS):
            raise RejectedClip(f"{path.name}: label {label!r} out of range, expected 1 to {len(ACTIONS)}")
        if label != info.label + 1:
            raise RejectedClip(f"{path.name}: label {label} does not match its name, expected {info.label + 1}")
        try:
            xyz = np.array(frames, np.float32)
        except (ValueError, TypeError, OverflowError):  # the last: a whole number too large for a float
            raise RejectedClip(f"{path.name}: skeletons of unequal shape or no numbers") from None
        if not xyz.size:
            raise RejectedClip(f"{path.name}: empty sequence")
        if xyz.shape[1:] != (_JOINTS, 3):
            raise RejectedClip(f"{path.name}: skeletons of shape {list(xyz.shape)}, expected [T, {_JOINTS}, 3]")
        if not np.isfinite(xyz).all():
            raise RejectedClip(f"{path.name}: NaN or infinite coordinates")
        # The release has no tracking states; in two frames the sensor's lost joints are zero.
        confidence = np.where(_in_front(xyz), persons.TRACKED, persons.ABSENT)
        return self._performer(xyz, confidence, path.name)


def _releases(source):
    """``(form, folder)`` of each release in a folder, or in the folder its archive unpacks to."""
    for folder in (source, source / "all_sqe"):
        if any(_CLIP.fullmatch(path.stem) for path in folder.glob("a*.json")):
            yield "json", folder
    for folder in (source, source / "multiview_action"):
        if any((folder / f"view_{view}").is_dir() for view in VIEWS):
            yield "original", folder
    for folder in (source, source / "multiview_action_videos"):
        if _names_of_videos(folder):
            yield "videos", folder


def _names_of_videos(folder):
    """Ids of the clips whose videos lie in the folders of their actions, ``a01/v01_s01_e00.avi``."""
    found = ((path.parent.name, _VIDEO.fullmatch(path.name)) for path in folder.glob("a*/v*.avi"))
    return [f"{action}_{match[2]}_{match[1]}" for action, match in found if match]


def parse_skeletons(text: str, name: str) -> list[np.ndarray]:
    """The persons in one ``frame_*_skeletons.txt``.

    Each person is a line with one number followed by 20 lines ``x,y,z,state``, metres and the sensor's tracking
    state. A frame without a person is an empty file.

    Args:
        text: The file's contents.
        name: Its name, for messages.

    Returns:
        A list of ``[20, 4]`` float32 arrays: x, y, z, confidence.

    Raises:
        RejectedClip: A line is no number or no joint, a person has not 20 joints, or a coordinate is not finite.
    """
    people: list[list[list[float]]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.strip().rstrip(",").split(",")
        if fields == [""]:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            raise RejectedClip(f"{name} line {number}: {line.strip()[:40]!r} is no number") from None
        if len(values) == 1:
            people.append([])
        elif len(values) == 4 and people and values[3] in persons.KINECT_STATES:
            people[-1].append([*values[:3], persons.KINECT_STATES[int(values[3])]])
        else:
            raise RejectedClip(f"{name} line {number}: {line.strip()[:40]!r}, expected x,y,z,state")
    for joints in people:
        if len(joints) != _JOINTS:
            raise RejectedClip(f"{name}: truncated, a person of {len(joints)} joints, expected {_JOINTS}")
    bodies = [np.array(joints, np.float32) for joints in people]
    if not all(np.isfinite(person).all() for person in bodies):
        raise RejectedClip(f"{name}: NaN or infinite coordinates")
    for person in bodies:
        person[~_in_front(person[:, :3]), 3] = 0.0
    return bodies


def nearest_person(bodies: Sequence[np.ndarray]) -> np.ndarray:
    """The person closest to the sensor: the dataset has one performer, others pass behind.

    Args:
        bodies: ``[J, 4]`` arrays from :func:`parse_skeletons`.

    Returns:
        One of them; all zeros when there is none.
    """
    seen = [person for person in bodies if person[:, 3].any()]
    if not seen:
        return np.zeros((_JOINTS, 4), np.float32)
    return min(seen, key=lambda person: person[person[:, 3] > 0, 2].mean())


def _in_front(xyz):
    """Which joints ``[..., J]`` were measured: a lost joint is left at the sensor itself, x = y = z = 0."""
    return xyz[..., 2] > 0


def _frames(folder):
    """Frame number -> path, of the pictures and of the skeleton files in a clip's folder."""
    pictures, texts = {}, {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RejectedClip(f"{_shown(folder)}: cannot be read ({error.strerror})") from None
    for path in paths:
        match = _FRAME.fullmatch(path.name)
        if match:
            frames = pictures if path.suffix == ".jpg" else texts
            number = int(match.group(1))
            if number in frames:
                raise RejectedClip(
                    f"{_shown(path)}: frame {number} is there twice, also as {frames[number].name}: two recordings in "
                    "one folder"
                )
            frames[number] = path
    return pictures, texts


def _shown(path):
    """``view_1/a01_s01_e00`` or ``view_1/a01_s01_e00/frame_...``: the part of a path below the download."""
    parts = path.parts
    start = max(i for i, part in enumerate(parts) if part.startswith("view_"))
    return "/".join(parts[start:])
