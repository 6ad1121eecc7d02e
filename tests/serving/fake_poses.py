"""An estimator that needs no network: in a frame it finds a standing person at a bright bar."""

from typing import ClassVar

import numpy as np

from tests.tfrecords import recording_files
from tfrecords.estimation import estimator

WIDTH, HEIGHT, BAR, FPS = 96, 64, 8, 10
BODY = recording_files.standing("blazepose_33").reshape(33, 3).astype(np.float32)


def bar_video(positions):
    """Frames ``[T, H, W, 3]``, each with a bar at a column, or black at ``None``."""
    frames = np.zeros((len(positions), HEIGHT, WIDTH, 3), np.uint8)
    for frame, left in zip(frames, positions):
        if left is not None:
            frame[8:56, left : left + BAR] = 255
    return frames


def middle_of_bar(picture):
    """Column of the bar's middle, as a fraction of the picture's width; ``None`` without one."""
    bright = np.flatnonzero(np.asarray(picture)[..., 0].mean(axis=0) > 60)
    return None if not bright.size else (bright.mean() + 0.5) / picture.shape[1]


class BarPoses(estimator.Estimator):
    """Stands for an estimator of the layout ``blazepose_33``.

    Class attributes:
        times: Seconds of the frames that were estimated.
    """

    layout = "blazepose_33"
    times: ClassVar[list] = []

    def __init__(self, *, model, persons):
        self.model = model

    def persons(self, frame, seconds):
        BarPoses.times.append(seconds)
        middle = middle_of_bar(frame)
        if middle is None:
            return []
        height, width = frame.shape[:2]
        scale = 0.5 * height / np.ptp(BODY[:, 1])
        xy = BODY[:, :2] * (scale, -scale) + (middle * width, height / 2)
        return [estimator.Person(BODY, xy.astype(np.float32), np.full(33, 0.9, np.float32))]

    def close(self):
        pass
