"""Compares poses estimated from video with a depth sensor's, and runs networks trained on a sensor on estimated poses.

Usage::

    python -m tfrecords.estimate VIDEOS --out poses

    python -m benchmarks.estimated_poses sensor --poses poses/CLIP_rgb.npz --skeleton CLIP.skeleton --picture joints.png

    python -m serving.export --pretrained pose_gcn_nucla --to models
    python -m benchmarks.estimated_poses activities --poses poses --model models/pose_gcn

    python -m benchmarks.estimated_poses lists --source nucla/all_sqe --layout lcrnet_13 --out lists
    python -m tfrecords.convert folder --csv lists/clips.csv --layout lcrnet_13 --parts none --out data/nucla_lcrnet

``sensor`` takes a clip of your own copy of NTU RGB+D. ``activities`` takes JHMDB's videos, in folders named after the
classes; five of these classes are compared with the activities of Northwestern-UCLA. ``lists`` writes the skeletons of
Northwestern-UCLA with the joints of another layout, for a network that needs only joints that both sources have.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
import sys
from collections.abc import Sequence

import cv2
import numpy as np

from tfrecords.converting import persons, pose_files
from zoo import skeletons
from zoo.shared import command_line

SENSOR, ESTIMATOR = "kinect_v2_25", "blazepose_33"
# JHMDB's classes -> the classes of Northwestern-UCLA that count as right.
ACTIVITIES = {
    "sit": ("sit down",),
    "stand": ("stand up",),
    "pick": ("pick up with one hand", "pick up with two hands"),
    "throw": ("throw",),
    "walk": ("walk around",),
}
_MAPS = "maps: zoo.skeletons.maps; unexchanged: left stays left; named: joints of the same names and plain means"
SIDED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sensor = commands.add_parser("sensor", help="joints of one NTU clip against the sensor's")
    sensor.add_argument("--poses", type=pathlib.Path, required=True, help="file of estimated poses")
    sensor.add_argument("--skeleton", type=pathlib.Path, required=True, help="NTU's file of the same clip")
    wrong = "joints of the sensor that are not where the video shows them: left out"
    sensor.add_argument(
        "--without", nargs="+", default=[], choices=skeletons.get(SENSOR).joints, metavar="J", help=wrong
    )
    sensor.add_argument("--picture", type=pathlib.Path, help="draw both skeletons here, without the video")
    activities = commands.add_parser("activities", help="accuracy of an N-UCLA network on JHMDB's videos")
    activities.add_argument("--poses", type=pathlib.Path, required=True, help="folder with <class>/<name>.npz")
    activities.add_argument("--model", type=pathlib.Path, required=True, help="exported model")
    activities.add_argument("--map", choices=("maps", "unexchanged", "named"), default="maps", help=_MAPS)
    lists = commands.add_parser("lists", help="N-UCLA's skeletons with the joints of another layout")
    lists.add_argument("--source", type=pathlib.Path, required=True, help="folder of the JSON release")
    lists.add_argument("--layout", default="lcrnet_13")
    lists.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args(argv)
    if arguments.command == "sensor":
        compare_with_sensor(arguments.poses, arguments.skeleton, arguments.without, arguments.picture)
    elif arguments.command == "activities":
        measure_activities(arguments.poses, arguments.model, arguments.map)
    else:
        write_lists(arguments.source, arguments.layout, arguments.out)
    return 0


# -------------------------------------------------------------------------------------------------- against a sensor


def compare_with_sensor(
    estimated: pathlib.Path, skeleton: pathlib.Path, without: Sequence[str], picture: pathlib.Path | None
) -> None:
    """Prints how far estimated joints are from the sensor's, in pixels and in millimetres."""
    from tfrecords.datasets import ntu

    tracks, _ = ntu.parse_skeleton(skeleton.read_text(encoding="utf-8"), skeleton.name)
    track = max(tracks, key=lambda track: track.motion)
    poses = persons.onto(pose_files.read(estimated), ESTIMATOR, SENSOR)
    seen = (poses.confidence[track.frames, 0] > 0).all(axis=1)  # [n]
    frames = track.frames[seen]
    xy, xyz = poses.xy[frames, 0], poses.xyz[frames, 0]
    sensor_xy, sensor_xyz = track.xy[seen], track.xyz[seen]
    layout = skeletons.get(SENSOR)
    joints = [joint for joint, name in enumerate(layout.joints) if name not in without]

    pixels = np.linalg.norm(xy - sensor_xy, axis=-1)[:, joints]  # [n, J]
    feet = sensor_xy[:, list(layout.feet)].mean(axis=1)
    height = np.median(np.linalg.norm(sensor_xy[:, layout.head] - feet, axis=-1))
    aligned = np.stack([aligned_with(body, truth) for body, truth in zip(xyz[:, joints], sensor_xyz[:, joints])])
    millimetres = 1000 * np.linalg.norm(aligned - sensor_xyz[:, joints], axis=-1)  # [n, J]
    print(f"{len(frames)} of {len(track.frames)} frames with an estimate, {height:.0f} pixels from head to feet")
    print(f"in the picture: median {np.median(pixels):.1f} pixels, {100 * np.median(pixels) / height:.1f} % of that")
    print(f"in space: median {np.median(millimetres):.0f} mm, mean {millimetres.mean():.0f} mm after alignment")
    print(f"frames in which exchanged sides fit better: {exchanged(xy, sensor_xy).sum()}")
    print("| joint | pixels | mm |\n|---|---|---|")
    for joint, apart, far in zip(joints, np.median(pixels, axis=0), np.median(millimetres, axis=0)):
        print(f"| {layout.joints[joint]} | {apart:.1f} | {far:.0f} |")
    if picture is not None:
        draw(picture, [(sensor_xy[n], xy[n]) for n in np.linspace(0, len(frames) - 1, 5).astype(int)])


