"""Estimates poses in videos: one file of poses for each.

Usage: ``python -m tfrecords.estimate VIDEO... --out DIR``.

The poses of a video in a given folder are written to the same path below DIR, as ``.npz``, in the form of
:mod:`tfrecords.converting.pose_files`. ``DIR/estimation.json`` has the settings and, once all is done, the number of
frames of each video, the number of its frames with a person, and the videos that could not be read.

The same videos give the same bytes, however often the command was stopped and run again: a file under its final name
is complete and is not estimated again; it records which video it belongs to. Videos that cannot be read are named and
do not alter the exit status: it is 0 when there are poses of at least one video, 2 when there are none.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfrecords import schema, storage
from tfrecords.converting import persons, pose_files, state, video, workers, writer
from tfrecords.datasets import base
from tfrecords.errors import RejectedClip
from tfrecords.estimation import arguments as estimation_arguments
from tfrecords.estimation import recordings
from zoo import skeletons
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

REPORT = "estimation.json"
_LOCK = ".lock"


def _parser():
    parser = command_line.ArgumentParser(prog="python -m tfrecords.estimate", description=__doc__.split("\n")[0])
    parser.add_argument(
        "videos", nargs="+", type=pathlib.Path, metavar="VIDEO", help="a video, or a folder with videos at any depth"
    )
    parser.add_argument("--out", type=storage.folder, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--persons", type=int, default=1, metavar="M", help="persons per frame, the most relevant first"
    )
    parser.add_argument(
        "--layout",
        help=f"skeleton of the poses, one of {', '.join(skeletons.LAYOUTS)}; default: the estimator's own",
    )
    estimation_arguments.add(parser)
    parser.add_argument(
        "--right-half",
        action="store_true",
        help="read the right half of every frame alone: the videos of UR Fall Detection show depth at the left",
    )
    parser.add_argument(
        "--workers", type=command_line.positive(int), metavar="N", help="processes; default: one per core"
    )
    parser.add_argument(
        "--preview", type=pathlib.Path, metavar="FILE",
        help="afterwards draw joints and boxes of some videos over frames: a .png or .jpg",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        argv: Arguments; default: ``sys.argv[1:]``.

    Returns:
        Exit status.
    """
    arguments = _parser().parse_args(argv)
    from tfrecords.converting import preview  # imports OpenCV, which --help does not need

    settings = estimation_arguments.settings(arguments, layout=arguments.layout or "", persons=arguments.persons)
    if arguments.preview:
        preview.check(arguments.preview)  # before hours of estimation
    videos, unreadable = find(arguments.videos)
    begun = time.monotonic()
    report, frames = estimate(
        videos,
        arguments.out,
        settings,
        right_half=arguments.right_half,
        unreadable=unreadable,
        workers=arguments.workers,
        progress=lambda total: command_line.progress(total, "estimate", "frame"),
    )
    seconds = time.monotonic() - begun
    print(_summary(report, arguments.out, frames, seconds))
    if arguments.preview:
        estimated = _Estimated(videos, arguments.out, settings, report, arguments.right_half)
        clips, shown = preview.contact_sheet(estimated, arguments.preview)
        print(f"{clips} videos, {shown} frames each: {arguments.preview}")
    return 0


def _summary(report, directory, frames, seconds):
    """The last line: how many poses there are, and how fast they were estimated."""
    counts = report["videos"].values()
    whole, seen = (sum(count[name] for count in counts) for name in ("frames", "frames_with_person"))
    nobody = sum(count["frames_with_person"] == 0 for count in counts)
    rate = f", {frames / seconds:.1f} frames/s" if frames else ""
    rejected = writer.summary_of_rejected(report["rejected"])
    return (
        f"{'' if frames else 'already complete: '}{len(counts)} videos, {seen} of {whole} frames with a person, "
        f"{nobody} videos without anybody{rate}, {rejected}: {directory}"
    )


