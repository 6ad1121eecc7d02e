"""How fast are improved dense trajectories, and what do they look like?

Prints frames per second and tracks per frame of a clip, and draws its tracks: green trails that end in a red dot, over
one of its frames. Without ``--video``, a clip of SynthADL is rendered.

    python benchmarks/dense_trajectories.py --video clip.mp4 --picture tracks.png
"""

import os
import pathlib
import statistics
import sys
import time

import cv2
import numpy as np

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from tfrecords.converting.crops import decode_jpeg
from tfrecords.converting.video import Video
from tfrecords.datasets.synthetic import SynthADL
from zoo import ZooError
from zoo.fusion import dense_trajectories
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

TRACK, POINT = (0, 255, 0), (255, 0, 0)  # RGB


def video_frames(path):
    """Frames ``[T, H, W, 3]`` of a video file."""
    try:
        return np.stack([np.asarray(frame) for frame in Video(path)])
    except ValueError as error:
        raise UserError(f"--video {error}") from None


def synthetic_frames(clip_id, size):
    """Frames ``[T, size, size, 3]`` of the full body in a clip of SynthADL."""
    source = SynthADL(size=size)
    return np.stack([decode_jpeg(jpeg) for jpeg in source.read(source.parse_id(clip_id)).images["full_body"]])


def draw(frame, number, tracks, magnify):
    """A frame with the tracks that run through it, up to it.

    Args:
        frame: ``[H, W, 3]`` uint8, RGB.
        number: The frame's number.
        tracks: The clip's :class:`zoo.fusion.dense_trajectories.Trajectories`.
        magnify: How many times larger the picture becomes.

    Returns:
        ``[magnify * H, magnify * W, 3]`` uint8.
    """
    canvas = cv2.resize(frame, None, fx=magnify, fy=magnify, interpolation=cv2.INTER_CUBIC)
    steps = tracks.points.shape[1] - 1
    for start, points in zip(tracks.start, tracks.points):
        if start < number <= start + steps:
            trail = np.rint((points[: number - start + 1] + 0.5) * magnify).astype(np.int32)
            cv2.polylines(canvas, [trail], False, TRACK, 1, cv2.LINE_AA)
            cv2.circle(canvas, trail[-1].tolist(), 1, POINT, -1, cv2.LINE_AA)
    return canvas


def busiest(tracks, frames):
    """Number of the frame through which most tracks run."""
    steps = tracks.points.shape[1] - 1
    through = np.bincount((tracks.start[:, np.newaxis] + np.arange(1, steps + 1)).ravel(), minlength=frames)
    return int(through.argmax())


def main(argv=None):
    """Measures, prints a line, and writes JSON and a picture."""
    parser = command_line.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=pathlib.Path, metavar="FILE", help="a video file (default: SynthADL)")
    parser.add_argument("--clip", default="S002C001P001R001A005", help="clip of SynthADL")
    parser.add_argument("--size", type=int, default=224, help="its pictures' side in pixels")
    parser.add_argument("--picture", type=pathlib.Path, metavar="PNG", help="file to draw the tracks into")
    parser.add_argument("--magnify", type=int, default=2, help="how many times larger the picture becomes")
    parser.add_argument("--rounds", type=int, default=3, help="rounds the median is taken of")
    parser.add_argument("--json", default="runs/benchmarks/dense_trajectories.json", help="file to write")
    arguments = parser.parse_args(argv)
    for option in ("size", "magnify", "rounds"):
        if getattr(arguments, option) < 1:
            raise UserError(f"--{option} {getattr(arguments, option)}: expected a number from 1")
    frames = video_frames(arguments.video) if arguments.video else synthetic_frames(arguments.clip, arguments.size)
    seconds, processor = [], []
    for _ in range(arguments.rounds):
        start, busy = time.perf_counter(), time.process_time()
        try:
            tracks = dense_trajectories.extract(frames)
        except ZooError as error:
            raise UserError(f"{arguments.video or arguments.clip}: {error}") from None
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    count, height, width, _ = frames.shape
    result = {
        "clip": str(arguments.video or arguments.clip),
        "frames": count,
        "height": height,
        "width": width,
        "tracks": len(tracks),
        "tracks_per_frame": len(tracks) / count,
        "frames_per_second": count / statistics.median(seconds),
        "frames_per_processor_second": count / statistics.median(processor),
        **environment.describe("numpy", environment.OPENCV),
    }
    print(
        f"{result['clip']}: {count} frames of {width} x {height} pixels, {len(tracks)} tracks "
        f"({result['tracks_per_frame']:.1f} per frame), {result['frames_per_second']:.1f} frames/s "
        f"({result['frames_per_processor_second']:.1f} per second of one core), {result['machine']['processor']}"
    )
    path = pathlib.Path(arguments.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, result)
    print(f"written to {path}")
    if arguments.picture:
        number = busiest(tracks, count)
        picture = draw(frames[number], number, tracks, arguments.magnify)
        _, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        temporary = arguments.picture.with_name(f".{arguments.picture.name}.{os.getpid()}")
        temporary.write_bytes(png.tobytes())
        os.replace(temporary, arguments.picture)
        print(f"frame {number} drawn into {arguments.picture}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
