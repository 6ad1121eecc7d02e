"""What a dataset's module provides: the interface between an original download and the writer."""

from __future__ import annotations

import abc
import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Union

import numpy as np

from tfrecords import protocols, schema
from tfrecords.converting import crops, persons, video
from tfrecords.errors import MissingPoses, RejectedClip
from tfrecords.estimation import arguments as estimation_arguments
from tfrecords.estimation import recordings
from zoo import skeletons
from zoo.shared import files
from zoo.shared.errors import UserError

SIZE = 256  # side of the stored pictures, pixels: networks take crops of 224
LARGEST_SIZE = 4096
LARGEST_CLIP = 512 << 20  # bytes of a clip's pictures; writing it takes five times as much memory
MISSING_POSES = ("reject", "keep")
WHOLE_FRAMES = frozenset(("full_body", skeletons.FULL_IMAGE))  # parts that are whole frames where no pose is known
Recording = Union[video.Video, video.Segment, video.Pictures]
Poses = persons.Poses


@dataclasses.dataclass(frozen=True)
class Index:
    """What a source contains.

    Attributes:
        clips: :class:`~tfrecords.schema.ClipInfo` of every clip to convert, sorted by id, ids unique.
        rejected: ``(id, reason)`` of files that look like a clip but cannot be one.
    """

    clips: tuple
    rejected: tuple = ()


class Source(abc.ABC):
    """A dataset as its authors distribute it, found in a folder.

    A source is pickled into the conversion's worker processes: it holds paths and options, no open files.

    Class attributes:
        name: The dataset's name in commands and manifests.
        labels: Class names; a clip's label is an index into them.
        layout: Skeleton layout, a key of :data:`zoo.skeletons.LAYOUTS`.
        persons: Persons M a pose holds.
        fps: Frames per second.
        help: One line for the command line.
        more_validation: How a user gets more validation clips; to be read after "too few: ".
    """

    name: str
    labels: tuple
    layout: str
    persons: int
    fps: float
    help: str
    more_validation = "convert more recordings"

    @classmethod
    @abc.abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the dataset's own options to ``python -m tfrecords.convert <name>``."""

    @classmethod
    @abc.abstractmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Source:
        """The source that parsed arguments describe; :class:`~zoo.shared.errors.UserError` when it is not there."""

    @staticmethod
    @abc.abstractmethod
    def parse_id(clip_id: str) -> schema.ClipInfo:
        """The :class:`~tfrecords.schema.ClipInfo` a clip's id stands for; ``ValueError`` if it is no id."""

    @staticmethod
    def performance(info: schema.ClipInfo) -> str:
        """Key of the performance that a clip shows; training and validation never have a performance in common.

        By default a performance is one repetition of an action by a subject in a setup, whichever camera recorded it.

        Args:
            info: The clip's :class:`~tfrecords.schema.ClipInfo`.

        Returns:
            Text.
        """
        return f"{info.setup}/{info.label}/{info.subject}/{info.repetition}"

    def protocols(self) -> dict[str, dict[str, Any]]:
        """Name of each evaluation protocol -> its entry in the manifest: ``description`` and perhaps ``labels``."""
        return {name: protocol.facts() for name, protocol in protocols.PROTOCOLS[self.name].items()}

    def splits_of(self, info: schema.ClipInfo) -> dict[str, str | None]:
        """Protocol -> split of a clip (``None`` where the protocol does not use it)."""
        return protocols.splits_of(self.name, info.id)

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """What the records depend on besides the source's files, as JSON values; recorded in the manifest."""

    @abc.abstractmethod
    def index(self) -> Index:
        """The :class:`Index` of the source: names only, cheap; :class:`~zoo.shared.errors.UserError` if empty."""

    @abc.abstractmethod
    def read(self, info: schema.ClipInfo) -> schema.Clip:
        """The :class:`~tfrecords.schema.Clip` of one index entry; raises ``RejectedClip`` with the reason."""


