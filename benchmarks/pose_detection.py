"""Measures in how many frames of videos somebody is found, how fast, and how much the joints jitter.

Three ways are compared: the estimator alone, frame by frame, with its network's own thresholds; a whole recording
(tracked, searched backwards, gaps filled, smoothed); a live stream. Frame rates are per core and second of processor
time; peak memory is of the process that measured one way. Whether a pose is right is not measured: look at some, which
``python -m tfrecords.estimate ... --preview`` draws.

    python benchmarks/pose_detection.py jhmdb/videos --every 8
    python benchmarks/pose_detection.py urfd/videos --labels urfd/falls.csv urfd/adls.csv
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import pathlib
import resource
import sys
import time
from typing import Any

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import processes
from tfrecords.converting import persons
from tfrecords.converting.video import Video
from tfrecords.estimation import estimator, live, recordings
from zoo import skeletons
from zoo.shared import command_line
from zoo.shared.errors import UserError

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
ORIGINAL = {"detection": 0.5, "presence": 0.5, "tracking": 0.5}  # MediaPipe's own thresholds


def alone(video: Video, settings: recordings.Settings) -> persons.Poses:
    """The first person that the estimator finds in each frame, unchanged."""
    joints = skeletons.get(estimator.get(settings.estimator).layout).num_joints
    xy, confidence = [np.zeros((0, joints, 2))], [np.zeros((0, joints))]
    with estimator.create(settings.estimator, model=settings.model, persons=settings.persons, **ORIGINAL) as network:
        for frame in video:
            everyone = network.persons(np.asarray(frame), frame.time)
            xy.append(everyone[0].xy[np.newaxis] if everyone else np.zeros((1, joints, 2)))
            confidence.append(everyone[0].confidence[np.newaxis] if everyone else np.zeros((1, joints)))
    return persons.Poses(None, np.concatenate(confidence)[:, np.newaxis], np.concatenate(xy)[:, np.newaxis])


def stream(video: Video, settings: recordings.Settings) -> persons.Poses:
    """The poses of a live stream."""
    with live.LiveEstimator(settings, video.fps) as network:
        frames = [network.poses(np.asarray(frame), frame.time) for frame in video]
    return persons.Poses(
        *(np.concatenate([getattr(one, name) for one in frames]) for name in ("xyz", "confidence", "xy"))
    )


WAYS = {"alone": alone, "recording": recordings.estimate, "live": stream}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="pose_detection.py", description="Frames in which somebody is found.")
    parser.add_argument("videos", nargs="+", type=pathlib.Path, help="files, or folders that are searched")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="measure each N-th video (default: 1)")
    parser.add_argument(
        "--labels",
        nargs="+",
        type=pathlib.Path,
        default=[],
        metavar="CSV",
        help="with columns name, frame (from 1), label",
    )
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=tuple(WAYS), help="default: all")
    parser.add_argument("--persons", type=int, default=1, help="persons per frame (default: 1)")
    parser.add_argument("--model", default="full", help="lite, full (default), heavy, or a file")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--measure", action="store_true", help="measure the first way in this process and print JSON")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return 0
    results = {}
    own = sys.argv[1:] if argv is None else argv
    for way in arguments.ways:
        results[way] = processes.measured(way, __file__, *own, "--measure", "--ways", way)
        print(_line(way, results[way]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one way."""
    paths = _videos(arguments.videos)[:: arguments.every]
    labels = _labels(arguments.labels)
    settings = recordings.Settings(model=arguments.model, persons=arguments.persons)
    estimate = WAYS[arguments.ways[0]]
    totals: collections.Counter[str] = collections.Counter(videos=len(paths))
    by_label: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    jitter = []
    began = time.process_time()
    for path in paths:
        poses = estimate(Video(path), settings)
        there = poses.confidence.any(axis=2)  # [T, M]
        seen = (poses.confidence > 0).any(axis=2) & (poses.confidence != persons.INTERPOLATED).any(axis=2)
        totals.update(frames=len(there), frames_with=int(there.any(axis=1).sum()))
        totals.update(frames_seen=int(seen.any(axis=1).sum()), videos_with=int(there.any()))
        for frame, label in labels.get(path.stem.replace("-cam0", ""), {}).items():
            if frame < len(there):
                by_label[label].update(frames=1, frames_with=int(there[frame].any()))
        jitter.extend(_jitter(poses.xy[:, 0], seen[:, 0]))
    seconds = time.process_time() - began
    return {
        **totals,
        "frames_per_second_per_core": totals["frames"] / seconds,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "jitter": float(np.median(jitter)) if jitter else 0.0,
        "labels": {label: dict(counts) for label, counts in sorted(by_label.items())},
    }


def _jitter(xy, seen):
    """Mean second difference of the joints, in body sizes, where a person is seen in three successive frames."""
    middle = np.flatnonzero(seen[:-2] & seen[1:-1] & seen[2:])
    change = np.linalg.norm(xy[middle] - 2 * xy[middle + 1] + xy[middle + 2], axis=-1).mean(axis=-1)  # [n]
    return change / np.maximum(np.linalg.norm(np.ptp(xy[middle + 1], axis=1), axis=-1), 1)


def _videos(given: list[pathlib.Path]) -> list[pathlib.Path]:
    found = []
    for path in given:
        inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise UserError(f"{path}: no video there")
        found += inside
    return found


def _labels(paths: list[pathlib.Path]) -> dict[str, dict[int, str]]:
    """Video's name -> number of the frame, from 0 -> label."""
    labels: dict[str, dict[int, str]] = collections.defaultdict(dict)
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                labels[row["name"]][int(row["frame"]) - 1] = row["label"]
    return labels


def _line(way: str, result: dict[str, Any]) -> str:
    frames, videos = result["frames"], result["videos"]
    line = (
        f"{way:10} a pose in {result['frames_with'] / frames:.1%} of {frames:,} frames (seen, not filled: "
        f"{result['frames_seen'] / frames:.1%}) and {result['videos_with']} of {videos} videos, "
        f"{result['frames_per_second_per_core']:.1f} frames/s per core, {result['peak_megabytes']:.0f} MB, "
        f"jitter {result['jitter']:.2%} of the body size"
    )
    rates = [
        f"{name} {one['frames_with'] / one['frames']:.1%} of {one['frames']}" for name, one in result["labels"].items()
    ]
    return line + ("; by label: " + ", ".join(rates) if rates else "")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
