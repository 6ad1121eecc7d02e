"""A person as OpenNI's tracker delivers one, and pictures of it; shared by the writers of SBU and CAD files."""

import cv2
import numpy as np

from tfrecords.converting import crops
from tfrecords.datasets import openni

FRAME = (160, 120)  # width, height of the pictures
FOCAL_LENGTH = openni.FOCAL_LENGTH * FRAME[0] / openni.FOCAL_WIDTH
BACKGROUND, BODY = (40, 80, 120), (250, 60, 30)

# A standing person, metres, hips' middle at the origin: the order of nite_15.
STANDING = np.fromstring(
    """0 .62 0   0 .42 0   0 .18 0   -.18 .4 0  -.24 .12 0  -.26 -.1 0   .18 .4 0  .24 .12 0  .26 -.1 0
    -.09 0 0  -.1 -.42 0  -.1 -.8 0   .09 0 0  .1 -.42 0  .1 -.8 0""",
    np.float32,
    sep=" ",
).reshape(15, 3)


def walk(seed, frames, start=-0.3, distance=3.0):
    """Poses ``[T, 15, 3]`` of a person who walks 0.6 m to the right, with noise that depends on the seed."""
    random = np.random.default_rng(list(str(seed).encode()))
    where = np.stack([np.linspace(start, start + 0.6, frames), np.zeros(frames), np.full(frames, distance)], axis=-1)
    return (STANDING + where[:, np.newaxis] + random.normal(scale=0.005, size=(frames, 15, 3))).astype(np.float32)


def pixels(xyz):
    """Where joints lie in a picture."""
    return crops.project(xyz, FOCAL_LENGTH, *FRAME)


def write_picture(path, xyz):
    """Writes a PNG in which every joint of ``[..., 3]`` is a square of 5 pixels."""
    image = np.full((FRAME[1], FRAME[0], 3), BACKGROUND, np.uint8)
    for x, y in np.rint(pixels(xyz).reshape(-1, 2)).astype(int):
        image[max(y - 2, 0) : max(y + 3, 0), max(x - 2, 0) : max(x + 3, 0)] = BODY
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())


def is_body(image):
    """Which pixels show a joint."""
    return np.abs(image.astype(int) - BODY).max(axis=-1) < 80


def joints_in_crops(clip, part="full_body"):
    """Whether every joint lies in every crop, where the box says; ``[T, M, J]`` bool."""
    out = []
    for picture, box, joints in zip(clip.images[part], clip.boxes[part], clip.pose_xy):
        image = crops.decode_jpeg(picture)
        x, y = np.moveaxis((joints - box[:2]) * len(image) / (box[2] - box[0]), -1, 0).astype(int)
        # In the pixel or the next one: one step in a small picture is several pixels of the frame.
        near = cv2.dilate(is_body(image).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        out.append(near[y, x])
    return np.array(out)
