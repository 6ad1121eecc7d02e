"""Datasets recorded with OpenNI and its tracker NITE (CAD-60, CAD-120, SBU): numbered pictures and rows of joints.

::

    RGB_1.png, RGB_2.png, ...      a picture per frame, in a folder of their own
    <poses>.txt                    a row per frame: its number, then the joints

A picture and a row belong together where their numbers are equal.
"""

from __future__ import annotations

import abc
import pathlib
import re

import numpy as np

from tfrecords import schema
from tfrecords.converting import persons, video
from tfrecords.datasets import base
from tfrecords.errors import RejectedClip
from zoo import skeletons

# Focal length of a Kinect v1's depth camera in a 640-pixel-wide picture: OpenNI's value for an uncalibrated camera.
FOCAL_LENGTH, FOCAL_WIDTH = 575.8157, 640


class OpenNISource(base.PairedSource):
    """A dataset of folders of numbered pictures and texts of numbered rows; arguments as its base class.

    Class attributes:
        picture_name: Compiled expression of a picture's file name; its group is the frame's number.
        poses_name: Compiled expression of a text's file name.
        tree: Where pictures and text lie, for messages.

    A subclass gives :meth:`stem_of`, :meth:`clip_id` and :meth:`parse_rows` besides what every source gives.
    """

    picture_name: re.Pattern
    poses_name: re.Pattern
    tree: str

    layout = "nite_15"
    focal_per_width = FOCAL_LENGTH / FOCAL_WIDTH

    @staticmethod
    @abc.abstractmethod
    def stem_of(path: pathlib.Path) -> pathlib.Path:
        """The path that :meth:`clip_id` takes, from that of a text of poses; for pictures it is their folder."""

    @abc.abstractmethod
    def clip_id(self, stem: pathlib.Path) -> str:
        """The id of the clip a path stands for; ``ValueError`` where it is none."""

    @staticmethod
    @abc.abstractmethod
    def parse_rows(text: str, name: str) -> dict[int, np.ndarray]:
        """Frame number -> ``[M, J, 4]``, metres and confidence, from a text of poses; ``RejectedClip``."""

    def find(self) -> tuple[dict[str, dict[str, pathlib.Path]], list[tuple[str, str]]]:
        """Texts of poses and folders of pictures below the source, as far as they are wanted; and what is rejected."""
        wanted = {"poses": self.reads_poses, "video": self.reads_recordings}
        files: dict[str, dict[str, pathlib.Path]] = {kind: {} for kind in wanted if wanted[kind]}
        rejected: dict[str, str] = {}
        for kind, stem, path in self._candidates(rejected):
            if kind not in files:
                continue
            try:
                clip = self.clip_id(stem)
            except ValueError as error:
                rejected.setdefault(self._shown(stem), base.printable(str(error)))
                continue
            if clip in files[kind]:
                rejected[clip] = f"is there twice: {self._shown(files[kind][clip])} and {self._shown(path)}"
            files[kind].setdefault(clip, path)
        for clip in rejected:
            for paths in files.values():
                paths.pop(clip, None)
        return files, sorted(rejected.items())

    def _candidates(self, rejected):
        """``(kind, stem, path)`` of what looks like poses or pictures."""
        for directory, names in base.walk(self.folder, rejected):
            for name in names:
                if self.poses_name.fullmatch(name):
                    yield "poses", self.stem_of(directory / name), directory / name
            if any(self.picture_name.fullmatch(name) for name in names):
                yield "video", directory, directory

    def _shown(self, path):
        return base.printable(str(path.relative_to(self.folder)))

    def expected(self) -> str:
        """Names of the files, for a message."""
        return self.tree

    def recording(self, info: schema.ClipInfo) -> base.Recording:
        """The pictures, in the order of their numbers: by name, ``RGB_10`` would come before ``RGB_9``."""
        folder = self.path(info, "video")
        pictures = {}
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise RejectedClip(f"{self._shown(folder)}: cannot be read ({error.strerror})") from None
        for path in paths:
            if self.picture_name.fullmatch(path.name):
                if self._number(path) in pictures:
                    raise RejectedClip(f"{self._shown(path)}: frame {self._number(path)} is there twice")
                pictures[self._number(path)] = path
        return video.Pictures([pictures[number] for number in sorted(pictures)], self.fps)

    def _number(self, path):
        return int(self.picture_name.fullmatch(path.name).group(1))

    def poses_of(self, info: schema.ClipInfo, recording: base.Recording | None) -> base.Poses:
        """The rows of the recording's frames, or all rows where there is no recording."""
        path = self.path(info, "poses")
        rows = self.parse_rows(base.read_text(path), path.name)
        pictures = recording.paths if isinstance(recording, video.Pictures) else None
        frames = sorted(rows) if pictures is None else [self._number(picture) for picture in pictures]
        base.require_counterparts(path.name, ("rows of poses", rows), ("pictures", frames))
        values = np.zeros((len(frames), self.persons, skeletons.get(self.layout).num_joints, 4), np.float32)
        for index, frame in enumerate(frames):
            if frame in rows:
                values[index] = rows[frame]
        poses = self.filled(persons.Poses(values[..., :3], values[..., 3]), path.name)
        if recording is None:
            return poses
        return self.projected(poses, recording, FOCAL_LENGTH * recording.width / FOCAL_WIDTH)


def rows_of(text: str, name: str, values: int) -> dict[int, np.ndarray]:
    """The rows of a text: frame number -> values.

    Args:
        text: Lines of values with commas between them, the frame's number first.
        name: Its name, for messages.
        values: Values of a row besides the number.

    Returns:
        A dictionary of float64 arrays ``[values]``; a value that is no finite number is NaN.

    Raises:
        RejectedClip: No row, a row of another length or with anything but numbers, or a frame number that occurs twice.
    """
    rows = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            frame, *fields = (float(field) for field in line.strip().rstrip(",").split(","))
        except ValueError:
            raise RejectedClip(
                f"{name} line {number}: holds a value that is not a number, {line.strip()[:30]!r}"
            ) from None
        if len(fields) != values:
            raise RejectedClip(f"{name} line {number}: truncated or no row of joints, {len(fields) + 1} values, "
                               f"expected {values + 1}")  # fmt: skip
        if not frame.is_integer():
            raise RejectedClip(f"{name} line {number}: {frame:g} is no frame number")
        if frame in rows:
            raise RejectedClip(f"{name} line {number}: frame {frame:g} is there twice")
        row = np.array(fields)
        rows[int(frame)] = np.where(np.isfinite(row), row, np.nan)
    if not rows:
        raise RejectedClip(f"{name}: empty, expected a row per frame")
    return rows


def measured(xyz: np.ndarray, confidence: np.ndarray | float) -> np.ndarray:
    """``[..., 4]`` of joints: metres and confidence, zeros where a joint was not measured.

    A joint the tracker has lost lies at the sensor itself or is NaN.

    Args:
        xyz: ``[..., 3]`` metres.
        confidence: ``[...]``.
    """
    there = np.isfinite(xyz).all(axis=-1) & (np.abs(xyz) < 100).all(axis=-1) & (xyz[..., 2] > 0)
    joints = np.concatenate([xyz, np.broadcast_to(confidence, there.shape)[..., np.newaxis]], axis=-1)
    return np.where(there[..., np.newaxis], joints, 0.0).astype(np.float32)
