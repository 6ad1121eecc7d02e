"""Writes CAD-60 and CAD-120 as they are distributed, with made-up content."""

import numpy as np

from tests.tfrecords import openni_files
from tfrecords.datasets import cad
from zoo import skeletons

FRAMES = (8, 9, 10, 11, 12, 13)
JOINTS = skeletons.get("nite_15").joints
ORIENTATION = "0.9,0,0.1,0,1,0,-0.1,0,0.9,1"  # a matrix and its confidence


def walk(recording, frames=6):
    """Poses ``[T, 15, 3]`` in the order of ``nite_15``."""
    return openni_files.walk(recording, frames)


def row(frame, pose, lost=()):
    """A row: the number, eleven joints with orientations and four without, in millimetres."""

    def position(joint):
        x, y, z = pose[JOINTS.index(joint)] * 1000
        return f"{x:.4f},{y:.4f},{z:.4f},{0 if joint in lost else 1}"

    joints = [f"{ORIENTATION},{position(joint)}" for joint in cad.WITH_ORIENTATION]
    return ",".join([str(frame), *joints, *map(position, cad.WITHOUT_ORIENTATION)]) + ",\n"


def skeleton_text(poses, frames=FRAMES, end="END\n", **options):
    """A skeleton text of one row per frame."""
    return "".join(row(frame, pose, **options) for frame, pose in zip(frames, poses)) + end


def write_60(folder, recordings, subject=1, pictures=True):
    """Writes a subject of CAD-60: recording -> activity; returns the subject's folder."""
    folder = folder / f"data{subject}"
    folder.mkdir(parents=True)
    lines = [f"{recording},{activity},\n" for recording, activity in recordings.items()]
    (folder / "activityLabel.txt").write_text("".join(lines) + "END\n")
    for recording in recordings:
        _write(folder / recording, folder, pictures)
    return folder


def write_120(folder, recording, activity="making_cereal", subject=1, pictures=True):
    """Writes one recording of CAD-120; returns the path of its skeleton text."""
    texts = folder / f"Subject{subject}_annotations" / activity
    texts.mkdir(parents=True, exist_ok=True)
    (texts / "activityLabel.txt").write_text(f"{recording},making_cereal,Subject1,1:bowl,\n")  # not needed
    (texts / f"{recording}_obj1.txt").write_text("1,1,10,10,20,20\n")
    _write(folder / f"Subject{subject}_rgbd_images" / activity / recording, texts, pictures)
    return texts / f"{recording}.txt"


def _write(pictures_folder, texts, pictures):
    poses = walk(pictures_folder.name)
    (texts / f"{pictures_folder.name}.txt").write_text(skeleton_text(poses))
    if pictures:
        pictures_folder.mkdir(parents=True)
        for frame, pose in zip(FRAMES, poses):
            openni_files.write_picture(pictures_folder / f"RGB_{frame}.png", pose)
            (pictures_folder / f"Depth_{frame}.png").write_bytes(b"")  # in the release, of no use here


def numbered_row(frame=1):
    """A row in which the joint at place j (from 1) of the file lies at (j, 100 + j, 1000 + j) mm, its confidence 1."""
    values = [frame]
    for place in range(1, 16):
        values += [*[0.5] * 9, 1] if place <= 11 else []
        values += [place, 100 + place, 1000 + place, 1]
    return ",".join(map(str, values)) + ",\n"


def places():
    """Place in the file, from 1, of the joints of ``nite_15``, as the dataset's page numbers them."""
    page = (
        "HEAD NECK TORSO LEFT_SHOULDER LEFT_ELBOW RIGHT_SHOULDER RIGHT_ELBOW LEFT_HIP LEFT_KNEE RIGHT_HIP RIGHT_KNEE "
    )
    page = (page + "LEFT_HAND RIGHT_HAND LEFT_FOOT RIGHT_FOOT").lower().split()
    return np.array([page.index(joint) + 1 for joint in JOINTS])
