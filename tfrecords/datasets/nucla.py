"""Northwestern-UCLA Multiview Action 3D: ten actions, ten subjects, three Kinect v1 sensors at once.

Wang, Nie, Xia, Wu, Zhu. Cross-view action modeling, learning and recognition. CVPR 2014.

Two forms are in circulation, told apart by the folder's contents; ``docs/datasets/nucla.md`` describes both::

    json       all_sqe/a01_s01_e00_v01.json          poses: file_name, label 1-10, skeletons [T][20][3]
    original   view_1/a01_s01_e00/frame_12_tc_48321_rgb.jpg          a picture per frame
                                  frame_12_tc_48321_skeletons.txt    joints per frame: x,y,z,state
"""

import json
import pathlib
import re

import numpy as np

from tfrecords import crops, schema
from tfrecords.datasets import base
from tfrecords.errors import RejectedClip, UserError
from zoo import skeletons

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

# Nominal focal length of the Kinect v1 colour camera in a 640-pixel-wide picture (Kinect for Windows SDK 1.8,
# NUI_CAMERA_COLOR_NOMINAL_FOCAL_LENGTH_IN_PIXELS).
FOCAL_LENGTH, FOCAL_WIDTH = 531.15, 640
SIZE = 256  # side of the stored pictures, pixels: networks are fed 224 of them
HAND_SIDE = 0.4  # metres around a hand that a hand crop shows: the hand and an object in it

# Confidence of a joint. The sensor's own states are 2 tracked, 1 inferred (from other joints), 0 not tracked.
TRACKED, INFERRED, INTERPOLATED = 1.0, 0.5, 0.25
_CONFIDENCE = {2: TRACKED, 1: INFERRED, 0: 0.0}

_CLIP = re.compile(r"a(\d+)_s(\d+)_e(\d+)_v(\d+)")
_PERFORMANCE = re.compile(r"a\d+_s\d+_e\d+")
_FRAME = re.compile(r"frame_(\d+)_(?:tc_[^_]+_)?(rgb\.jpg|skeletons\.txt)")
_LAYOUT = skeletons.get("kinect_v1_20")
_JOINTS = _LAYOUT.num_joints


