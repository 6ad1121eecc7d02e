"""Writes SBU Kinect Interaction as it is distributed, with made-up content."""

import numpy as np

from tests.tfrecords import openni_files
from tfrecords.datasets import sbu

FRAMES = (8, 9, 10, 11, 12, 13)  # 10 comes before 8 by name where zeros are not kept


def walk(clip_id, frames=6):
    """Poses ``[T, 2, 15, 3]`` of two persons who walk side by side."""
    return np.stack([openni_files.walk(f"{clip_id}{i}", frames, start=i - 0.8) for i in range(2)], axis=1)


def skeleton_text(poses, frames=FRAMES):
    """A ``skeleton_pos.txt``: the README's equations the other way round."""
    x, y, z = np.moveaxis(np.asarray(poses, np.float64), -1, 0) * 1000
    values = np.stack([(1280 - x) / 2560, (960 - y) / 1920, z * 7.8125 / 10000], axis=-1).reshape(len(frames), -1)
    rows = [",".join([str(frame), *(f"{value:.7g}" for value in row)]) for frame, row in zip(frames, values)]
    return "".join(f"{row}\n" for row in rows)


def write(folder, clip_id, frames=FRAMES, pictures=True):
    """Writes one clip; returns its folder."""
    sbu.SBU.parse_id(clip_id)
    clip = folder.joinpath(*clip_id.split("_"))
    clip.mkdir(parents=True)
    poses = walk(clip_id, len(frames))
    (clip / "skeleton_pos.txt").write_text(skeleton_text(poses, frames))
    for number, pose in zip(frames, poses):
        if pictures:
            openni_files.write_picture(clip / f"rgb_{number:06d}.png", pose)
        (clip / f"depth_{number:06d}.png").write_bytes(b"")  # in the release, of no use here
    return clip
