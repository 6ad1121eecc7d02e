"""How do recordings of one performance differ between views 1 and 2 of Northwestern-UCLA?

A model that is tested on a new view meets these differences. View 3 is left out, since models are tested on it.

    python benchmarks/nucla_views.py --data data/nucla
"""

import argparse
import collections
import pathlib
import sys

import numpy as np

from tfrecords import datasets
from zoo import skeletons
from zoo.shared import command_line

LAYOUT = skeletons.get("kinect_v1_20")
VIEWS = (1, 2)
STANDING, SITTING = "stand up", "sit down"
SHORTEST = 6  # fewest frames of a clip that is compared
STEPS = 32


def main(argv=None):
    """The command line; returns the exit status."""
    from tfrecords.reading import pipeline

    parser = command_line.ArgumentParser(
        prog="nucla_views.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = "converted dataset (default: data/nucla)"
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data/nucla"), metavar="DIR", help=data)
    arguments = parser.parse_args(argv)
    clips = read(pipeline.Records(arguments.data))
    pairs = [tuple(views[view] for view in VIEWS) for views in clips.values() if set(views) == set(VIEWS)]
    print(f"{len(pairs)} performances in both views, of {SHORTEST} frames or more")
    ratios = [len(first.pose_xyz) / len(second.pose_xyz) for first, second in pairs]
    least, median, most = np.percentile(ratios, [10, 50, 90])
    print(f"frames of view 1 to those of view 2: median {median:.2f}, 10 to 90 %: {least:.2f} to {most:.2f}")
    for label in (STANDING, SITTING):
        for view in VIEWS:
            fractions = [before_motion(clip.pose_xyz) for clip in of(clips, view) if clip.label_text == label]
            print(f"{label}, view {view}: the head has not moved yet for {np.median(fractions):.0%} of a clip (median)")
    for name, of_mean in (("of the first frame", False), ("of the mean pose and bone", True)):
        turns, sizes = zip(*(difference(first.pose_xyz, second.pose_xyz, of_mean) for first, second in pairs))
        turned = np.degrees(np.abs(turns))
        print(
            f"coordinate systems {name}: turned by {np.median(turned):.1f} degrees (median; {np.mean(turned > 45):.1%} "
            f"above 45), sizes differ by {np.std(sizes):.1%} (standard deviation)"
        )
    for label, higher in ((SITTING, True), (STANDING, False)):
        for line in contrary(clips, label, higher):
            print(line)
    return 0


def read(records):
    """``{performance: {view: clip}}`` of views 1 and 2."""
    from tfrecords import inspect
    from tfrecords.reading import pipeline

    performance, clips = datasets.get("nucla").performance, collections.defaultdict(dict)
    for path in records.shards("v3_12", pipeline.TRAIN_AND_VAL):
        for clip in inspect.records(path):
            if len(clip.pose_xyz) >= SHORTEST:
                clips[performance(clip.info)][clip.info.camera] = clip
    return clips


def of(clips, view):
    """The clips of a view."""
    return [views[view] for views in clips.values() if view in views]


def heads(xyz):
    """Heights of the head, ``[T]`` in metres."""
    return xyz[:, 0, LAYOUT.joints.index("head"), 1]


def before_motion(xyz):
    """The fraction of a clip before the head has moved by 0.3 of its whole vertical range."""
    height = heads(xyz)
    return np.argmax(np.abs(height - height[0]) > 0.3 * np.ptp(height)) / len(height)


def difference(first, second, of_mean):
    """Turn about the vertical (radians) and logarithm of the size ratio that remain between two normalised views.

    The views are normalised as by ``Normalisation(axes="vertical")``, from the first frame, or from the mean pose and
    the mean length of the bones. The true turn is the one that makes the two sequences most alike (Kabsch).
    """
    turn = _facing(second, of_mean) - _facing(first, of_mean) - _most_alike(first, second)
    return np.angle(np.exp(1j * turn)), np.log(_size(first, of_mean) / _size(second, of_mean))


def _facing(xyz, of_mean):
    across = xyz[:, 0, LAYOUT.left_hip] - xyz[:, 0, LAYOUT.right_hip]
    across = across.mean(axis=0) if of_mean else across[0]
    return np.arctan2(across[2], across[0])


def _size(xyz, of_mean):
    if not of_mean:
        first = xyz[0, 0]
        return np.linalg.norm(first[list(LAYOUT.spine)].mean(axis=0) - first[list(LAYOUT.spine_base)].mean(axis=0))
    parents, children = map(list, zip(*LAYOUT.bones))
    return np.linalg.norm(xyz[:, 0, parents] - xyz[:, 0, children], axis=-1).mean()


def _most_alike(first, second):
    root = LAYOUT.root

    def horizontal(xyz):
        frames = np.linspace(0, len(xyz) - 1, STEPS).astype(int)
        return (xyz - xyz[:, :, [root]])[frames][..., [0, 2]].reshape(-1, 2)

    (x, z), (u, w) = horizontal(first).T, horizontal(second).T
    return np.arctan2(np.sum(x * w - z * u), np.sum(x * u + z * w))


def contrary(clips, label, higher):
    """Lines on subjects with two or more clips of a class in which the head rises (``higher``), or does not rise."""
    found = collections.defaultdict(list)
    for view in VIEWS:
        for clip in of(clips, view):
            if clip.label_text == label:
                height = heads(clip.pose_xyz)
                part = len(height) // 5
                rises = height[-part:].mean() - height[:part].mean() > 0.05
                found[clip.info.subject, view].append(rises == higher)
    for (subject, view), against in sorted(found.items()):
        if sum(against) > 1:
            way = "rises" if higher else "does not rise"
            yield f"{label}, subject {subject}, view {view}: in {sum(against)} of {len(against)} clips the head {way}"


if __name__ == "__main__":
    sys.exit(command_line.run(main))