class NUCLA(base.Source):
    """Northwestern-UCLA in either form.

    Args:
        folder: The folder of JSON files, or the folder that holds ``view_1``, ``view_2``, ``view_3``.
        form: ``json`` or ``original``.
        size: Side of the stored pictures in pixels (original form).
        parts: Body parts to store, some of :data:`tfrecords.schema.PARTS` (original form).
    """

    name = "nucla"
    labels = tuple(ACTIONS.values())
    layout = _LAYOUT.name
    persons = 1
    # Neither form states it. In `walk around` the hips move 0.08 m per frame (upper quartile): 1 m/s at 12 fps.
    fps = 12.0
    help = "Northwestern-UCLA Multiview Action 3D (Wang et al., CVPR 2014)"

    def __init__(self, folder, form, size=SIZE, parts=()):
        self.folder = pathlib.Path(folder)
        self.form = form
        self.size = size
        self.parts = tuple(parts)

    @classmethod
    def add_arguments(cls, parser):
        """Adds ``--source``, ``--form``, ``--size`` and ``--parts``."""
        parser.add_argument("--source", type=pathlib.Path, required=True, metavar="DIR", help="folder of the download")
        parser.add_argument("--form", choices=("json", "original"), help="which release; default: seen from the folder")
        parser.add_argument(
            "--size", type=int, metavar="N", help=f"original form: side of the stored pictures, pixels; default: {SIZE}"
        )
        parser.add_argument(
            "--parts",
            help=f"original form: body parts to store, of {','.join(schema.PARTS)}; none: poses only; "
            "default: full_body",
        )

    @classmethod
    def from_arguments(cls, arguments):
        """The release found in ``--source``; ``UserError`` when there is none, both, or an option is wrong."""
        source = base.require_folder(arguments.source)
        found = {form: folder for form, folder in _releases(source) if arguments.form in (None, form)}
        if not found:
            raise UserError(
                f"--source {source}: no {arguments.form + ' ' if arguments.form else ''}release of N-UCLA there, "
                "expected files a01_s01_e00_v01.json (JSON release) or folders view_1, view_2, view_3 (original)"
            )
        if len(found) > 1:
            raise UserError(f"--source {source}: holds both releases, choose one with --form json or --form original")
        ((form, folder),) = found.items()
        if form == "json":
            if arguments.size or arguments.parts:
                raise UserError("--size and --parts: the JSON release holds no pictures, leave them out")
            return cls(folder, form)
        size = SIZE if arguments.size is None else arguments.size
        if size < 1:
            raise UserError(f"--size {size}: expected a number of pixels from 1")
        parts = (arguments.parts or "full_body").split(",")
        unknown = [part for part in parts if part not in schema.PARTS and parts != ["none"]]
        if unknown:
            raise UserError(f"--parts {arguments.parts}: no part {unknown[0]!r}, valid: {','.join(schema.PARTS)}, none")
        return cls(folder, form, size, [part for part in schema.PARTS if part in parts])

    @staticmethod
    def parse_id(clip_id):
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

    def options(self):
        """The form and, for pictures, their size and parts."""
        if not self.parts:
            return {"form": self.form}
        return {"form": self.form, "size": self.size, "parts": list(self.parts)}

    def index(self):
        """Every clip by its file's or folder's name."""
        if self.form == "json":
            names = [path.stem for path in self.folder.glob("*.json") if _CLIP.fullmatch(path.stem)]
        else:
            folders = [path for view in VIEWS for path in (self.folder / f"view_{view}").glob("a*")]
            names = [
                f"{path.name}_v{int(path.parent.name[-1]):02d}" for path in folders if _PERFORMANCE.fullmatch(path.name)
            ]
        clips, rejected = [], []
        for name in sorted(names):
            try:
                clips.append(self.parse_id(name))
            except ValueError as error:
                rejected.append((name, str(error)))
        if not clips:
            raise UserError(f"--source {self.folder}: no N-UCLA clip in it, expected names such as a01_s01_e00_v01")
        return base.Index(tuple(clips), tuple(rejected))

    def read(self, info):
        """One clip."""
        return self._read_json(info) if self.form == "json" else self._read_original(info)

    def _clip(self, info, poses, **features):
        return schema.Clip(info, self.name, self.labels[info.label], self.fps, layout=self.layout, **poses, **features)

    def _read_json(self, info):
        path = self.folder / f"{info.id}.json"
        try:
            content = json.loads(_read(path))
            name, label, frames = content["file_name"], content["label"], content["skeletons"]
        except ValueError as error:
            raise RejectedClip(f"{path.name}: truncated or not JSON ({error})") from None
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
        except (ValueError, TypeError):
            raise RejectedClip(f"{path.name}: skeletons of unequal shape or no numbers") from None
        if not xyz.size:
            raise RejectedClip(f"{path.name}: empty sequence")
        if xyz.shape[1:] != (_JOINTS, 3):
            raise RejectedClip(f"{path.name}: skeletons of shape {list(xyz.shape)}, expected [T, {_JOINTS}, 3]")
        if not np.isfinite(xyz).all():
            raise RejectedClip(f"{path.name}: NaN or infinite coordinates")
        # The release has no tracking states; in two frames the sensor's lost joints are zero.
        confidence = np.where(_in_front(xyz), TRACKED, 0.0)
        return self._clip(info, _poses(*_fill_gaps(xyz, confidence, path.name)))

    def _read_original(self, info):
        folder = self.folder / f"view_{info.camera}" / info.id.rpartition("_")[0]
        pictures, texts = _frames(folder)
        if self.parts and not pictures:
            raise RejectedClip(f"{_shown(folder)}: no pictures frame_*_rgb.jpg (--parts none converts poses alone)")
        numbers = sorted(pictures) if self.parts else sorted(texts)  # by number: frame_10 comes after frame_9
        states = np.zeros((len(numbers), _JOINTS, 4), np.float32)  # x, y, z, confidence; all zeros: no skeleton
        for frame, number in enumerate(numbers):
            if number in texts:
                states[frame] = nearest_person(parse_skeletons(_read(texts[number]), _shown(texts[number])))
        xyz, confidence = _fill_gaps(states[..., :3], states[..., 3], _shown(folder))
        if not self.parts:
            return self._clip(info, _poses(xyz, confidence))
        images, boxes, xy = self._cut(xyz, [pictures[number] for number in numbers])
        return self._clip(info, _poses(xyz, confidence, xy), images=images, boxes=boxes)

    def _cut(self, xyz, paths):
        """Pictures and boxes of every part, and the joints' pixels ``[T, J, 2]``."""
        images = {part: [] for part in self.parts}
        boxes = {part: [] for part in self.parts}
        pixels = []
        for joints, path in zip(xyz, paths):
            try:
                image = crops.decode_jpeg(_read(path))
            except ValueError as error:
                raise RejectedClip(f"{_shown(path)}: {error}") from None
            height, width = image.shape[:2]
            focal_length = FOCAL_LENGTH * width / FOCAL_WIDTH
            xy = crops.project(joints, focal_length, width, height)
            for part in self.parts:
                if part == "full_body":
                    box = crops.person_box(xy, width, height)
                else:
                    hand = getattr(_LAYOUT, part)
                    box = crops.square_box(xy[hand], focal_length * HAND_SIDE / joints[hand, 2])
                boxes[part].append(box)
                images[part].append(crops.encode_jpeg(crops.cut(image, box, self.size)))
            pixels.append(xy)
        return images, {part: np.array(values, np.float32) for part, values in boxes.items()}, np.array(pixels)


