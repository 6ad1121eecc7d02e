"""How fast is SynthADL generated?

One process draws clips and encodes them as JPEG, as a conversion does. This is compared with the JPEG encoding alone of
the same pictures, which any conversion of pictures needs. Rounds alternate; the table gives medians.

    python benchmarks/render_synthetic.py
"""

from __future__ import annotations

import pathlib
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from tfrecords.datasets.synthetic import JPEG_QUALITY, SynthADL
from zoo.shared import command_line, files
from zoo.shared.errors import UserError


def _seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _pictures(clip):
    return [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in clip.images["full_body"]]


def _encode(pictures):
    for picture in pictures:
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def measure(*, clips: int, size: int, rounds: int) -> dict[str, Any]:
    """Medians over rounds.

    Args:
        clips: Number of clips, spread over the dataset's classes, subjects and cameras.
        size: Side of the stored pictures in pixels.
        rounds: Number of rounds.

    Returns:
        A dict of JSON values.
    """
    source, poses = SynthADL(size=size), SynthADL(parts=())
    infos = source.index().clips
    infos = infos[:: max(len(infos) // clips, 1)][:clips]
    pictures = [picture for info in infos for picture in _pictures(source.read(info))]  # a warm-up, too
    work = {
        "generate": lambda: [source.read(info) for info in infos],
        "poses_only": lambda: [poses.read(info) for info in infos],
        "jpeg_only": lambda: _encode(pictures),
    }
    seconds = {name: [] for name in work}
    for _ in range(rounds):
        for name, function in work.items():
            seconds[name].append(_seconds(function))
    seconds = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "clips": len(infos),
        "frames": len(pictures),
        "size": size,
        "rounds": rounds,
        "frames_per_second": {name: len(pictures) / value for name, value in seconds.items()},
        "seconds_per_clip": {name: value / len(infos) for name, value in seconds.items()},
        "generate_over_jpeg": seconds["generate"] / seconds["jpeg_only"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints a table and writes JSON."""
    parser = command_line.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=30, help="number of clips")
    parser.add_argument("--size", type=int, default=112, help="side of the stored pictures in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="rounds the medians are taken of")
    parser.add_argument("--json", default="runs/benchmarks/render_synthetic.json", help="file to write")
    arguments = parser.parse_args(argv)
    for option in ("clips", "size", "rounds"):
        if getattr(arguments, option) < 1:
            raise UserError(f"--{option} {getattr(arguments, option)}: expected a number from 1")

    cv2.setNumThreads(1)
    figures = measure(clips=arguments.clips, size=arguments.size, rounds=arguments.rounds)
    result = {**figures, **environment.describe("numpy", environment.OPENCV)}
    names = {"generate": "draw and encode", "poses_only": "poses only", "jpeg_only": "JPEG encoding only"}
    size = f"{arguments.size} x {arguments.size}"
    processor = result["machine"]["processor"]
    print(f"{result['clips']} clips, {result['frames']} frames, {size} pixels, one process, {processor}")
    print(f"{'':20} {'frames/s':>10} {'ms/clip':>10}")
    for key, name in names.items():
        speed, clip = result["frames_per_second"][key], 1000 * result["seconds_per_clip"][key]
        print(f"{name:20} {speed:10,.0f} {clip:10.1f}")
    print(f"draw and encode takes {result['generate_over_jpeg']:.1f} times as long as encoding alone")
    path = pathlib.Path(arguments.json)
    files.write_json(path, result)
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
