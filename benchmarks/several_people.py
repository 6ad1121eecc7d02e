"""Measures how well two people in one picture are found and followed.

The pictures of two videos are put side by side, and poses are estimated in two ways: each frame is searched as a whole,
independently of others; or each person is followed in a square around the body. Both are compared with the poses of
each video alone: who is found (boxes that overlap by more than 0.3), how often a person's number changes, and bodies
where nobody is (overlap below 0.1). The poses of the videos alone are estimates too; look at some, which
``python -m tfrecords.estimate ... --preview`` draws.

    python benchmarks/several_people.py urfd/videos/adl-*.mp4
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords.converting.persons import Poses
from tfrecords.converting.video import Video
from tfrecords.estimation import estimator, recordings, tracking
from zoo import skeletons
from zoo.shared import command_line
from zoo.shared.errors import UserError

FOUND, ELSEWHERE = 0.3, 0.1  # intersection over union with the nearest person
WAYS = {"whole frames": {"still": True, "detection": 0.2}, "followed": {}}


class Figures:
    """What was counted in one way."""

    def __init__(self) -> None:
        self.frames = self.there = self.found = self.elsewhere = self.changes = 0
        self.distances: list[float] = []
        self.seconds = 0.0

    def line(self) -> str:
        """The figures in a line."""
        found, distance = 100 * self.found / max(self.there, 1), 100 * np.mean(self.distances or [0])
        milliseconds = 1000 * self.seconds / max(self.frames, 1)
        return (
            f"{found:.0f}% of {self.there} persons found, {self.changes} changes of number, {self.elsewhere} bodies "
            f"elsewhere, joints {distance:.1f}% of the body away, {milliseconds:.0f} ms of processor time a frame "
            f"({self.frames} frames)"
        )


def side_by_side(videos: Sequence[pathlib.Path]) -> Iterator[np.ndarray]:
    """The frames of two videos of one height, as long as both last."""
    left, right = (Video(path) for path in videos)
    if left.height != right.height:
        raise UserError(f"{videos[1]}: {right.height} pixels high, expected {left.height} as of {videos[0]}")
    for frames in zip(left, right):
        yield np.concatenate([np.asarray(frame) for frame in frames], axis=1)


def measure(videos: Sequence[pathlib.Path], alone: Sequence[Poses], step: int, figures: dict[str, Figures]) -> None:
    """Adds the figures of a pair of videos, in each ``step``-th frame."""
    offsets = 0, Video(videos[0]).width
    fps = Video(videos[0]).fps or 30.0
    for way, options in WAYS.items():
        tracker, numbers = tracking.Tracker(), [-1, -1]
        with estimator.create("blazepose", persons=2, **options) as network:
            for index, frame in enumerate(side_by_side(videos)):
                if index % step:
                    continue
                began = time.process_time()
                everyone = network.persons(frame, index / fps)
                figures[way].seconds += time.process_time() - began
                height, width = frame.shape[:2]
                layout = skeletons.get(network.layout)
                plausible = [one for one in everyone if tracking.is_plausible(one, layout, width, height)]
                followed = tracker.update(plausible, 1 + index / fps)
                true = [_pose(poses, index, offset) for poses, offset in zip(alone, offsets)]
                _count(figures[way], followed, true, numbers)


def _pose(poses: Poses, index: int, offset: int) -> np.ndarray | None:
    """Joints ``[J, 2]`` in the wide picture; ``None`` where nobody was found, or with low confidence."""
    assert poses.xy is not None  # an estimator gives them
    there = index < len(poses.xy) and poses.confidence[index, 0].mean() > 0.5
    return poses.xy[index, 0] + (offset, 0) if there else None


def _count(figures, followed, true, numbers):
    figures.frames += 1
    figures.there += sum(joints is not None for joints in true)
    found = set()
    for number, person in followed.items():
        overlaps = [0.0 if joints is None else tracking.overlap(person.xy, joints) for joints in true]
        which = int(np.argmax(overlaps))
        if overlaps[which] < ELSEWHERE:
            figures.elsewhere += 1
        elif overlaps[which] > FOUND and which not in found:
            found.add(which)
            figures.changes += numbers[which] not in (-1, number)
            numbers[which] = number
            distance = np.linalg.norm(person.xy - true[which], axis=1).mean()
            figures.distances.append(float(distance / tracking.size_of(true[which])))
    figures.found += len(found)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="several_people.py", description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=pathlib.Path, help="of one person each; the first and the second ...")
    parser.add_argument("--step", type=int, default=3, help="each N-th frame (default: 3)")
    arguments = parser.parse_args(argv)
    figures = {way: Figures() for way in WAYS}
    for pair in zip(arguments.videos[::2], arguments.videos[1::2]):
        alone = [recordings.estimate(Video(path), recordings.Settings()) for path in pair]
        measure(pair, alone, arguments.step, figures)
    for way, counted in figures.items():
        print(f"{way:13} {counted.line()}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
