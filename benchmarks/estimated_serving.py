"""Time from a video to its label where persons or poses are estimated first, compared with the network alone.

An exported I3D, trained on pictures of persons, and an exported pose network classify a video in this process, as
``python -m serving.predict --video FILE`` does: persons are found, pictures cut out, and the network runs.

    python benchmarks/estimated_serving.py --video FILE            # the first 10 s of it; three minutes on two cores
"""

from __future__ import annotations

import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np

if not __package__:  # run as a script: `serving` is the package, not the script beside this one
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import clip_to_label, environment
from zoo.shared import command_line, files
from zoo.shared.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="estimated_serving.py", description="Time of estimation in serving.")
    parser.add_argument("--video", type=pathlib.Path, required=True, metavar="FILE", help="a video of persons")
    parser.add_argument("--seconds", type=float, default=10, help="how much of it; a shorter one is repeated (10)")
    parser.add_argument("--pose-model", default="full", help="lite, full, heavy or a .task file (default: full)")
    parser.add_argument("--frames", type=int, default=64, help="frames that I3D samples (default: 64)")
    parser.add_argument("--size", type=int, default=224, help="their height and width (default: 224)")
    parser.add_argument(
        "--repetitions", type=int, default=3, help="timed rounds, after one that is not (default: 3, the least)"
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    if arguments.repetitions < 3:
        raise UserError(f"--repetitions {arguments.repetitions}: expected a number from 3, fewer have no spread")
    command_line.quiet_tensorflow()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        video, count = cut(arguments.video, folder / "clip.mp4", arguments.seconds)
        models = {
            "I3D on persons": clip_to_label.export(folder, arguments.frames, arguments.size, framing="person"),
            "pose_gcn": export_poses(folder),
        }
        found = {
            name: measure(path, video, arguments.pose_model, arguments.repetitions) for name, path in models.items()
        }
    print(f"a video of {count} frames; I3D: {arguments.frames} frames of {arguments.size} x {arguments.size}")
    for name, result in found.items():
        shown = ", ".join(f"{part} {_shown(values, '.0f')} ms" for part, values in result["milliseconds"].items())
        print(f"{name}: {shown}; {_shown(result['over_network'], '.2f')} times the network alone")
    if arguments.json:
        described = environment.describe("tensorflow", "av", "numpy", "mediapipe")
        files.write_json(arguments.json, {"frames": count, "models": found, **described})
    return 0


def _shown(values: dict[str, float], form: str) -> str:
    """A median and, in brackets, the least and the largest value."""
    return f"{values['median']:{form}} ({values['least']:{form}} to {values['largest']:{form}})"


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "largest": max(values)}


def cut(source: pathlib.Path, path: pathlib.Path, seconds: float) -> tuple[pathlib.Path, int]:
    """Writes the first seconds of a video, repeated where it is shorter; its path and number of frames."""
    import itertools

    import av

    from serving.client import VideoFrames

    video = VideoFrames(source)
    count = round(seconds * video.fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", round(video.fps))
        stream.width, stream.height, stream.pix_fmt = video.width // 2 * 2, video.height // 2 * 2, "yuv420p"
        for frame in itertools.islice(itertools.chain.from_iterable(itertools.repeat(video)), count):
            picture = np.ascontiguousarray(frame[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path, count


def export_poses(folder: pathlib.Path) -> pathlib.Path:
    """Exports the pose network that is installed with the zoo and returns its version folder."""
    from serving.savedmodel import exporting, published

    return exporting.export(published.find("pose_gcn_nucla"), folder / "models", freeze=True)[0]


def measure(folder: pathlib.Path, video: pathlib.Path, pose_model: str, repetitions: int) -> dict[str, Any]:
    """Milliseconds of the whole prediction, of estimation, and of the network alone, each with its spread over rounds.

    Args:
        folder: The model's version folder.
        video: The video's path.
        pose_model: Model that poses are estimated with.
        repetitions: Timed rounds, after one that is not.

    Returns:
        A dict of JSON values; ``over_network`` is the ratio within a round.
    """
    from serving.client import clips, request
    from serving.client.streams import VideoFrames
    from serving.predict import Predictor

    predictor = Predictor(folder)
    estimation = predictor.estimation(model=pose_model)
    if estimation is None or predictor.inputs is None:
        raise ValueError(f"{folder}: nothing is estimated for it")
    span = None if estimation.poses else clips.sampled_span(VideoFrames(video), predictor.inputs)
    found, boxes = estimation.of_video(VideoFrames(video), video, span)
    pictures = predictor.read_video(video, boxes, estimation.size).frames if boxes else None
    poses = found.xyz if estimation.poses else None
    tensors = request.clip_tensors(predictor.definition(), [(pictures, poses)])
    steps = {
        "total": lambda: predictor.predict_video(video, estimation),
        "estimation": lambda: estimation.of_video(VideoFrames(video, threads=True), video, span),
        "network": lambda: predictor.servable.predict_arrays("serving_default", tensors, ["probabilities"]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(repetitions + 1):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            if number:  # the first round also allocates and traces
                seconds[name].append(time.perf_counter() - begin)
    return {
        "milliseconds": {name: _spread([1000 * value for value in values]) for name, values in seconds.items()},
        "over_network": _spread([total / network for total, network in zip(seconds["total"], seconds["network"])]),
        "repetitions": repetitions,
    }


if __name__ == "__main__":
    sys.exit(command_line.run(main))
