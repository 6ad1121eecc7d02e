"""Says what a clip shows without a server: from a SavedModel, by the graph that a server would run.

``python -m serving.predict --model BASE/<model>[/<version>] --video FILE --pose FILE``

A clip is checked as :mod:`serving.client` and :mod:`serving.server` check it. Only it travels nowhere: it is not put
into a message, the frames of a video are not compressed to JPEG first, and of a video file no more is read than the
model looks at.
"""

import json
import pathlib
import sys

from serving.client import clips, printing, request
from serving.client import prediction as predictions
from serving.client.client import positive
from serving.savedmodel import signatures, versions
from tfrecords import schema
from zoo.shared import command_line
from zoo.shared.errors import UserError

_INPUTS = "assets/inputs.json"


class Predictor:
    """A SavedModel to ask in this process.

    Args:
        path: ``BASE/<model>``, whose newest version is taken, or ``BASE/<model>/<version>``.

    Raises:
        UserError: No such folder, no version in it, or one that cannot be loaded.

    Attributes:
        servable: The loaded :class:`serving.savedmodel.servable.Servable`.
        inputs: What the model is fed, a :class:`tfrecords.reading.pipeline.Inputs`; ``None`` where the export does not
            say it.

    Example:
        >>> predictor = Predictor("models/separable_sta")  # doctest: +SKIP
        >>> predictor.predict(frames=frames, poses=poses).labels[0]  # doctest: +SKIP
        'drink'
    """

    def __init__(self, path):
        from serving.savedmodel.servable import Servable

        path = pathlib.Path(path)
        if not (path / versions.SAVED_MODEL).exists():
            path = list(versions.require(path).values())[-1]
        version = int(path.name) if path.name.isdecimal() else 0  # 0: a SavedModel that lies anywhere
        try:
            self.servable = Servable(path.absolute().parent.name, version, path)
        except ValueError as error:
            raise UserError(f"{error}; export the model again") from error
        self.inputs = _inputs(path)

    def predict(self, frames=None, poses=None, *, signature=signatures.DEFAULT):
        """Classifies a clip given as :meth:`serving.client.Client.predict` takes it.

        Args:
            frames: The clip's pictures.
            poses: Its poses.
            signature: ``serving_default`` or ``serve_jpeg``.

        Returns:
            A :class:`serving.client.prediction.Prediction`.

        Raises:
            UserError: The clip lacks what the model needs, or does not fit it.
        """
        return self._ask(signature, request.clip_tensors(self._definition(signature), [(frames, poses)]))

    def predict_files(self, video=None, poses=None):
        """Classifies a clip whose pictures are a video file; reads no more of it than the model looks at.

        Args:
            video: The file's path.
            poses: As for :meth:`predict`.

        Returns:
            A :class:`serving.client.prediction.Prediction`.

        Raises:
            UserError: The file cannot be read, or as for :meth:`predict`.
        """
        takes_video = request.takes_video(self._definition(signatures.DEFAULT))
        if video is None or not takes_video or self.inputs is None:
            return self.predict(clips.read_video(video) if video else None, poses)
        return self.predict(clips.read_seen(video, self.inputs), poses)

    def predict_clip(self, clip):
        """Classifies a clip of a converted dataset, a :class:`tfrecords.schema.Clip`, as evaluation sees it.

        Returns:
            A :class:`serving.client.prediction.Prediction`.

        Raises:
            UserError: The clip lacks what the model needs.
        """
        return self._ask(signatures.EXAMPLES, request.record_tensors([schema.encode(clip)]))

    def _definition(self, signature):
        offered = self.servable.signature_defs
        if signature not in offered:
            raise UserError(
                f"the model {self.servable.name} has no signature {signature!r}: it takes clips of converted datasets "
                "(--record, --clip) only"
            )
        return offered[signature]

    def _ask(self, signature, tensors):
        from serving.savedmodel.servable import Refused

        try:
            response = self.servable.predict_arrays(signature, tensors, ["classes", "probabilities"])
        except Refused as refusal:
            raise UserError(f"{refusal.code.name}: the model refused the clip ({refusal})") from refusal
        (prediction,) = predictions.read(response, 1, model=self.servable.name, signature=signature)
        return prediction


def _inputs(path):
    """What the model of a version folder is fed, as the run it was exported from says."""
    from tfrecords.reading.pipeline import Inputs

    try:
        return Inputs.from_dict(json.loads((path / _INPUTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # a SavedModel of another origin: its videos are read whole


def main(argv=None):
    """The command line."""
    parser = command_line.ArgumentParser(
        prog="python -m serving.predict", description="Say what a clip shows, from a SavedModel, without a server."
    )
    parser.add_argument("--model", required=True, metavar="PATH", help="BASE/<model> (its newest version) or a version")
    parser.add_argument("--video", metavar="FILE", help="video file")
    parser.add_argument("--pose", metavar="FILE", help="poses in metres: .npy, .npz, .csv or N-UCLA's .json")
    parser.add_argument("--record", metavar="PATH", help="converted dataset, or a shard of it, instead of files")
    parser.add_argument("--clip", metavar="ID", help="the clip to take from --record")
    parser.add_argument("--top", type=positive(int), default=5, help="how many classes to show")
    parser.add_argument("--format", choices=printing.FORMATS, default="table", help="of what is printed")
    arguments = parser.parse_args(argv)
    if bool(arguments.record) != bool(arguments.clip):
        raise UserError("--record and --clip belong together: the dataset, and the id of a clip in it")
    if bool(arguments.record) == bool(arguments.video or arguments.pose):
        raise UserError("give a clip: either --video and/or --pose, or --record and --clip")
    if arguments.record:
        (clip,) = clips.read_records(arguments.record, [arguments.clip])
        prediction = Predictor(arguments.model).predict_clip(clip)
    else:
        poses = clips.read_poses(arguments.pose) if arguments.pose else None
        prediction = Predictor(arguments.model).predict_files(arguments.video, poses)
    printing.printer(arguments.format, arguments.top, sys.stdout).prediction(prediction)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