class VideoSource(Source):
    """A dataset of recordings with skeletons: pictures are cut out around the skeletons.

    Pictures or poses may be left out: ``parts=()`` stores only poses; ``poses=False`` stores only the video, each frame
    whole, as a square with black borders, because the person's position is not known. Poses may be estimated from the
    video instead of read. The video is then decoded twice, for the poses and for the pictures, as a long video does not
    fit into memory.

    Args:
        folder: The download.
        parts: Body parts to store, some of :data:`tfrecords.schema.PARTS`.
        size: Side of the stored pictures in pixels; the shorter side for the full image.
        poses: Store skeletons.
        estimation: How poses are estimated; default: they are read.
        missing_poses: What becomes of a clip in which nobody's pose is known, one of :data:`MISSING_POSES`: ``keep``
            stores poses that are all zeros, with confidence 0, and the frames whole, also as the pictures of hands.

    Class attributes:
        has_pose_files: Whether the dataset has skeletons to read.
        focal_per_width: Focal length of its camera, as a multiple of a picture's width; 0 where it is not known.

    A subclass gives :meth:`recording` and :meth:`poses_of` besides what every source gives.
    """

    has_pose_files = True
    focal_per_width: float = 0.0

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        parts: Sequence[str] = ("full_body",),
        size: int = SIZE,
        poses: bool = True,
        estimation: recordings.Settings | None = None,
        missing_poses: str = "reject",
    ):
        self.folder = pathlib.Path(folder)
        self.parts, self.size, self.with_poses, self.estimation = tuple(parts), size, poses, estimation
        self.keeps_missing_poses = missing_poses == "keep"
        if estimation:
            self.layout = estimation.skeleton
            self.persons = estimation.persons
        if not poses:
            self.layout, self.persons = "", 0

    @property
    def reads_poses(self) -> bool:
        """Whether skeletons are read."""
        return self.with_poses and self.estimation is None

    @property
    def reads_recordings(self) -> bool:
        """Whether recordings are read: for pictures, or to estimate poses."""
        return bool(self.parts) or self.estimation is not None

    @property
    def kinds_of_files(self) -> tuple[str, ...]:
        """What is read of a clip: ``video``, ``poses`` or both."""
        kinds = (("video", self.reads_recordings), ("poses", self.reads_poses))
        return tuple(kind for kind, is_read in kinds if is_read)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds ``--source``, what is stored of pictures and poses, and the options of estimation."""
        parser.add_argument("--source", type=pathlib.Path, required=True, metavar="DIR", help="folder of the download")
        add_picture_arguments(parser)
        poses = parser.add_mutually_exclusive_group()
        poses.add_argument(
            "--no-poses", action="store_true", help="video alone: skeletons are not read, frames are stored whole"
        )
        add_poses_argument(poses, cls.has_pose_files)
        add_missing_poses_argument(parser)
        estimation_arguments.add(parser.add_argument_group("with --poses estimate"))

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> VideoSource:
        """The source that parsed arguments describe."""
        return cls(require_folder(arguments.source), **cls.picture_options(arguments))

    @classmethod
    def picture_options(cls, arguments: argparse.Namespace) -> dict[str, Any]:
        """Arguments of the class from parsed ones; :class:`UserError` where they exclude each other."""
        parts, size = picture_options(arguments)
        estimation = cls.estimation_of(arguments)
        poses = not arguments.no_poses
        missing = missing_poses(arguments, poses=poses, parts=parts, estimated=estimation is not None)
        return {"parts": parts, "size": size, "poses": poses, "estimation": estimation, "missing_poses": missing}

    @classmethod
    def estimation_of(cls, arguments: argparse.Namespace) -> recordings.Settings | None:
        """How poses are estimated; ``None`` where they are not.

        The dataset's own layout and persons are kept, so that models trained on its sensor's skeletons fit.
        """
        if arguments.poses != "estimate" or arguments.no_poses:
            estimation_arguments.refuse(arguments)
            return None
        return estimation_arguments.settings(arguments, layout=cls.layout, persons=cls.persons)

    def options(self) -> dict[str, Any]:
        """What is stored: parts, size, poses, how they are estimated, and whether clips without poses are stored."""
        out: dict[str, Any] = {"parts": list(self.parts), "poses": self.with_poses}
        if self.estimation:
            out.update(self.estimation.options(), poses="estimate", layout=self.layout)
        if self.keeps_missing_poses:
            out["missing_poses"] = "keep"
        return {**out, "size": self.size} if self.parts else out

    @abc.abstractmethod
    def recording(self, info: schema.ClipInfo) -> Recording:
        """The frames of a clip, a :class:`~tfrecords.converting.video.Video`, ``Segment`` or ``Pictures``.

        Raises ``RejectedClip`` or ``ValueError``.
        """

    @abc.abstractmethod
    def poses_of(self, info: schema.ClipInfo, recording: Recording | None) -> persons.Poses:
        """The :class:`tfrecords.converting.persons.Poses` of a clip, without gaps.

        Raises ``MissingPoses`` where nobody's is known; ``RejectedClip`` or ``ValueError``.

        Args:
            info: The clip.
            recording: Its recording, for a dataset whose joints are projected into it; ``None`` where no pictures are
                wanted.
        """

    def clip_poses(self, info: schema.ClipInfo, recording: Recording | None) -> persons.Poses:
        """The poses of a clip, estimated from its recording or given by :meth:`poses_of`; raises the same errors."""
        if self.estimation is None:
            return self.poses_of(info, recording)
        assert recording is not None  # reads_recordings
        settings = self.estimation
        if not settings.focal_length:
            settings = dataclasses.replace(settings, focal_length=self.focal_per_width * recording.width)
        poses = recordings.estimate(recording, settings)
        if not poses.confidence.any():
            raise MissingPoses(f"nobody found in any of its {len(poses)} frames")
        return poses

    def filled(
        self, poses: persons.Poses, name: str, longest: float | None = persons.LONGEST_GAP, *, fps: float = 0.0
    ) -> persons.Poses:
        """:func:`tfrecords.converting.persons.fill_gaps`; its error messages begin with ``name``.

        Args:
            poses: :class:`~tfrecords.converting.persons.Poses`.
            name: Name of the file or folder that the poses are from.
            longest: Longest gap of a whole body that is filled, in seconds; ``None``: any.
            fps: Poses per second; 0: the dataset's.
        """
        layout = skeletons.get(self.layout)
        if self.keeps_missing_poses:
            poses = persons.with_all_joints(poses, layout)
        try:
            return persons.fill_gaps(poses, layout, fps=fps or self.fps, longest=longest)
        except RejectedClip as reason:
            raise type(reason)(f"{name}: {reason}") from None

    def known_poses(self, info: schema.ClipInfo, recording: Recording | None) -> persons.Poses | None:
        """:meth:`clip_poses`, or ``None``: poses are not wanted, or nobody's is known and such clips are kept."""
        if not self.with_poses:
            return None
        try:
            return self.clip_poses(info, recording)
        except MissingPoses:
            if not self.keeps_missing_poses:
                raise
            return None

    @staticmethod
    def projected(poses: persons.Poses, recording: Recording, focal_length: float) -> persons.Poses:
        """The poses with the joints' pixel coordinates in a recording, seen by a pinhole camera.

        Args:
            poses: :class:`~tfrecords.converting.persons.Poses`.
            recording: The recording that the poses belong to.
            focal_length: Focal length of the camera, in pixels of the recording.
        """
        xy = crops.project(np.asarray(poses.xyz), focal_length, recording.width, recording.height)
        return persons.Poses(poses.xyz, poses.confidence, np.nan_to_num(xy))  # NaN: absent, at the camera itself

    def boxes(self, poses: persons.Poses | None, recording: Recording) -> dict[str, np.ndarray]:
        """Part -> the boxes that are cut out.

        Args:
            poses: :class:`~tfrecords.converting.persons.Poses`, or ``None``.
            recording: The recording that is cut.

        Returns:
            ``[T, 4]`` for each part, see :func:`tfrecords.converting.crops.part_boxes`; ``[1, 4]``, the whole frame,
            where the joints' positions in it are not known. The full image is the frame itself, not a square.
        """
        if poses is None or poses.xy is None:
            whole = np.array([crops.whole_box(recording.width, recording.height)])
            image = np.array([(0, 0, recording.width, recording.height)])
            if poses is not None and not WHOLE_FRAMES.issuperset(self.parts):
                raise RejectedClip("its joints' pixel coordinates are not known, so hands cannot be cut out")
            return {part: image if part == skeletons.FULL_IMAGE else whole for part in self.parts}
        return crops.part_boxes(
            poses.xy,
            poses.confidence > 0,
            self.parts,
            layout=self.layout,
            width=recording.width,
            height=recording.height,
            fps=recording.fps or self.fps,
            xyz=poses.xyz,
        )

    def read(self, info: schema.ClipInfo) -> schema.Clip:
        """One clip."""
        try:
            recording = self.recording(info) if self.reads_recordings else None
            poses = self.known_poses(info, recording)
            if recording is None or not self.parts:
                return self._clip(info, poses, self.fps_of(info, recording))
            boxes = self.boxes(poses, recording)
            images, length = self._cut(recording, boxes, len(poses) if poses is not None else None)
        except ValueError as error:
            raise RejectedClip(str(error)) from None
        boxes = {part: (b if len(b) > 1 else np.repeat(b, length, axis=0))[:length] for part, b in boxes.items()}
        boxes = {part: values.astype(np.float32) for part, values in boxes.items()}
        if poses is not None:
            poses = poses.part(0, length)
        elif self.with_poses:
            poses = persons.absent(length, self.persons, skeletons.get(self.layout).num_joints)
        return self._clip(info, poses, self.fps_of(info, recording), images=images, boxes=boxes)

    def fps_of(self, info: schema.ClipInfo, recording: Recording | None) -> float:
        """Frames per second of a clip: its recording's, or the dataset's where no recording states one."""
        return (recording.fps if recording is not None else 0) or self.fps

    def _clip(self, info, poses, fps, **pictures):
        if poses is not None:
            pictures.update(pose_xyz=poses.xyz, pose_xy=poses.xy, pose_confidence=poses.confidence)
        return schema.Clip(info, self.name, self.labels[info.label], fps, layout=self.layout, **pictures)

    def _cut(self, recording, boxes, poses):
        """JPEG pictures of every part, and how many frames they have.

        Args:
            recording: The recording that is cut.
            boxes: Part -> its boxes.
            poses: Number of frames with poses, after which nothing is cut; ``None`` without poses.
        """
        images, count, stored = {part: [] for part in self.parts}, 0, 0
        for count, frame in enumerate(recording, start=1):
            if poses is None or count <= poses:
                for part, box in boxes.items():
                    square = crops.cut(frame, box[min(count, len(box)) - 1], self.size)
                    images[part].append(crops.encode_jpeg(square))
                    stored += len(images[part][-1])
                if stored > LARGEST_CLIP:
                    raise ValueError(
                        f"its pictures have more than {LARGEST_CLIP >> 20} MB after {count} frames: "
                        "cut it into shorter clips, or give a smaller --size"
                    )
        if poses is None:
            return images, count
        if not video.lengths_agree(count, poses):
            raise ValueError(f"video of {count} frames and skeleton of {poses}: one of the two is cut off")
        # The excess at the end is left out.
        return images, min(count, poses)


