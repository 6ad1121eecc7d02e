"""Writes N-UCLA in the two forms it circulates in, with made-up content."""

import itertools
import json

import numpy as np

from tfrecords.converting import crops
from tfrecords.datasets import nucla

FRAME = (160, 120)  # width, height of the pictures
FOCAL_LENGTH = nucla.FOCAL_LENGTH * FRAME[0] / nucla.FOCAL_WIDTH
BACKGROUND, BODY = (40, 80, 120), (250, 60, 30)

# A standing person, metres, hips at the origin: Kinect v1 order.
STANDING = np.fromstring(
    """0 0 0  0 .06 0  0 .42 0  0 .62 0
    -.18 .38 0  -.24 .12 0  -.26 -.1 0  -.27 -.17 0   .18 .38 0  .24 .12 0  .26 -.1 0  .27 -.17 0
    -.09 -.06 0  -.1 -.48 0  -.1 -.85 0  -.12 -.9 -.08   .09 -.06 0  .1 -.48 0  .1 -.85 0  .12 -.9 -.08""",
    np.float32,
    sep=" ",
).reshape(20, 3)


def ids(actions=(1, 8, 12), subjects=(1, 2, 3), repetitions=(0, 1), views=(1, 2, 3)):
    """Clip ids of every combination."""
    numbers = itertools.product(actions, subjects, repetitions, views)
    return [f"a{a:02d}_s{s:02d}_e{e:02d}_v{v:02d}" for a, s, e, v in numbers]


def walk(clip_id, frames=6, distance=3.0):
    """Poses ``[T, 20, 3]`` of a person who walks to the right, with noise that depends on the id."""
    random = np.random.default_rng(list(clip_id.encode()))
    where = np.stack([np.linspace(-0.3, 0.3, frames), np.zeros(frames), np.full(frames, distance)], axis=-1)
    return (STANDING + where[:, np.newaxis] + random.normal(scale=0.005, size=(frames, 20, 3))).astype(np.float32)


def write_json(folder, clip_id, **changes):
    """Writes one file of the JSON release; ``changes`` replace its keys. Returns its path."""
    info = nucla.NUCLA.parse_id(clip_id)
    content = {"file_name": clip_id, "skeletons": walk(clip_id).tolist(), "label": info.label + 1, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{clip_id}.json"
    path.write_text(json.dumps(content))
    return path


def write_original(folder, clip_id, frames=(8, 9, 10, 11), poses=None):
    """Writes one clip of the original release: a picture and a skeleton file per frame. Returns its folder."""
    performance, _, view = clip_id.rpartition("_")
    clip = folder / f"view_{int(view[1:])}" / performance
    clip.mkdir(parents=True, exist_ok=True)
    poses = walk(clip_id, len(frames)) if poses is None else poses
    for number, pose in zip(frames, poses):
        stem = f"frame_{number}_tc_{number * 80000}"
        (clip / f"{stem}_rgb.jpg").write_bytes(crops.encode_jpeg(picture(pose), quality=98))
        (clip / f"{stem}_skeletons.txt").write_text(skeleton_text(pose))
        (clip / f"{stem}_depth.png").write_bytes(b"")  # in the release, of no use here
    (clip / "fileList.txt").write_text("".join(f"{n} {n * 80000}\n" for n in frames))
    return clip


def skeleton_text(*poses, states=(2,) * 20):
    """A ``frame_*_skeletons.txt`` of one person or more."""
    lines = []
    for pose in poses:
        lines.append("60")
        lines += [f"{x:.6g},{y:.6g},{z:.6g},{state}" for (x, y, z), state in zip(pose, states)]
    return "".join(f"{line}\n" for line in lines)


def picture(pose):
    """A frame in which the person's joints are squares of 7 pixels."""
    image = np.full((FRAME[1], FRAME[0], 3), BACKGROUND, np.uint8)
    pixels = crops.project(pose, FOCAL_LENGTH, *FRAME)
    for x, y in np.rint(pixels[np.isfinite(pixels).all(axis=-1)]).astype(int):
        image[max(y - 3, 0) : max(y + 4, 0), max(x - 3, 0) : max(x + 4, 0)] = BODY
    return image


def is_body(image):
    """Which pixels show the person."""
    return np.abs(image.astype(int) - BODY).max(axis=-1) < 60
