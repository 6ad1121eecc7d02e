"""Asks a server (TF-Serving, or :mod:`serving.server`) what a clip shows: a Python class and a command.

``python -m serving.client --server HOST:PORT --model NAME --video FILE --pose FILE``

A clip is a video file and a pose file, arrays, or a clip of a converted dataset. Frames travel as JPEG where the model
takes them so, which is 12 to 32 times less than raw pixels; everything else (choice of frames, cropping, resizing,
normalisation) happens in the served graph.
"""

import dataclasses
import json
import os
import pathlib
import sys

import numpy as np

from serving import signatures
from tfrecords import command_line, schema, storage
from tfrecords.errors import UserError

JPEG_QUALITY = 95
_UNLIMITED = -1  # message size: gRPC's own default of 4 MB is less than a clip


class RequestFailed(UserError):
    """A request that the server, or the way to it, did not answer.

    Attributes:
        code: The ``grpc.StatusCode``.
    """

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of a clip.

    Attributes:
        model: The model's name.
        version: The version that answered.
        signature: The signature that was asked.
        labels: Class names, the most probable first.
        probabilities: Their probabilities.
    """

    model: str
    version: int
    signature: str
    labels: tuple
    probabilities: tuple


class Client:
    """A connection to one served model; usable from several threads.

    Args:
        address: ``HOST:PORT``.
        model: The model's name.
        signature: Signature to ask; default: ``serve_jpeg`` where the model has it, else ``serving_default``.
        version: Version to ask; default: the newest.
        timeout: Seconds after which a request is given up.

    Example:
        >>> with Client("127.0.0.1:8500", "separable_sta") as client:  # doctest: +SKIP
        ...     prediction = client.predict(frames=frames, poses=poses)
        >>> prediction.labels[0], prediction.probabilities[0]  # doctest: +SKIP
        ('drink', 0.93)
    """

    def __init__(self, address, model, *, signature=None, version=None, timeout=60.0):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.address = address
        self.model = model
        self.signature = signature
        self.version = version
        self.timeout = timeout
        limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        self._channel = grpc.insecure_channel(address, options=[(limit, _UNLIMITED) for limit in limits])
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._known = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def signatures(self):
        """Signature name -> ``SignatureDef`` of the served model; asked once.

        Raises:
            RequestFailed: No such model, or no answer.
        """
        from tensorflow_serving.apis import get_model_metadata_pb2

        if self._known is None:
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            self._address(request.model_spec)
            response = self._call(self._service.GetModelMetadata, request)
            found = get_model_metadata_pb2.SignatureDefMap()
            response.metadata["signature_def"].Unpack(found)
            self._known = dict(found.signature_def)
        return self._known

    def predict(self, frames=None, poses=None):
        """Classifies one clip.

        Args:
            frames: The clip's pictures: ``[T, H, W, 3]`` uint8 RGB, or T JPEG files as ``bytes``. For a model that
                takes several body parts, a dictionary from part to pictures.
            poses: ``[Tp, M, J, 3]`` (or ``[Tp, J, 3]``: one person) in metres, in the camera's coordinates; an absent
                person is all zeros. Fewer persons than the model takes are made up with absent ones.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: The clip lacks what the model needs, or does not fit it.
            RequestFailed: The server did not answer, or refused the request.
        """
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        name, definition = self._definition()
        frames = frames if isinstance(frames, dict) or frames is None else {"full_body": frames}
        request = predict_pb2.PredictRequest(output_filter=["classes", "probabilities"])
        self._address(request.model_spec)
        request.model_spec.signature_name = name
        for alias, tensor in _tensors(name, definition, frames or {}, poses).items():
            request.inputs[alias].CopyFrom(tf.make_tensor_proto(tensor))
        response = self._call(self._service.Predict, request)
        labels = [label.decode() for label in tf.make_ndarray(response.outputs["classes"])[0]]
        probabilities = tf.make_ndarray(response.outputs["probabilities"])[0]
        order = np.argsort(-probabilities, kind="stable")
        return Prediction(
            model=response.model_spec.name or self.model,
            version=response.model_spec.version.value,
            signature=name,
            labels=tuple(labels[index] for index in order),
            probabilities=tuple(float(probabilities[index]) for index in order),
        )

    def predict_clip(self, clip):
        """Classifies a clip of a converted dataset.

        Args:
            clip: A :class:`tfrecords.schema.Clip`; what the model does not take is left out, and JPEG files travel
                untouched to a signature that takes them.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: As :meth:`predict`.
        """
        _, definition = self._definition()
        takes_video = set(definition.inputs) != {signatures.POSES}
        takes_poses = signatures.POSES in definition.inputs
        return self.predict(clip.images if takes_video else None, clip.pose_xyz if takes_poses else None)

    def _definition(self):
        """Name and ``SignatureDef`` of the signature to ask."""
        known = self.signatures()
        name = self.signature or (signatures.JPEG if signatures.JPEG in known else signatures.DEFAULT)
        offered = [signature for signature in (signatures.DEFAULT, signatures.JPEG) if signature in known]
        if name not in offered:
            raise UserError(f"the model {self.model} has no signature {name!r}, valid: {', '.join(offered) or 'none'}")
        return name, known[name]

    def _address(self, spec):
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version

    def _call(self, method, request):
        import grpc

        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise RequestFailed(self._advice(error.code(), error.details()), error.code()) from error

    def _advice(self, code, details):
        """One line: the status code, what it means here and what to do."""
        import grpc

        where = self.address
        what = self.model if self.version is None else f"{self.model} version {self.version}"
        advice = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {where}: start one, or correct the address",
            grpc.StatusCode.NOT_FOUND: f"{where} serves no {what}: correct the name or the version",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {where} in {self.timeout:g} s: allow more time",
            grpc.StatusCode.RESOURCE_EXHAUSTED: "the server, or a proxy before it, refuses a message of this size: "
            "send fewer or smaller frames, or raise its limit",
        }
        return f"{code.name}: {advice.get(code, 'the server refused the request')} ({details})"


# ------------------------------------------------------------------------------------ from a clip to a request


def _tensors(signature, definition, frames, poses):
    """Input name -> array with a batch of one, for the inputs a signature has."""
    known = {signatures.pictures_name(signature, part): part for part in schema.PARTS}
    tensors = {}
    for name, info in definition.inputs.items():
        if name in known:
            pictures = frames.get(known[name])
            if pictures is None:
                raise UserError(f"the model needs pictures of {known[name]} (input {name}): give a video")
            tensors[name] = _jpegs(pictures) if signature == signatures.JPEG else _raw(pictures)
        elif name == signatures.POSES:
            if poses is None:
                raise UserError("the model needs poses: give a pose file")
            tensors[name] = _poses(poses, [dimension.size for dimension in info.tensor_shape.dim[2:]])
        else:
            raise UserError(f"the model has an input {name!r} unknown here: it was not made by serving.export")
    for given, what, taken in ((frames, "video", known), (poses is not None, "poses", (signatures.POSES,))):
        if given and not tensors.keys() & set(taken):
            raise UserError(f"the model takes no {what}: leave it out")
    return tensors


def _jpegs(pictures):
    """``[1, T]`` strings; what is JPEG already is sent untouched."""
    if not (len(pictures) and isinstance(pictures[0], bytes)):
        pictures = [encode_jpeg(picture) for picture in _frames(pictures)]
    return np.array([pictures], dtype=object)


def _raw(pictures):
    """``[1, T, H, W, 3]`` uint8."""
    if len(pictures) and isinstance(pictures[0], bytes):
        pictures = np.stack([_decode_jpeg(picture) for picture in pictures])
    return _frames(pictures)[np.newaxis]


def _frames(pictures):
    pictures = np.asarray(pictures)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3 or not pictures.size:
        raise UserError(f"frames are {pictures.dtype} {list(pictures.shape)}, expected uint8 [T, H, W, 3] with T > 0")
    return pictures


def _poses(poses, expected):
    """``[1, Tp, M, J, 3]`` float32, absent persons added; ``expected`` is the model's [M, J, 3]."""
    poses = np.asarray(poses, np.float32)
    if poses.ndim == 3:
        poses = poses[:, np.newaxis]  # [Tp, 1, J, 3]
    persons, *joints = expected
    if poses.ndim != 4 or list(poses.shape[2:]) != joints or not poses.size:
        raise UserError(f"poses have the shape {list(poses.shape)}, the model expects [Tp, {persons}, {joints[0]}, 3]")
    if poses.shape[1] > persons:
        raise UserError(f"poses have {poses.shape[1]} persons, the model takes {persons}: choose whom it should watch")
    absent = np.zeros((len(poses), persons - poses.shape[1], *joints), np.float32)
    return np.concatenate([poses, absent], axis=1)[np.newaxis]


