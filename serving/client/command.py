"""The command ``python -m serving.client``: classifies a clip, a long video, a folder of frames or a camera.

``python -m serving.client --server HOST:PORT --model NAME --video FILE --pose FILE``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving.client import clips, estimation, printing, sliding_window, smoothing, streams
from serving.client.client import RETRIES, TIMEOUT, Client
from serving.client.credentials import Tls
from serving.client.estimation import Estimation
from serving.client.prediction import Prediction
from tfrecords.converting import plausibility
from tfrecords.converting.persons import FPS
from zoo.shared import command_line
from zoo.shared.command_line import not_negative, positive
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.converting.pose_files import FilePoses

LARGEST_MB = 2048
IDLE_SECONDS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command_line.quiet_tensorflow()
    arguments = _parser().parse_args(argv)
    _check(arguments)
    outputs = [name for name in arguments.outputs.split(",") if name]
    printer = printing.printer(arguments.format, arguments.top, sys.stdout)
    with _client(arguments) as client:
        if arguments.record:
            (clip,) = clips.read_records(arguments.record, [arguments.clip])
            printer.prediction(client.predict_clip(clip, outputs))
            return 0
        given = clips.read_pose_file(arguments.pose) if arguments.pose else None
        frames = _stream(arguments)
        needed = None
        if frames is not None:
            needed = estimation.from_arguments(arguments, client.definition(), given=given)
        poses = estimation.poses_to_send(given, needed, client.definition, arguments.pose)
        if arguments.window is not None:
            _predict_windows(client, frames, poses, arguments, outputs, printer, needed, given)
        else:
            printer.prediction(_predict_clip(client, frames, poses, arguments.video, outputs, needed, given))
    if poses is not None:  # after the model has accepted them, so that an error stays a single line
        plausibility.warn_of_clip(arguments.pose, poses)
    if given is not None and isinstance(frames, streams.VideoFrames):
        clips.warn_of_lengths(arguments.pose, given, frames, arguments.pose_fps)
    return 0


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="python -m serving.client", description="Classify a clip, a long video or a camera with a served model."
    )
    _add_server_options(parser.add_argument_group("server"))
    clip = parser.add_argument_group("a clip")
    clips.add_arguments(clip)
    estimation.add_arguments(clip)
    _add_stream_options(parser.add_argument_group("long video and streams"))
    _add_output_options(parser.add_argument_group("output"))
    return parser


def _add_server_options(group) -> None:
    group.add_argument(
        "--server", required=True, metavar="ADDRESS", help="HOST:PORT (gRPC), http:// or https://HOST:PORT (REST)"
    )
    group.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    group.add_argument("--version", type=int, metavar="N", help="version; by default the newest")
    group.add_argument("--version-label", metavar="LABEL", help="label of a version, such as stable")
    group.add_argument(
        "--signature",
        metavar="NAME",
        help="signature to call; by default serve_jpeg, and of --record serve_examples, where the model has it",
    )
    group.add_argument("--tls", action="store_true", help="use TLS; the next three options imply it")
    group.add_argument("--ca", metavar="FILE", help="certificate of the authority that signed the server's (PEM)")
    group.add_argument("--cert", metavar="FILE", help="the client's own certificate (PEM)")
    group.add_argument("--key", metavar="FILE", help="the private key of --cert (PEM)")
    group.add_argument(
        "--timeout", type=positive(float), default=TIMEOUT, metavar="S", help="seconds for all attempts of a request"
    )
    group.add_argument(
        "--retries",
        type=not_negative,
        default=RETRIES,
        metavar="N",
        help="retries when the server is unavailable or has too many requests",
    )
    group.add_argument(
        "--max-message-mb",
        type=positive(float),
        default=LARGEST_MB,
        metavar="MB",
        help="largest request or response in MB",
    )


def _add_stream_options(group) -> None:
    group.add_argument(
        "--frames", metavar="FOLDER", help="folder that pictures are being written to, instead of --video"
    )
    group.add_argument(
        "--camera",
        metavar="SOURCE",
        help="number or address of a camera, or a video file that plays in its place, instead of --video",
    )
    sliding_window.add_arguments(group)
    group.add_argument("--fps", type=positive(float), help="frames (or poses alone) per second; by default the file's")
    group.add_argument(
        "--idle",
        type=positive(float),
        metavar="S",
        help=f"seconds without a new picture after which --frames ends; by default {IDLE_SECONDS:g}",
    )
    group.add_argument(
        "--in-flight",
        type=positive(int),
        metavar="N",
        help=f"requests at the same time; by default {sliding_window.IN_FLIGHT}",
    )


def _add_output_options(group) -> None:
    group.add_argument("--top", type=positive(int), default=5, metavar="N", help="number of classes to print")
    group.add_argument(
        "--format", choices=printing.FORMATS, default="table", help="format of the output; JSON: a line per prediction"
    )
    group.add_argument(
        "--outputs",
        default="",
        metavar="NAMES",
        help="further outputs of the model, comma-separated; --format json prints their values",
    )


def _check(arguments: argparse.Namespace) -> None:
    """Raises ``UserError`` for options that contradict one another or are out of range."""
    if arguments.max_message_mb > LARGEST_MB:
        raise UserError(f"--max-message-mb {arguments.max_message_mb:g}: expected at most {LARGEST_MB}")
    if bool(arguments.record) != bool(arguments.clip):
        raise UserError("--record and --clip belong together: the dataset, and the id of a clip in it")
    sources = [name for name in ("video", "frames", "camera") if getattr(arguments, name) is not None]
    if len(sources) > 1:
        raise UserError(f"--{sources[0]} or --{sources[1]}, not both")
    if bool(arguments.record) == bool(sources or arguments.pose):
        raise UserError("give a clip: either --video and/or --pose, or --record and --clip")
    if arguments.window is None:
        for name in ("stride", "smooth", "fps", "pose_fps", "frames", "camera", "idle", "in_flight"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} needs --window, the length of each classified window")
    elif arguments.record:
        raise UserError("--window is for --video, --frames, --camera or --pose, not for --record")
    if arguments.frames and not arguments.fps:
        raise UserError("--frames needs --fps, the frame rate of the pictures")


def _client(arguments: argparse.Namespace) -> Client:
    secured = arguments.tls or arguments.ca or arguments.cert or arguments.key
    return Client(
        arguments.server,
        arguments.model,
        signature=arguments.signature,
        version=arguments.version,
        version_label=arguments.version_label,
        timeout=arguments.timeout,
        retries=arguments.retries,
        tls=Tls(arguments.ca, arguments.cert, arguments.key) if secured else None,
        max_message_bytes=int(arguments.max_message_mb * 2**20),
    )


def _stream(arguments: argparse.Namespace) -> streams.Stream | None:
    """The frames that the options name; ``None`` for poses alone."""
    if arguments.video:
        return streams.VideoFrames(arguments.video, arguments.fps)
    if arguments.frames:
        return streams.FolderFrames(arguments.frames, arguments.fps, arguments.idle or IDLE_SECONDS)
    if arguments.camera is not None:
        return streams.CameraFrames(arguments.camera, arguments.fps)
    return None


def _predict_clip(
    client: Client,
    video: streams.Stream | None,
    poses: np.ndarray | None,
    name: str,
    outputs: Sequence[str],
    needed: Estimation | None,
    given: FilePoses | None,
) -> Prediction:
    """The prediction of a whole video, poses, or both; poses or persons that the model needs are found first."""
    video_fps = video.known_fps if isinstance(video, streams.VideoFrames) else 0.0
    rate = (given.fps if given else 0.0) or video_fps or FPS
    if needed is None or not isinstance(video, streams.VideoFrames):
        return client.predict(video, poses, outputs, pose_fps=rate)
    found, boxes = needed.of_video(video, name)
    if needed.poses:
        poses = found.xyz
    pictures = needed.pictures(video, boxes) if boxes else video if needed.takes_video else None
    return client.predict(pictures, poses, outputs, pose_fps=rate)


def _predict_windows(
    client: Client,
    frames: streams.Stream | None,
    poses: np.ndarray | None,
    arguments: argparse.Namespace,
    outputs: Sequence[str],
    printer: printing.Printer,
    needed: Estimation | None,
    given: FilePoses | None,
) -> None:
    """Prints each window when its response arrives, and at the end the time line, also after ctrl-C or an error."""
    fps = frames.fps if frames else arguments.fps or (given.fps if given else 0.0)
    if not fps:
        raise UserError(f"{arguments.pose}: states no rate, --window needs it: give --fps, how many poses a second has")
    plan = sliding_window.Plan.of(arguments.window, arguments.stride, fps=fps)
    rows = sliding_window.predict(
        client,
        frames,
        plan,
        poses=poses,
        pose_fps=arguments.pose_fps or clips.pose_rate(given, plan.fps),
        estimation=needed,
        smooth=None if arguments.smooth is None else smoothing.parse(arguments.smooth),
        in_flight=arguments.in_flight or sliding_window.IN_FLIGHT,
        outputs=outputs,
    )
    printing.print_rows(rows, printer)