def find(paths: Iterable[pathlib.Path]) -> tuple[dict[str, pathlib.Path], list[dict[str, str]]]:
    """The videos at some paths.

    Args:
        paths: Videos, and folders that are searched for them.

    Returns:
        ``(videos, rejected)``: the path of each video's file of poses below the folder of results -> the video; and
        ``id`` and ``reason`` of folders that cannot be read.

    Raises:
        UserError: A path is not there, there is no video, or two would have the same file of poses.
    """
    videos: dict[str, pathlib.Path] = {}
    rejected: dict[str, str] = {}
    paths = list(paths)
    for path in paths:
        for found, relative in _videos_of(path, rejected):
            file = relative.with_suffix(".npz").as_posix()
            if file in videos and videos[file] != found:
                raise UserError(
                    f"{videos[file]} and {found} would both have their poses in {file}: rename one, or use two --out"
                )
            videos[file] = found
    if not videos:
        raise UserError(
            f"no video in {', '.join(map(str, paths))}, expected files that end in {', '.join(video.SUFFIXES)}"
        )
    return dict(sorted(videos.items())), [{"id": name, "reason": reason} for name, reason in sorted(rejected.items())]


def _videos_of(path, rejected) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Each video at a path, and the video's path relative to it."""
    if path.is_dir():
        for directory, names in base.walk(path, rejected):
            for name in names:
                if video.has_video_name(name):
                    yield directory / name, (directory / name).relative_to(path)
    elif path.exists():
        yield path, pathlib.Path(path.name)
    else:
        raise UserError(f"{path}: no such file, expected a video or a folder with videos")