def encode_jpeg(picture):
    """JPEG file of an RGB picture.

    Args:
        picture: ``[H, W, 3]`` uint8.

    Returns:
        ``bytes``.

    Example:
        >>> encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:2]
        b'\\xff\\xd8'
    """
    from tfrecords import crops

    return crops.encode_jpeg(np.ascontiguousarray(picture), JPEG_QUALITY)


def _decode_jpeg(jpeg):
    import cv2

    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise UserError("a frame is not a picture that can be decoded")
    return bgr[..., ::-1]


# ------------------------------------------------------------------------------------------------- reading clips


def read_video(path):
    """All frames of a video file, upright (a telephone's rotation mark is obeyed).

    Args:
        path: Any file FFmpeg's libraries read.

    Returns:
        ``[T, H, W, 3]`` uint8, RGB.

    Raises:
        UserError: No such file, no video, damaged, or without frames.
    """
    from tfrecords.video import Video

    try:
        return np.stack([np.asarray(frame) for frame in Video(path)])
    except ValueError as error:
        folder = pathlib.Path(path).parent
        raise UserError(f"{folder / str(error)}, expected a whole video file such as .mp4 or .avi") from None


def read_poses(path):
    """3D poses from a file.

    Args:
        path: A file of one of the forms that :mod:`tfrecords.pose_files` reads.

    Returns:
        ``[T, M, J, 3]`` float32.

    Raises:
        UserError: No such file, another format, or numbers that are not finite.
    """
    from tfrecords import pose_files

    try:
        poses = pose_files.read(path).xyz
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}), expected a pose file") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    if poses is None:
        raise UserError(f"{path}: holds pixels alone, expected joints in metres (xyz)")
    if not np.isfinite(poses).all():
        raise UserError(f"{path}: holds NaN or infinity, expected metres; an absent person is all zeros")
    return poses


