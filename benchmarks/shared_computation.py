"""How many windows of a long video are classified per second, each by itself and with shared computation?

A window of I3D slides over a video of noise. Each round times, in another order, some windows on their own and, for
each block up to which computation is shared, the whole video. A ratio is of two times of the same round. Weights are
random: they do not change the time. Accuracy is measured by `recipes/evaluate.py --untrimmed`, with and without
`--share-computation`.

    python benchmarks/shared_computation.py                   # windows of 64 and 32 frames, 5 minutes on 2 cores
    python benchmarks/shared_computation.py --frames 32 --blocks Mixed_5c --rounds 3
"""

import argparse
import pathlib
import random
import statistics
import sys
import time

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from zoo.shared import command_line, files

BLOCKS = ("Mixed_3c", "Mixed_4c", "Mixed_4f", "Mixed_5c")
ALONE = "alone"


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="shared_computation.py", description="Windows per second of long video.")
    whole = command_line.positive(int)
    parser.add_argument("--frames", nargs="+", type=whole, default=[64, 32], metavar="T", help="of a window")
    parser.add_argument("--size", type=whole, default=224, help="pixels of a frame's side (default: 224)")
    parser.add_argument("--width", type=float, default=1.0, help=argparse.SUPPRESS)  # to try a small network
    parser.add_argument("--stride", type=whole, default=8, help="frames from one window to the next (default: 8)")
    parser.add_argument("--blocks", nargs="+", default=BLOCKS, help=f"default: {' '.join(BLOCKS)}")
    parser.add_argument("--video", type=whole, default=256, metavar="FRAMES", help="length of the video (default: 256)")
    parser.add_argument("--rounds", type=whole, default=3, help="rounds that are timed, after one (default: 3)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    found = {f"{frames} frames": compare(frames, arguments) for frames in arguments.frames}
    if arguments.json:
        described = environment.describe("tensorflow", "keras", "numpy")
        files.write_json(arguments.json, {"windows": found, "rounds": arguments.rounds, **described})
    return 0


def compare(frames, arguments):
    """Block -> windows per second, and their ratio to those without sharing: median, least and most."""
    import tensorflow as tf

    import zoo
    from zoo.shared_computation import SharedComputation

    model = zoo.build("i3d", num_classes=400, frames=frames, size=arguments.size, width=arguments.width)
    video = np.random.default_rng(0).uniform(-1, 1, (arguments.video, arguments.size, arguments.size, 3))
    video = video.astype(np.float32)
    starts = range(0, len(video) - frames + 1, arguments.stride)
    by_itself = tf.function(lambda window: model({"rgb": window}, training=False))

    def alone():
        """Classifies three windows, which is enough: all windows take the same time."""
        for start in starts[:3]:
            by_itself(video[np.newaxis, start : start + frames]).numpy()
        return len(starts[:3])

    def sharing(shared):
        return lambda: len(list(shared.predict(lambda first, end: {"rgb": video[first:end]}, starts)))

    contenders = {ALONE: alone, **{block: sharing(SharedComputation(model, block)) for block in arguments.blocks}}
    times = {name: [] for name in contenders}
    order = random.Random(0)
    for _ in range(arguments.rounds + 1):
        for name in order.sample(sorted(contenders), len(contenders)):
            begin = time.perf_counter()
            windows = contenders[name]()
            times[name].append((time.perf_counter() - begin) / windows)
    rows = {}
    print(f"windows of {frames} frames of {arguments.size} pixels every {arguments.stride}, {len(starts)} in a video")
    for name, seconds in times.items():
        ratios = [one / own for one, own in zip(times[ALONE][1:], seconds[1:])]  # the first round warms up
        rows[name] = {
            "windows_per_second": 1 / statistics.median(seconds[1:]),
            "times_alone": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
        row = rows[name]
        print(
            f"{name:10} {row['windows_per_second']:7.2f} windows/s, {row['times_alone']:.2f} times "
            f"({row['least']:.2f} - {row['most']:.2f})",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    sys.exit(command_line.run(main))