def _releases(source):
    """``(form, folder)`` of each release in a folder, or in the folder its archive unpacks to."""
    for folder in (source, source / "all_sqe"):
        if any(_CLIP.fullmatch(path.stem) for path in folder.glob("a*.json")):
            yield "json", folder
    for folder in (source, source / "multiview_action"):
        if any((folder / f"view_{view}").is_dir() for view in VIEWS):
            yield "original", folder


def parse_skeletons(text, name):
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
    persons = []
    for number, line in enumerate(text.split("\n"), start=1):
        values = line.strip().rstrip(",").split(",")
        if values == [""]:
            continue
        try:
            values = [float(value) for value in values]
        except ValueError:
            raise RejectedClip(f"{name} line {number}: {line.strip()[:40]!r} is no number") from None
        if len(values) == 1:
            persons.append([])
        elif len(values) == 4 and persons and values[3] in _CONFIDENCE:
            persons[-1].append([*values[:3], _CONFIDENCE[values[3]]])
        else:
            raise RejectedClip(f"{name} line {number}: {line.strip()[:40]!r}, expected x,y,z,state")
    for person in persons:
        if len(person) != _JOINTS:
            raise RejectedClip(f"{name}: truncated, a person of {len(person)} joints, expected {_JOINTS}")
    persons = [np.array(person, np.float32) for person in persons]
    if not all(np.isfinite(person).all() for person in persons):
        raise RejectedClip(f"{name}: NaN or infinite coordinates")
    for person in persons:
        person[~_in_front(person[:, :3]), 3] = 0.0
    return persons


def nearest_person(persons):
    """The person closest to the sensor: the dataset has one performer, others pass behind.

    Args:
        persons: ``[J, 4]`` arrays from :func:`parse_skeletons`.

    Returns:
        One of them; all zeros when there is none.
    """
    seen = [person for person in persons if person[:, 3].any()]
    if not seen:
        return np.zeros((_JOINTS, 4), np.float32)
    return min(seen, key=lambda person: person[person[:, 3] > 0, 2].mean())


def _in_front(xyz):
    """Which joints ``[..., J]`` were measured: a lost joint is left at the sensor itself, x = y = z = 0."""
    return xyz[..., 2] > 0


def _fill_gaps(xyz, confidence, name):
    """Puts joints that were not measured on the line between the nearest frames in which they were.

    A joint left at zero would lie in the sensor and pull the whole body there; before the first and after the last
    measurement the nearest one holds.

    Args:
        xyz: ``[T, J, 3]``.
        confidence: ``[T, J]``; 0 where not measured.
        name: Of the clip, for the message.

    Returns:
        ``(xyz, confidence)`` without gaps.

    Raises:
        RejectedClip: A joint was measured in no frame.
    """
    xyz, confidence = np.array(xyz, np.float32), np.array(confidence, np.float32)
    measured = confidence > 0
    if not measured.any():
        raise RejectedClip(f"{name}: no skeleton in any of its {len(xyz)} frames")
    never = np.flatnonzero(~measured.any(axis=0))
    if never.size:
        raise RejectedClip(f"{name}: joint {_LAYOUT.joints[never[0]]} measured in no frame")
    frames = np.arange(len(xyz))
    for joint in np.flatnonzero(~measured.all(axis=0)):
        seen = measured[:, joint]
        for axis in range(3):
            xyz[~seen, joint, axis] = np.interp(frames[~seen], frames[seen], xyz[seen, joint, axis])
    confidence[~measured] = INTERPOLATED
    return xyz, confidence


def _poses(xyz, confidence, xy=None):
    """The clip's poses with the axis of persons M = 1."""
    poses = {"pose_xyz": xyz[:, np.newaxis], "pose_confidence": confidence[:, np.newaxis]}  # [T, 1, J, 3], [T, 1, J]
    return poses if xy is None else {**poses, "pose_xy": xy[:, np.newaxis]}  # [T, 1, J, 2]


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
            if int(match.group(1)) in frames:
                raise RejectedClip(f"{_shown(path)}: frame {int(match.group(1))} is there twice")
            frames[int(match.group(1))] = path
    return pictures, texts


def _read(path):
    """A file's contents: text, or bytes of a picture."""
    try:
        return path.read_bytes() if path.suffix == ".jpg" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise RejectedClip(f"{path.name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise RejectedClip(f"{path.name}: not a text file") from None


def _shown(path):
    """``view_1/a01_s01_e00`` or ``view_1/a01_s01_e00/frame_...``: as much of a path as finds it in the download."""
    parts = path.parts
    start = max(i for i, part in enumerate(parts) if part.startswith("view_"))
    return "/".join(parts[start:])


SOURCE = NUCLA