def read_records(path, clip_ids):
    """Clips of a converted dataset.

    Args:
        path: The dataset's folder or address, or one of its shards.
        clip_ids: Ids of the clips.

    Returns:
        The :class:`tfrecords.schema.Clip` of each id, in their order.

    Raises:
        UserError: No such dataset, shard or clip, or a damaged shard.
    """
    import tensorflow as tf

    wanted = {clip_id.encode() for clip_id in clip_ids}
    found = {}
    for shard in _shards(storage.location(path)):
        try:
            for record in tf.data.TFRecordDataset(os.fspath(shard)).as_numpy_iterator():
                if any(clip_id in record for clip_id in wanted):  # cheap; most records need not be decoded
                    clip = schema.decode(record)
                    found.setdefault(clip.info.id, clip)
        except (tf.errors.DataLossError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{shard}: no readable shard of a converted dataset ({reason})") from error
        if found.keys() >= set(clip_ids):
            break
    missing = [clip_id for clip_id in clip_ids if clip_id not in found]
    if missing:
        raise UserError(f"{path} has no clip {missing[0]}: `python -m tfrecords.inspect` shows what it holds")
    return [found[clip_id] for clip_id in clip_ids]


def _shards(path):
    from tfrecords import manifest

    if path.is_dir():
        return [path / shard["file"] for shard in manifest.shards(manifest.load(path))]
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder, expected a converted dataset or one of its shards")
    return [path]


# --------------------------------------------------------------------------------------------------- the command


def _table(prediction, top):
    """Lines of a table of the most probable classes."""
    rows = list(zip(prediction.labels, prediction.probabilities))[:top]
    width = max(len("class"), *(len(label) for label, _ in rows))
    yield f"{prediction.model} version {prediction.version}, {prediction.signature}"
    yield f"{'class':<{width}}  probability"
    yield from (f"{label:<{width}}  {probability:11.4f}" for label, probability in rows)


def _json(prediction, top):
    rows = list(zip(prediction.labels, prediction.probabilities))[:top]
    head = {"model": prediction.model, "version": prediction.version, "signature": prediction.signature}
    return json.dumps({**head, "predictions": [{"class": label, "probability": p} for label, p in rows]})


def positive(kind):
    """A number above 0, for ``argparse``."""

    def number(text):
        value = kind(text)
        if not value > 0:
            raise ValueError(text)
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def main(argv=None):
    """The command line."""
    parser = command_line.ArgumentParser(prog="python -m serving.client", description="Ask a server what a clip shows.")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="address of the server")
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    parser.add_argument("--version", type=int, help="version; default: the newest")
    parser.add_argument("--signature", choices=[signatures.DEFAULT, signatures.JPEG], help="default: JPEG if possible")
    parser.add_argument("--video", metavar="FILE", help="video file")
    parser.add_argument("--pose", metavar="FILE", help="poses in metres: .npy, .npz or N-UCLA's .json")
    parser.add_argument("--record", metavar="PATH", help="converted dataset, or a shard of it, instead of files")
    parser.add_argument("--clip", metavar="ID", help="the clip to take from --record")
    parser.add_argument("--top", type=positive(int), default=5, help="how many classes to show")
    parser.add_argument("--timeout", type=positive(float), default=60.0, help="seconds to wait for an answer")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    arguments = parser.parse_args(argv)
    if bool(arguments.record) != bool(arguments.clip):
        raise UserError("--record and --clip belong together: the dataset, and the id of a clip in it")
    if bool(arguments.record) == bool(arguments.video or arguments.pose):
        raise UserError("give a clip: either --video and/or --pose, or --record and --clip")

    if arguments.record:
        (clip,) = read_records(arguments.record, [arguments.clip])
    frames = read_video(arguments.video) if arguments.video else None
    poses = read_poses(arguments.pose) if arguments.pose else None
    client = Client(
        arguments.server,
        arguments.model,
        signature=arguments.signature,
        version=arguments.version,
        timeout=arguments.timeout,
    )
    with client:
        prediction = client.predict_clip(clip) if arguments.record else client.predict(frames, poses)
    if arguments.json:
        print(_json(prediction, arguments.top))
    else:
        print("\n".join(_table(prediction, arguments.top)))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