class PairedSource(VideoSource):
    """A dataset of one video file and one file of poses per clip, anywhere below the folder.

    Class attributes:
        title: The dataset's name in messages.
        video_endings: Possible ends of a video's file name after the clip's id, the preferred one first.
        poses_endings: Possible ends of the names of files of poses, the preferred one first.
        example: A clip's id.
        other_folders: Names of folders with files of the same names that hold something else, such as depth.
    """

    title: str
    video_endings: tuple[str, ...]
    poses_endings: tuple
    example: str
    other_folders: frozenset[str] = frozenset()

    def __init__(self, folder: str | os.PathLike, **options: Any):
        super().__init__(folder, **options)
        self._files: dict[str, dict[str, pathlib.Path]] = {}

    def options(self) -> dict[str, Any]:
        """The options of every dataset of videos, and a digest of the files' sizes; call :meth:`index` first."""
        # Sizes alone: beginnings and ends of 100,000 files take a disk half an hour, and a better download has another.
        found = (entry for kind in sorted(self._files) for entry in sorted(self._files[kind].items()))
        return {**super().options(), "files": contents(found, _size)}

    def index(self) -> Index:
        """Every clip that has a video or a file of poses."""
        self._files, rejected = self.find()
        ids = sorted(set().union(*self._files.values()))
        if not ids and not rejected:
            raise UserError(
                f"--source {self.folder}: no clip of {self.title} below it, expected names such as {self.expected()}"
            )
        return Index(tuple(self.parse_id(clip) for clip in ids), tuple(rejected))

    def find(self) -> tuple[dict[str, dict[str, pathlib.Path]], list[tuple[str, str]]]:
        """``"video"`` and ``"poses"`` -> clip's id -> path, as far as they are wanted; and what is rejected.

        Where a clip has files under several endings, the first of ``poses_endings`` and ``video_endings`` is taken.
        """
        wanted = self._endings()
        endings = {ending: ending for kind in wanted for ending in wanted[kind]}
        found, rejected = find_files(
            self.folder, endings, lambda stem: self.parse_id(stem).id, without=self.other_folders
        )
        files: dict[str, dict[str, pathlib.Path]] = {kind: {} for kind in wanted}
        for kind in wanted:
            for ending in reversed(wanted[kind]):
                files[kind].update(found[ending])
        return files, rejected

    def expected(self) -> str:
        """Names of the files, for a message."""
        kinds = (" or ".join(f"{self.example}{ending}" for ending in endings) for endings in self._endings().values())
        return " and ".join(kinds)

    def _endings(self):
        """Kind of file that is read -> its possible endings."""
        endings = {"poses": self.poses_endings, "video": self.video_endings}
        return {kind: endings[kind] for kind in endings if kind in self.kinds_of_files}

    def path(self, info: schema.ClipInfo, kind: str) -> pathlib.Path:
        """Path of a clip's ``"video"`` or ``"poses"``; ``RejectedClip`` where there is none."""
        path = self._files[kind].get(info.id)
        if path is None:
            if kind == "poses":
                raise MissingPoses(
                    "no poses of it (--no-poses converts videos alone, --missing-poses keep also clips without poses)"
                )
            raise RejectedClip(f"no {kind} of it (--parts none converts poses alone)")
        return path

    def recording(self, info: schema.ClipInfo) -> Recording:
        """The video."""
        return video.Video(self.path(info, "video"))


