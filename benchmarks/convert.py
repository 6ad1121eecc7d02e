"""How much of a conversion is decoding and encoding, which nothing can leave out?

Converts a recording in NTU RGB+D's format in one process. Its processor time is compared with the sum of two parts:
decoding the same video without using its frames, and encoding the same pictures as JPEG. Without ``--source`` the
recording is generated: a clip of SynthADL in the middle of a picture of 1920 x 1080 pixels, in which a person is as
large as in the dataset, with a sensor's noise, in H.264 like the dataset's videos.

    python benchmarks/convert.py --source DIR --clip S001C001P001R001A001
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from tfrecords import schema
from tfrecords.converting import crops
from tfrecords.datasets.ntu import NTU120
from tfrecords.datasets.synthetic import ACTIVITIES, SynthADL
from tfrecords.errors import RejectedClip
from tfrecords.synthadl.cameras import FRAME_SIZE, camera
from tfrecords.synthadl.drawing import render
from tfrecords.synthadl.performance import perform
from tfrecords.synthadl.randomness import generator
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.datasets.base import Source

WIDTH, HEIGHT = 1920, 1080  # of NTU RGB+D's videos
ENLARGED = 1.25  # of SynthADL's frames: a person is then some 400 pixels high
NOISE = 2.0  # standard deviation of the sensor's noise, in values of a pixel


def make_recording(folder: str | os.PathLike, clip_id: str, frames: int) -> None:
    """Writes a video and a skeleton file in NTU RGB+D's format."""
    source = SynthADL(frames=frames)
    info = source.parse_id(clip_id)
    performance = perform(source.seed, info, ACTIVITIES[info.label], frames)
    view = camera(source.seed, info.setup, info.camera)
    xyz = view.transform(performance.joints)
    width, height = (round(ENLARGED * side) for side in FRAME_SIZE)
    left, top = (WIDTH - width) // 2, (HEIGHT - height) // 2
    border = top, HEIGHT - height - top, left, WIDTH - width - left
    random = np.random.default_rng(0)
    with av.open(str(folder / f"{clip_id}_rgb.avi"), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in render(performance, view, generator("light", clip_id)):
            large = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
            wide = cv2.copyMakeBorder(large, *border, cv2.BORDER_REFLECT)
            noisy = wide + random.normal(scale=NOISE, size=wide.shape)
            wide = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(wide, format="rgb24")))
        container.mux(stream.encode())
    lines = [str(len(xyz))]
    for joints, pixels in zip(xyz, view.project(xyz) * ENLARGED + (left, top)):
        lines += ["1", "1 0 1 1 1 1 0 0 0 2", "25"]
        lines += [f"{x} {y} {z} 0 0 {u} {v} 0 0 0 0 2" for (x, y, z), (u, v) in zip(joints, pixels)]
    (folder / f"{clip_id}.skeleton").write_text("\n".join(lines))


def seconds_of(function: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of a call, and what it returns."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def bare_decoding(path: pathlib.Path) -> int:
    """Decodes every frame and does nothing with it; returns the number of frames."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def measure(source: Source, info: schema.ClipInfo, rounds: int) -> tuple[int, dict[str, float]]:
    """Processor seconds of a conversion, of decoding and of encoding, each the median of alternating rounds."""
    clip = source.read(info)
    pictures = [crops.decode_jpeg(jpeg) for jpegs in clip.images.values() for jpeg in jpegs]
    path = source.path(info, "video")
    taken = {"convert": [], "decode": [], "encode": []}
    for _ in range(rounds):
        taken["convert"].append(seconds_of(lambda: schema.encode(source.read(info)))[0])
        taken["decode"].append(seconds_of(lambda: bare_decoding(path))[0])
        taken["encode"].append(seconds_of(lambda: [crops.encode_jpeg(picture) for picture in pictures])[0])
    return clip.num_frames, {name: statistics.median(values) for name, values in taken.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints a table, and writes JSON."""
    parser = command_line.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=pathlib.Path, metavar="DIR", help="folder of NTU RGB+D (default: made)")
    parser.add_argument("--clip", default="S001C001P001R001A001", help="its clip")
    parser.add_argument("--frames", type=int, default=100, help="frames of the recording that is made")
    parser.add_argument("--rounds", type=int, default=5, help="rounds the medians are taken of")
    parser.add_argument("--json", default="runs/benchmarks/convert.json", help="file to write")
    arguments = parser.parse_args(argv)
    for option, least in (("frames", 15), ("rounds", 1)):
        if getattr(arguments, option) < least:
            raise UserError(f"--{option} {getattr(arguments, option)}: expected a number from {least}")
    cv2.setNumThreads(1)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.source or pathlib.Path(scratch)
        if not arguments.source:
            make_recording(folder, arguments.clip, arguments.frames)
        for parts in (("full_body",), ("full_body", "left_hand", "right_hand")):
            source = NTU120(folder, parts=parts)
            source.index()
            try:
                frames, taken = measure(source, source.parse_id(arguments.clip), arguments.rounds)
            except (RejectedClip, ValueError) as error:
                raise UserError(f"--clip {arguments.clip}: {error}") from None
            limit = taken["decode"] + taken["encode"]
            rates = {f"{name}_frames_per_second": frames / value for name, value in taken.items()}
            results.append({"parts": parts, "frames": frames, "of_the_limit": limit / taken["convert"], **rates})
            print(
                f"{'+'.join(parts)}: {frames / taken['convert']:.0f} frames per second of one core, "
                f"{limit / taken['convert']:.0%} of the limit ({frames / limit:.0f}: decoding "
                f"{frames / taken['decode']:.0f}, encoding {frames / taken['encode']:.0f})"
            )
    described = environment.describe("numpy", environment.OPENCV, "av")
    path = pathlib.Path(arguments.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {"clip": arguments.clip, "results": results, **described})
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
