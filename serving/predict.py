"""Classifies a clip without a server: from an exported model, with the graph that a server would run.

``python -m serving.predict --model BASE/<model>[/<version>] --video FILE --pose FILE [--picture FILE.png]``

A clip is checked as :mod:`serving.client` and :mod:`serving.server` check it. But no message is built, the frames of a
video are not compressed to JPEG first, and a video file is read only as far as the model needs it.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving import long_video, picture
from serving.client import clips, prediction, printing, request, sliding_window, smoothing
from serving.client.clips import Sampled
from serving.client.estimation import SIZE, Estimation, add_arguments, from_arguments, poses_to_send
from serving.client.prediction import Prediction
from serving.client.request import Frames
from serving.client.streams import VideoFrames
from serving.runtimes.loading import RUNTIMES, runtime_name
from serving.savedmodel import signatures, versions
from tfrecords import schema
from tfrecords.converting import plausibility
from tfrecords.converting.persons import FPS
from zoo.shared import command_line
from zoo.shared.command_line import positive
from zoo.shared.errors import UserError
from zoo.shared.windows import Plan

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from serving.savedmodel.servable import Servable
    from tfrecords.reading.pipeline import Inputs


class Predictor:
    """An exported model that is loaded into this process.

    Args:
        path: ``BASE/<model>``, whose newest version is loaded, or ``BASE/<model>/<version>``; of any format.
        runtime: What runs the network, as for :func:`serving.runtimes.loading.runtime_of`; default: the format's.

    Raises:
        UserError: There is no such folder, no version in it, or the version cannot be loaded, or not by this runtime.

    Attributes:
        folder: The version's folder.
        servable: The loaded :class:`serving.savedmodel.servable.Servable`.
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`; ``None`` if the export does not have
            them.

    Example:
        >>> predictor = Predictor("models/separable_sta")  # doctest: +SKIP
        >>> predictor.predict(frames=frames, poses=poses).labels[0]  # doctest: +SKIP
        'drink'
    """

    folder: pathlib.Path
    servable: Servable
    inputs: Inputs | None

    def __init__(self, path: str | os.PathLike, runtime: str | None = None):
        from serving.savedmodel.servable import Servable

        folder = pathlib.Path(path)
        if not versions.format_of(folder):
            folder = list(versions.require(folder).values())[-1]
        self.folder = folder
        version = int(folder.name) if folder.name.isdecimal() else 0  # 0: a model outside a version folder
        try:
            name = folder.absolute().parent.name
            self.servable = Servable(name, version, folder, warm_up=False, runtime=runtime)
        except ValueError as error:
            raise UserError(f"{error}; export the model again") from error
        self.inputs = _inputs(folder)

    def predict(
        self,
        frames: Frames | Mapping[str, Frames] | None = None,
        poses: np.ndarray | None = None,
        *,
        signature: str = signatures.DEFAULT,
        pose_fps: float = FPS,
    ) -> Prediction:
        """Classifies a clip.

        Args:
            frames: The clip's pictures, as for :meth:`serving.client.Client.predict`.
            poses: Its poses, as there.
            signature: ``serving_default`` or ``serve_jpeg``.
            pose_fps: Poses per second.

        Returns:
            A :class:`serving.client.Prediction`.

        Raises:
            UserError: The clip lacks what the model needs, or does not fit it.
        """
        return self.predict_clips([(frames, poses)], signature=signature, pose_fps=pose_fps)[0]

    def predict_clips(
        self,
        of: Sequence[request.Clip],
        *,
        signature: str = signatures.DEFAULT,
        pose_fps: float = FPS,
        outputs: Sequence[str] = (),
    ) -> list[Prediction]:
        """Classifies several clips at once.

        Args:
            of: ``(frames, poses)`` of each clip, as for :meth:`predict`; all clips of the same length and frame size.
            signature: As for :meth:`predict`.
            pose_fps: As for :meth:`predict`.
            outputs: Names of further outputs of the signature, such as attention maps.

        Returns:
            One :class:`serving.client.Prediction` per clip.

        Raises:
            UserError: As :meth:`predict`; also clips that differ in length or size.
        """
        tensors = request.clip_tensors(self.definition(signature), of, pose_fps)
        return self._predict(signature, tensors, len(of), outputs)

    def predict_files(self, video: str | os.PathLike | None = None, poses: np.ndarray | None = None) -> Prediction:
        """Classifies a clip whose pictures are in a video file, which is read only as far as the model needs it.

        Args:
            video: The file's path.
            poses: As for :meth:`predict`; if the model needs poses and none are given, they are estimated.

        Returns:
            A :class:`serving.client.Prediction`.

        Raises:
            UserError: The file cannot be read, nobody is in it and the model takes poses alone, the estimator is not
                installed, or as for :meth:`predict`.
        """
        if video is None:
            return self.predict(None, poses)
        return self.predict_video(video, self.estimation(poses_given=poses is not None), poses)[0]

    def estimation(self, **options: Any) -> Estimation | None:
        """What has to be estimated from a video for this model.

        Args:
            **options: ``poses_given``, ``pixels``, ``crop``, ``model`` and ``persons`` of
                :meth:`serving.client.estimation.Estimation.of`.

        Returns:
            An :class:`~serving.client.estimation.Estimation`; ``None`` if nothing has to be estimated.
        """
        return Estimation.of(self.definition(signatures.DEFAULT), inputs=self.inputs, **options)

    def predict_video(
        self,
        path: str | os.PathLike,
        estimation: Estimation | None,
        poses: np.ndarray | None = None,
        pose_fps: float | None = None,
    ) -> tuple[Prediction, Sampled | None]:
        """Classifies a video file, after estimating what :meth:`estimation` states.

        Args:
            path: The file's path.
            estimation: What is estimated, or ``None``.
            poses: Poses that are given.
            pose_fps: Poses per second; default: the frame rate.

        Returns:
            ``(prediction, sampled)``: the prediction, and the frames that were read, ``None`` if the model takes none.

        Raises:
            UserError: As :meth:`predict_files`.
        """
        if estimation is None:
            if poses is not None:
                request.require_video(self.definition())  # before the whole video is read
                pose_fps = pose_fps or VideoFrames(path).known_fps
            sampled = self.read_video(path)
            return self.predict(sampled.frames, poses, pose_fps=pose_fps or FPS), sampled
        video = VideoFrames(path, threads=True)
        rate = pose_fps or video.known_fps or FPS
        span = None  # poses are estimated over the whole recording, as in training
        if self.inputs is not None and not estimation.poses:  # boxes are needed for the sampled part alone
            span = clips.sampled_span(video, self.inputs)
        found, boxes = estimation.of_video(video, path, span)
        if estimation.poses:
            poses, rate = found.xyz, video.known_fps or FPS
        if not estimation.takes_video:
            return self.predict(None, poses, pose_fps=rate), None
        sampled = self.read_video(path, boxes, estimation.size)
        return self.predict(sampled.frames, poses, pose_fps=rate), sampled

    def read_video(
        self, path: str | os.PathLike, boxes: Mapping[str, np.ndarray] | None = None, size: int = SIZE
    ) -> Sampled:
        """Reads a video file, only as far as the model needs it.

        Args:
            path: The file's path.
            boxes: As for :func:`serving.client.clips.read_sampled`.
            size: As for that function.

        Returns:
            A :class:`serving.client.clips.Sampled`, whose ``frames`` :meth:`predict` takes. If the export does not
            state its inputs, it has all frames of the video.

        Raises:
            UserError: The file cannot be read.
        """
        if self.inputs is not None and request.takes_video(self.definition(signatures.DEFAULT)):
            return clips.read_sampled(path, self.inputs, boxes, size)
        frames = clips.read_cut(path, boxes, size) if boxes else clips.read_video(path)
        length = len(next(iter(frames.values())) if isinstance(frames, dict) else frames)
        return Sampled(frames, np.arange(length), first=0, count=length)

    def predict_clip(self, clip: schema.Clip) -> Prediction:
        """Classifies a clip of a converted dataset, a :class:`tfrecords.schema.Clip`, as evaluation does.

        Returns:
            A :class:`serving.client.Prediction`.

        Raises:
            UserError: The clip lacks what the model needs.
        """
        if self.inputs is not None and self.inputs.poses_alone:
            request.require_somebody(clip)
        return self._predict(signatures.EXAMPLES, request.record_tensors([schema.encode(clip)]), 1)[0]

    def definition(self, signature: str = signatures.DEFAULT) -> SignatureDef:
        """The ``SignatureDef`` of a signature; ``UserError`` if there is none of that name."""
        offered = self.servable.signature_defs
        if signature not in offered:
            raise UserError(
                f"the model {self.servable.name} has no signature {signature!r}: it takes clips of converted datasets "
                "(--record, --clip) only"
            )
        return offered[signature]

    def _predict(
        self, signature: str, tensors: Mapping[str, np.ndarray], count: int, outputs: Sequence[str] = ()
    ) -> list[Prediction]:
        from serving.savedmodel.servable import ServingError

        try:
            response = self.servable.predict_arrays(signature, tensors, ["classes", "probabilities", *outputs])
        except ServingError as error:
            raise UserError(f"{error.code.name}: the model refused the clip ({error})") from error
        try:
            return prediction.read(response, count, model=self.servable.name, signature=signature, outputs=outputs)
        except ValueError as error:
            raise UserError(
                f"{self.folder} returned no prediction of a model exported by serving.export: {error}"
            ) from None


def _inputs(folder: pathlib.Path) -> Inputs | None:
    """The model's inputs, from the run that a version folder was exported from."""
    from tfrecords.reading.pipeline import Inputs

    try:
        return Inputs.from_dict(json.loads((folder / versions.INPUTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # a SavedModel of another origin: its videos are read whole


def _of_files(arguments: argparse.Namespace) -> tuple[Prediction, Sampled | None]:
    """The prediction for files, and what was sampled of the video; files are opened before the model is loaded."""
    given = clips.read_pose_file(arguments.pose) if arguments.pose else None
    if arguments.video:
        VideoFrames(arguments.video)  # raises if the file is no video
    predictor = Predictor(arguments.model, arguments.runtime)
    if arguments.video:
        needed = from_arguments(arguments, predictor.definition(), predictor.inputs, given)
        poses = poses_to_send(given, needed, predictor.definition, arguments.pose)
        predicted, sampled = predictor.predict_video(arguments.video, needed, poses, given.fps if given else None)
    else:
        poses = poses_to_send(given, None, predictor.definition, arguments.pose)
        predicted, sampled = predictor.predict(None, poses, pose_fps=(given.fps if given else 0) or FPS), None
    if poses is not None:  # after the model has accepted them, so that an error stays a single line
        plausibility.warn_of_clip(arguments.pose, poses)
    if given is not None and arguments.video:
        clips.warn_of_lengths(arguments.pose, given, VideoFrames(arguments.video))
    return predicted, sampled


def _add_window_options(group) -> None:
    sliding_window.add_arguments(group)
    group.add_argument(
        "--share-computation",
        action="store_true",
        default=None,
        help="compute I3D once for overlapping windows, for a model exported with --share-computation: faster, but "
        "predictions differ",
    )


def _check_windows(arguments: argparse.Namespace) -> None:
    """Raises ``UserError`` for options that lack another option or contradict it."""
    if arguments.window is None:
        for name in ("stride", "smooth", "pose_fps", "share_computation"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} needs --window, the length of each classified window")
    elif not arguments.video or arguments.picture:
        raise UserError("--window is for --video, without --picture")


def _predict_windows(arguments: argparse.Namespace) -> None:
    """Prints each window, and at the end the time line, also after ctrl-C or an error."""
    given = clips.read_pose_file(arguments.pose) if arguments.pose else None
    video = VideoFrames(arguments.video, threads=True)
    plan = Plan.of(arguments.window, arguments.stride, fps=video.fps)
    smooth = None if arguments.smooth is None else smoothing.parse(arguments.smooth)
    predictor = Predictor(arguments.model, arguments.runtime)
    needed = from_arguments(arguments, predictor.definition(), predictor.inputs, given)
    rows = long_video.predict(
        predictor,
        video,
        plan,
        poses=poses_to_send(given, needed, predictor.definition, arguments.pose),
        pose_fps=arguments.pose_fps or clips.pose_rate(given, plan.fps),
        estimation=needed,
        smooth=smooth,
        share_computation=bool(arguments.share_computation),
    )
    printing.print_rows(rows, printing.printer(arguments.format, arguments.top, sys.stdout))
    if given is not None:
        clips.warn_of_lengths(arguments.pose, given, video, arguments.pose_fps)


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="python -m serving.predict", description="Classify a clip with an exported model, without a server."
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="PATH",
        help="exported model: BASE/<model>/<version>, or BASE/<model> for its newest version",
    )
    parser.add_argument(
        "--runtime",
        type=runtime_name,
        metavar="NAME|ADDRESS",
        help=f"what runs the network: {', '.join(RUNTIMES)}, or a server of the open inference protocol that has "
        "loaded the version, http://HOST:PORT or grpc://HOST:PORT; default: that of the model's format",
    )
    clips.add_arguments(parser)
    add_arguments(parser)
    _add_window_options(parser.add_argument_group("long video"))
    parser.add_argument("--top", type=positive(int), default=5, help="number of classes to print")
    parser.add_argument("--format", choices=printing.FORMATS, default="table", help="format of the output")
    parser.add_argument("--picture", metavar="FILE", help="draw frames of --video and the classes shown, as .png")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command_line.quiet_tensorflow()
    arguments = _parser().parse_args(argv)
    if bool(arguments.record) != bool(arguments.clip):
        raise UserError("--record and --clip belong together: the dataset, and the id of a clip in it")
    if bool(arguments.record) == bool(arguments.video or arguments.pose):
        raise UserError("give a clip: either --video and/or --pose, or --record and --clip")
    if arguments.picture:
        if not arguments.video:
            raise UserError("--picture draws frames of a video: give --video")
        picture.check(arguments.picture)
    _check_windows(arguments)
    if arguments.window is not None:
        _predict_windows(arguments)
        return 0
    if arguments.record:
        (clip,) = clips.read_records(arguments.record, [arguments.clip])
        predicted, sampled = Predictor(arguments.model, arguments.runtime).predict_clip(clip), None
    else:
        predicted, sampled = _of_files(arguments)
    printing.printer(arguments.format, arguments.top, sys.stdout).prediction(predicted)
    window = sampled.window if sampled else ""
    if sampled and window:
        print(
            f"notice: {arguments.video} is longer than a clip, this is the prediction of its middle: {window}; "
            f"for all of it add --window {sampled.length}",
            file=sys.stderr,
        )
    if arguments.picture:
        title = ", ".join(filter(None, (pathlib.Path(arguments.video).name, window)))
        seen = sampled.seen if sampled else clips.read_spread(arguments.video, picture.FRAMES)  # takes poses alone
        picture.save(picture.draw(seen, predicted, top=arguments.top, title=title), arguments.picture)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