def aligned_with(body: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A body ``[J, 3]``, moved, turned and scaled to fit another with the least squared error (Procrustes)."""
    from scipy.linalg import orthogonal_procrustes

    centred, target = body - body.mean(axis=0), truth - truth.mean(axis=0)
    turn, scale = orthogonal_procrustes(centred, target)
    return centred @ turn * (scale / (centred**2).sum()) + truth.mean(axis=0)


def exchanged(xy: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether the joints ``[n, J, 2]`` of a frame fit better with left and right exchanged, ``[n]``."""
    layout = skeletons.get(SENSOR)
    joints = [layout.joints.index(f"{side}_{name}") for side in ("left", "right") for name in SIDED]
    other = [layout.mirrored[joint] for joint in joints]
    own, crossed = (np.linalg.norm(xy[:, joints] - truth[:, to], axis=-1).sum(axis=1) for to in (joints, other))
    return crossed < own


def draw(path: pathlib.Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Draws pairs of skeletons ``[J, 2]`` over each other: the sensor's grey; the estimated left green, right red."""
    layout = skeletons.get(SENSOR)
    size, columns = 480, []
    for truth, estimated in pairs:
        both = np.concatenate([truth, estimated])
        low, high = both.min(axis=0), both.max(axis=0)
        column = np.full((size, size // 2, 3), 255, np.uint8)
        scale = 0.9 * size / (high - low)[1]
        for joints, coloured in ((truth, False), (estimated, True)):
            points = np.rint(16 * ((joints - (low + high) / 2) * scale + (size / 4, size / 2))).astype(int)
            for parent, child in layout.bones:
                side = layout.joints[child].partition("_")[0] if coloured else "sensor"
                colour = {"left": (60, 160, 60), "right": (50, 60, 210), "sensor": (170, 170, 170)}.get(side, (0, 0, 0))
                cv2.line(column, points[parent].tolist(), points[child].tolist(), colour, 2, cv2.LINE_AA, 4)
        columns.append(column)
    cv2.imwrite(str(path), np.concatenate(columns, axis=1))


# ---------------------------------------------------------------------------------------------------- with a network


def measure_activities(folder: pathlib.Path, model: pathlib.Path, how: str) -> None:
    """Prints the accuracy of an N-UCLA network on JHMDB's clips; a clip without a pose counts as wrong."""
    from serving.predict import Predictor

    predictor = Predictor(model)
    matching = {name for names in ACTIVITIES.values() for name in names}
    print(
        "| class | clips | without a pose | right of all classes | right of the matching ones |\n|---|---|---|---|---|"
    )
    total = np.zeros(4, int)
    for activity, right in ACTIVITIES.items():
        counts = np.zeros(4, int)
        for path in sorted((folder / activity).glob("*.npz")):
            found = _classify(predictor, path, how)
            best = [max(found, key=found.get), max(matching, key=found.get)] if found else []
            counts += [1, not found, *(name in right for name in best)] if found else [1, 1, 0, 0]
        total += counts
        print(f"| {activity} | {' | '.join(map(str, counts))} |")
    print(f"| all | {' | '.join(map(str, total))} |")
    print(f"of all classes {100 * total[2] / total[0]:.1f} %, of the matching ones {100 * total[3] / total[0]:.1f} %")


def _classify(predictor, path, how):
    """Class -> probability of a file of poses; empty where nobody is found in it."""
    poses = pose_files.read(path)
    if not poses.confidence.any():
        return {}
    layout = predictor.inputs.layout
    xyz = persons.fill_gaps(poses, longest=None).xyz[:, : predictor.inputs.persons]
    if how == "named":
        xyz = _as_named(xyz, layout)
    else:
        xyz = skeletons.map_joints(xyz, ESTIMATOR, layout)
        if how == "unexchanged":
            xyz = xyz[..., skeletons.get(layout).mirrored, :]
    prediction = predictor.predict(poses=xyz)
    return dict(zip(prediction.labels, prediction.probabilities))


def _as_named(xyz, layout):
    """Joints ``[..., J, 3]`` of the same names; joints without one are the mean of hips, shoulders, knuckles etc."""
    joints = skeletons.get(ESTIMATOR).joints
    middle = {"hip_centre": ["hip"], "spine": ["hip", "shoulder"], "shoulder_centre": ["shoulder"], "head": ["ear"]}
    others = {"hand": ["index", "pinky"], "foot": ["foot_index"]}

    def sources(joint):
        side, _, name = joint.partition("_")
        if name in others:
            return [f"{side}_{part}" for part in others[name]]
        return [f"{side}_{part}" for part in middle.get(joint, ()) for side in ("left", "right")] or [joint]

    named = [[joints.index(source) for source in sources(joint)] for joint in skeletons.get(layout).joints]
    return np.stack([xyz[..., indices, :].mean(axis=-2) for indices in named], axis=-2)


def write_lists(source: pathlib.Path, layout: str, out: pathlib.Path) -> None:
    """Writes N-UCLA's skeletons with other joints, and the CSV of the clips: view 3 tests, the others train."""
    from tfrecords.datasets import nucla

    dataset = nucla.NUCLA(source, "json")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "poses", "label", "subject", "camera", "split"])
        for clip in dataset.index().clips:
            poses = persons.onto(dataset.poses_of(clip, None), dataset.layout, layout)
            np.save(out / f"{clip.id}.npy", poses.xyz)
            label, split = dataset.labels[clip.label], "test" if clip.camera == 3 else "train"
            table.writerow([clip.id, f"{clip.id}.npy", label, clip.subject, clip.camera, split])


if __name__ == "__main__":
    sys.exit(command_line.run(main))