def add_poses_argument(parser: argparse._ActionsContainer, has_pose_files: bool) -> None:
    """Adds ``--poses``: where poses come from."""
    choices = ("files", "estimate") if has_pose_files else ("estimate",)
    what = {"files": "skeletons are read", "estimate": "poses are estimated from the videos"}
    parser.add_argument(
        "--poses",
        choices=choices,
        default=choices[0],
        help="; ".join(f"{choice}: {what[choice]}" for choice in choices),
    )


def add_missing_poses_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--missing-poses``."""
    parser.add_argument(
        "--missing-poses",
        choices=MISSING_POSES,
        help="clips in which nobody's pose is known: leave them out, as the papers do, or keep them, poses all zeros; "
        "default: reject; with --poses estimate and pictures: keep",
    )


def missing_poses(arguments: argparse.Namespace, *, poses: bool, parts: tuple[str, ...], estimated: bool) -> str:
    """``--missing-poses``; :class:`~zoo.shared.errors.UserError` where it does not go with what is stored."""
    if arguments.missing_poses == "keep" and not (poses and parts):
        raise UserError(
            "--missing-poses keep: keeps the pictures of clips without a pose, but pictures or poses are not stored: "
            "leave it out"
        )
    return arguments.missing_poses or ("keep" if estimated and parts else "reject")


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--parts`` and ``--size``."""
    parser.add_argument(
        "--parts",
        help=f"pictures to store, some of {','.join(schema.PARTS)} (the whole frame, in its own aspect ratio); none: "
        "poses only; default: full_body",
    )
    side = f"(shorter) side of the stored pictures, pixels; default: {SIZE}"
    parser.add_argument("--size", type=int, metavar="N", help=side)


