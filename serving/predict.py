"""Says what a clip shows without a server: from a SavedModel, by the graph that a server would run.

``python -m serving.predict --model BASE/<model>[/<version>] --video FILE --pose FILE``

The request is made as :mod:`serving.client` makes it and checked as :mod:`serving.server` checks it. Only the frames of
a video travel nowhere, so they are not compressed to JPEG first.
"""

import pathlib
import sys

import numpy as np

from serving import client, signatures, versions
from tfrecords import command_line, schema
from tfrecords.errors import UserError


class Predictor:
    """A SavedModel to ask in this process.

    Args:
        path: ``BASE/<model>``, whose newest version is taken, or ``BASE/<model>/<version>``.

    Raises:
        UserError: No such folder, no version in it, or one that cannot be loaded.

    Attributes:
        servable: The loaded :class:`serving.servable.Servable`.

    Example:
        >>> predictor = Predictor("models/separable_sta")  # doctest: +SKIP
        >>> predictor.predict(frames=frames, poses=poses).labels[0]  # doctest: +SKIP
        'drink'
    """

    def __init__(self, path):
        from serving.servable import Servable

        path = pathlib.Path(path)
        if not (path / versions.SAVED_MODEL).exists():
            path = list(versions.require(path).values())[-1]
        version = int(path.name) if path.name.isdecimal() else 0  # 0: a SavedModel that lies anywhere
        try:
            self.servable = Servable(path.absolute().parent.name, version, path)
        except ValueError as error:
            raise UserError(f"{error}; export the model again") from error

    def predict(self, frames=None, poses=None, *, signature=signatures.DEFAULT):
        """Classifies a clip given as :meth:`serving.client.Client.predict` takes it.

        Args:
            frames: The clip's pictures.
            poses: Its poses.
            signature: ``serving_default`` or ``serve_jpeg``.

        Returns:
            A :class:`serving.client.Prediction`.

        Raises:
            UserError: The clip lacks what the model needs, or does not fit it.
        """
        frames = frames if isinstance(frames, dict) or frames is None else {"full_body": frames}
        return self._ask(signature, client._tensors(signature, self._definition(signature), frames or {}, poses))

    def predict_clip(self, clip):
        """Classifies a clip of a converted dataset, a :class:`tfrecords.schema.Clip`, as evaluation sees it.

        Returns:
            A :class:`serving.client.Prediction`.

        Raises:
            UserError: The clip lacks what the model needs.
        """
        return self._ask(signatures.EXAMPLES, {signatures.RECORDS: np.array([schema.encode(clip)], object)})

    def _definition(self, signature):
        offered = self.servable.signature_defs
        if signature not in offered:
            raise UserError(
                f"the model {self.servable.name} has no signature {signature!r}: it takes clips of converted datasets "
                "(--record, --clip) only"
            )
        return offered[signature]

    def _ask(self, signature, tensors):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        from serving.servable import Refused

        self._definition(signature)
        request = predict_pb2.PredictRequest(output_filter=["classes", "probabilities"])
        request.model_spec.signature_name = signature
        for name, tensor in tensors.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
        try:
            response = self.servable.predict(request)
        except Refused as refusal:
            raise UserError(f"{refusal.code.name}: the model refused the clip ({refusal})") from refusal
        labels = [label.decode() for label in tf.make_ndarray(response.outputs["classes"])[0]]
        probabilities = tf.make_ndarray(response.outputs["probabilities"])[0]
        order = np.argsort(-probabilities, kind="stable")
        return client.Prediction(
            model=self.servable.name,
            version=self.servable.version,
            signature=signature,
            labels=tuple(labels[index] for index in order),
            probabilities=tuple(float(probabilities[index]) for index in order),
        )


def main(argv=None):
    """The command line."""
    parser = command_line.ArgumentParser(
        prog="python -m serving.predict", description="Say what a clip shows, from a SavedModel, without a server."
    )
    parser.add_argument("--model", required=True, metavar="PATH", help="BASE/<model> (its newest version) or a version")
    parser.add_argument("--video", metavar="FILE", help="video file")
    parser.add_argument("--pose", metavar="FILE", help="poses in metres: .npy, .npz or N-UCLA's .json")
    parser.add_argument("--record", metavar="PATH", help="converted dataset, or a shard of it, instead of files")
    parser.add_argument("--clip", metavar="ID", help="the clip to take from --record")
    parser.add_argument("--top", type=client.positive(int), default=5, help="how many classes to show")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    arguments = parser.parse_args(argv)
    if bool(arguments.record) != bool(arguments.clip):
        raise UserError("--record and --clip belong together: the dataset, and the id of a clip in it")
    if bool(arguments.record) == bool(arguments.video or arguments.pose):
        raise UserError("give a clip: either --video and/or --pose, or --record and --clip")
    if arguments.record:
        (clip,) = client.read_records(arguments.record, [arguments.clip])
        prediction = Predictor(arguments.model).predict_clip(clip)
    else:
        frames = client.read_video(arguments.video) if arguments.video else None
        poses = client.read_poses(arguments.pose) if arguments.pose else None
        prediction = Predictor(arguments.model).predict(frames, poses)
    if arguments.json:
        print(client._json(prediction, arguments.top))
    else:
        print("\n".join(client._table(prediction, arguments.top)))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