def estimate(
    videos: Mapping[str, pathlib.Path],
    directory: pathlib.Path,
    settings: recordings.Settings,
    *,
    right_half: bool = False,
    unreadable: Sequence[dict[str, str]] = (),
    workers: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> tuple[dict[str, Any], int]:
    """Writes the file of poses of every video that has none yet.

    Args:
        videos: Path of each file of poses below ``directory`` -> the video, as :func:`find` gives them.
        directory: Folder of results; made if missing.
        settings: :class:`~tfrecords.estimation.recordings.Settings`.
        right_half: Whether the right half of every frame is read, not the frame.
        unreadable: ``id`` and ``reason`` of further entries to report as rejected.
        workers: Processes; default: one per core.
        progress: A function of the number of frames that returns a progress bar (``tqdm``'s interface).

    Returns:
        ``(report, frames)``: what ``estimation.json`` holds of these videos, and how many frames were estimated by this
        call.

    Raises:
        UserError: The folder holds poses of other settings or videos or is being written, a worker was killed, or no
            video can be read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    busy = f"{directory}: another command is writing there, wait for it or use another --out"
    with files.locked(directory / _LOCK, busy, state.LOCK_PATIENCE) as lock:
        options = {**settings.options(), **({"right_half": True} if right_half else {})}
        earlier = _claim(directory, videos, options)
        for folder in {(directory / file).parent for file in videos}:
            files.remove_partial(folder)
        counts = _complete(directory, videos)
        todo = [_Task(file, path, right_half) for file, path in videos.items() if file not in counts]
        done = _work(todo, directory, settings, workers, progress, lock)
        rejected = [{"id": _id(file), "reason": reason} for file, (_, reason) in done.items() if reason]
        counts.update({file: _counts(_read(directory / file)) for file, (_, reason) in done.items() if not reason})
        report: dict[str, Any] = {
            "options": options,
            "videos": {_id(file): counts[file] for file in videos if file in counts},
            "rejected": sorted([*unreadable, *rejected], key=lambda entry: entry["id"]),
        }
        if not report["videos"]:
            raise UserError(f"no video could be read: {writer.summary_of_rejected(report['rejected'])}")
        others = {name: counts for name, counts in earlier.items() if (directory / f"{name}.npz").exists()}
        files.write_json(directory / REPORT, {**report, "videos": {**others, **report["videos"]}})
    return report, sum(frames for frames, _ in done.values())


def _id(file):
    """Name of a video in reports: the path of its file of poses without the suffix."""
    return base.printable(file[: -len(".npz")])


@dataclasses.dataclass(frozen=True)
class _Task:
    """A video, the path of its file of poses below the folder of results, and which part of its frames is read."""

    file: str
    video: pathlib.Path
    right_half: bool


def _claim(directory, videos, options):
    """Writes the options to the report and returns its videos so far; ``UserError`` if it has other options."""
    path = directory / REPORT
    wanted = json.loads(json.dumps(options))
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found, earlier = report["options"], dict(report.get("videos", {}))
        changed = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    except FileNotFoundError:
        there = [file for file in videos if (directory / file).exists()]
        if there:
            raise UserError(
                f"{directory / there[0]}: is there, and no {REPORT} that says how it was made: use another --out"
            ) from None
        files.write_json(path, {"options": wanted})
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not as this command writes it, use another --out") from None
    if changed:
        values = f"{found.get(changed[0], 'not set')}, now {wanted.get(changed[0], 'not set')}"
        raise UserError(f"{directory}: holds poses of other settings ({changed[0]} {values}): use another --out")
    return earlier


def _complete(directory, videos):
    """Existing files -> their counts; ``UserError`` if one has the poses of another video of the same name."""
    counts = {}
    for file, path in videos.items():
        if (directory / file).exists():
            poses = _read(directory / file)
            if poses.video and poses.video != files.fingerprint(path):
                raise UserError(
                    f"{directory / file}: has the poses of another video than {path}: "
                    "remove it to estimate them anew, or use another --out"
                )
            counts[file] = _counts(poses)
    return counts


def _work(todo, directory, settings, count, progress, lock):
    """File of poses -> frames estimated and, where the video cannot be read, the reason."""
    frames = {task: _frames(task.video) for task in todo} if progress else {}
    # The longest videos first, so that the work ends with short ones.
    todo = sorted(todo, key=lambda task: -frames.get(task, 0))
    work = functools.partial(_estimate, directory, settings)
    with state.progress_bar(progress if todo else None, sum(frames.values())) as bar:
        done = workers.each(work, todo, count, bar, lock, "complete files of poses")
    return {task.file: result for task, result in done.items()}


def _frames(path):
    """Frames of a video as far as its header or packets say; 0 for one that cannot be read."""
    try:
        return video.Video(path).count
    except ValueError:
        return 0


def _estimate(directory, settings, task, on_frame):
    """Writes one file of poses; ``(frames, reason)`` as :func:`_work`."""
    recording = None
    try:
        recording = recordings.Part(_read_frames(task.video, task.right_half), on_frame)
        poses = recordings.estimate(recording, settings)
    except ValueError as error:
        return recording.count if recording else 0, str(error)
    pose_files.write(
        directory / task.file,
        poses,
        layout=settings.skeleton,
        fps=recording.fps,
        video=files.fingerprint(task.video),
        frame=(recording.width, recording.height),
    )
    return recording.count, ""


def _read_frames(path, right_half):
    """The frames of a video, or their right halves."""
    whole = video.Video(path)
    return video.RightHalf(whole) if right_half else whole


def _read(path):
    """The poses of a file."""
    try:
        return pose_files.read(path)
    except ValueError as error:
        raise UserError(f"{path}: {error}: remove it to estimate it again") from None


def _counts(poses):
    """``frames`` and ``frames_with_person`` of poses."""
    seen = poses.confidence.any(axis=(1, 2))
    return {"frames": len(seen), "frames_with_person": int(np.count_nonzero(seen))}


class _Estimated(base.VideoSource):
    """Videos and their files of poses, for the contact sheet."""

    name = "estimated"
    fps = persons.FPS
    help = ""

    def __init__(self, videos, directory, settings, report, right_half):
        super().__init__(directory)
        self._right_half = right_half
        self.layout, self.persons = settings.skeleton, settings.persons
        self._videos = {_id(file): (file, path) for file, path in videos.items()}
        self._ids = list(report["videos"])
        self.labels = tuple(sorted({os.path.dirname(name) for name in self._ids}))

    def parse_id(self, clip_id):
        return schema.ClipInfo(clip_id, self.labels.index(os.path.dirname(clip_id)))

    def index(self):
        return base.Index(tuple(self.parse_id(name) for name in self._ids))

    def recording(self, info):
        return _read_frames(self._videos[info.id][1], self._right_half)

    def poses_of(self, info, recording):
        try:
            return pose_files.read(self.folder / self._videos[info.id][0])
        except OSError as error:
            raise RejectedClip(f"{info.id}: cannot be read ({error.strerror})") from None


if __name__ == "__main__":
    sys.exit(command_line.run(main))