def picture_options(arguments: argparse.Namespace) -> tuple[tuple[str, ...], int]:
    """``(parts, size)`` from parsed arguments; :class:`~zoo.shared.errors.UserError` when they are wrong."""
    size = SIZE if arguments.size is None else arguments.size
    if not 1 <= size <= LARGEST_SIZE:
        raise UserError(f"--size {size}: expected a number of pixels from 1 to {LARGEST_SIZE}")
    parts = (arguments.parts or "full_body").split(",")
    unknown = [part for part in parts if part not in schema.PARTS and parts != ["none"]]
    if unknown:
        raise UserError(f"--parts {arguments.parts}: no part {unknown[0]!r}, valid: {','.join(schema.PARTS)}, none")
    chosen = tuple(part for part in schema.PARTS if part in parts)
    if getattr(arguments, "no_poses", False) and (not chosen or not WHOLE_FRAMES.issuperset(chosen)):
        raise UserError(
            f"--no-poses with --parts {arguments.parts}: without poses it is unknown where hands are, and without "
            "pictures nothing is left: leave one of the two out"
        )
    return chosen, size


def contents(
    found: Iterable[tuple[str, os.PathLike]], identify: Callable[[os.PathLike], str] = files.fingerprint
) -> str:
    """A digest that tells files from other files under the same names, without reading them completely.

    Args:
        found: Names of clips, and a file of each.
        identify: Gives what is compared of a file.
    """
    digest = hashlib.sha256()
    for name, path in found:
        digest.update(f"{name}\0{identify(path)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _size(path: os.PathLike) -> str:
    """Size of a file, which need not be opened; empty for a folder of pictures and a missing file."""
    return str(os.path.getsize(path)) if os.path.isfile(path) else ""


def find_files(
    folder: pathlib.Path, endings: dict[str, str], id_of: Callable[[str], str], *, without: frozenset[str] = frozenset()
) -> tuple[dict[str, dict[str, pathlib.Path]], list[tuple[str, str]]]:
    """Finds a dataset's files anywhere below a folder.

    Args:
        folder: The folder.
        endings: End of a file's name -> what the file holds, such as ``{"_rgb.avi": "video"}``.
        id_of: Function that gives the clip's id from a name without its ending; ``ValueError`` if there is none.
        without: Names of folders, in small letters, that are not looked at.

    Returns:
        ``(found, rejected)``: what a file holds -> clip's id -> path; and ``(id, reason)`` of files that are no clip or
        exist twice.
    """
    found: dict[str, dict[str, pathlib.Path]] = {what: {} for what in endings.values()}
    rejected: dict[str, str] = {}
    for directory, names in walk(folder, rejected):
        if not without.isdisjoint(part.lower() for part in directory.relative_to(folder).parts):
            continue
        for name in names:
            ending = max((e for e in endings if name.lower().endswith(e)), key=len, default=None)
            if ending is None:
                continue
            path, stem = pathlib.Path(directory, name), name[: -len(ending)]
            try:
                clip_id = id_of(stem)
            except ValueError as error:
                rejected.setdefault(printable(stem), printable(str(error)))
                continue
            files = found[endings[ending]]
            if clip_id in files:
                shown = " and ".join(printable(str(p.relative_to(folder))) for p in (files[clip_id], path))
                rejected[clip_id] = f"is there twice: {shown}"
            files.setdefault(clip_id, path)
    for clip_id in rejected:
        for files in found.values():
            files.pop(clip_id, None)
    return found, sorted(rejected.items())


def walk(folder: pathlib.Path, rejected: dict[str, str]) -> Iterator[tuple[pathlib.Path, list[str]]]:
    """Folders below a folder with the names of their files, sorted, each once; symbolic links are followed last.

    Skips hidden folders and manifests, which a conversion into a folder below leaves there, and hidden files: macOS
    writes one, such as ``._clip.avi``, beside each file on disks of other systems.

    Args:
        folder: Where to begin.
        rejected: Receives name -> reason for every folder that cannot be read.

    Yields:
        ``(path, names)``.
    """

    def refuse(error):
        name = printable(os.path.relpath(error.filename, folder))
        rejected[name] = f"folder cannot be read ({error.strerror}), check its mode and owner"

    begin, seen = [os.fspath(folder)], set()
    for start in begin:  # the list grows by the links that are found
        for directory, folders, names in os.walk(start, onerror=refuse):
            real = os.path.realpath(directory)
            folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
            if real in seen:  # a link to a folder that was visited, or a cycle
                continue
            seen.add(real)
            begin += [path for path in (os.path.join(directory, name) for name in folders) if os.path.islink(path)]
            yield pathlib.Path(directory), sorted(n for n in names if n != schema.MANIFEST and not n.startswith("."))


def read_text(path: pathlib.Path) -> str:
    """A text file's contents; ``RejectedClip`` where it cannot be read or is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RejectedClip(f"{path.name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise RejectedClip(f"{path.name}: not a text file") from None


def require_counterparts(name: str, first: tuple[str, Collection[int]], second: tuple[str, Collection[int]]) -> None:
    """``RejectedClip`` unless nearly every frame of one stream has its counterpart in the other.

    Args:
        name: Name of the file or folder, for the message.
        first: What the first stream consists of, such as ``pictures``, and the numbers of its frames.
        second: Likewise for the second stream.
    """
    both = len(set(first[1]) & set(second[1]))
    if not all(video.lengths_agree(len(numbers), both) for _, numbers in (first, second)):
        counts = " and ".join(f"{len(numbers)} {what}" for what, numbers in (first, second))
        raise RejectedClip(f"{name}: {counts}, {both} frame numbers in common: one of the two is cut off")


def parse_json(text: str, name: str) -> Any:
    """What a JSON file's text holds; ``RejectedClip``, beginning with the file's name, where it is no JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise RejectedClip(f"{name}: truncated or not JSON ({error})") from None
    except RecursionError:
        raise RejectedClip(f"{name}: not of the expected form (nested too deeply)") from None


def printable(name: str) -> str:
    """A file's name as text that any file and terminal takes: bytes that are no UTF-8 become ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def require_folder(path: pathlib.Path) -> pathlib.Path:
    """The path, if it is a readable folder; :class:`~zoo.shared.errors.UserError` otherwise."""
    try:
        next(path.iterdir(), None)
    except FileNotFoundError:
        raise UserError(f"--source {path}: no such folder, expected the dataset's download there") from None
    except NotADirectoryError:
        raise UserError(f"--source {path}: is a file, expected the folder that holds the dataset") from None
    except PermissionError:
        raise UserError(f"--source {path}: not readable, check its mode and owner") from None
    except OSError as error:
        raise UserError(f"--source {path}: cannot be read ({error.strerror}), expected a folder") from None
    return path
