"""Asks a server (TF-Serving, or :mod:`serving.server`) what a clip shows: Python classes and a command.

``python -m serving.client --server HOST:PORT --model NAME --video FILE --pose FILE``

A clip is a video file and a pose file, arrays, or a clip of a converted dataset. Frames travel as JPEG where the model
takes them so, which is 12 to 32 times less than raw pixels; everything else (choice of frames, cropping, resizing,
normalisation) happens in the served graph.

::

    clips, streams ──► request ──► connection (gRPC) or rest_client ──► prediction ──► sliding_window ──► printing
"""

import asyncio
import os
import sys
import time
import urllib.parse

from serving.client import prediction, printing, request, sliding_window
from serving.client.clips import encode_jpeg, read_poses, read_records, read_video
from serving.client.connection import AsyncGrpcConnection, Attempts, Fault, GrpcConnection
from serving.client.credentials import Tls, fault
from serving.client.prediction import Prediction
from serving.client.rest_client import AsyncRestConnection, RestConnection, is_address
from serving.savedmodel import signatures
from tfrecords import schema
from zoo.shared import command_line
from zoo.shared.errors import UserError

__all__ = [
    "AsyncClient", "Client", "Prediction", "RequestFailed", "Tls",
    "encode_jpeg", "read_poses", "read_records", "read_video",
]  # fmt: skip

TIMEOUT = 60.0  # seconds
LONGEST_TIMEOUT = 2**31 // 1000  # seconds: sockets count milliseconds in 32 bits
LAST_VERSION = 2**63 - 1  # what a message can hold
RETRIES = 4  # 0.8 to 1.5 seconds of pauses: a lost connection, not a server that is starting
LARGEST_MB = 2048
IDLE_SECONDS = 5.0


class RequestFailed(UserError):
    """A request that the server, or the way to it, did not answer.

    Attributes:
        code: The ``grpc.StatusCode``.
    """

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


class _Questions:
    """What both clients share: everything but waiting."""

    def __init__(
        self,
        address,
        model,
        *,
        signature=None,
        version=None,
        version_label=None,
        timeout=TIMEOUT,
        retries=RETRIES,
        tls=None,
        max_message_bytes=request.LARGEST,
    ):
        if version is not None and version_label is not None:
            raise UserError("a version or a version label, not both")
        if version is not None and not 0 <= version <= LAST_VERSION:
            raise UserError(f"version {version}: expected 0 to {LAST_VERSION}")
        if not timeout <= LONGEST_TIMEOUT:
            raise UserError(f"a timeout of {timeout:g} s: expected at most {LONGEST_TIMEOUT}")
        if tls and address.startswith("http://"):
            raise UserError(f"{address}: TLS is https://, use that")
        self.address = address
        self.model = model
        self.signature = signature
        self.version = version
        self.version_label = version_label
        self.timeout = timeout
        self._retries = retries
        self._tls = tls
        self._limit = min(max_message_bytes, request.LARGEST)
        self._connection = self._connect()
        self._known = None

    def _connect(self):
        grpc_kind, rest_kind = self._connections
        return (rest_kind if is_address(self.address) else grpc_kind)(self.address, self._tls, self._limit)

    def _attempts(self):
        return Attempts(self.timeout, self._retries)

    # ---- requests

    def _spec(self, spec):
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        if self.version_label is not None:
            spec.version_label = self.version_label

    def _metadata_request(self):
        from tensorflow_serving.apis import get_model_metadata_pb2

        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._spec(asked.model_spec)
        return asked

    def _definition(self, known, name=None):
        """Name and ``SignatureDef`` of the signature to ask."""
        name = name or self.signature or (signatures.JPEG if signatures.JPEG in known else signatures.DEFAULT)
        if name not in known:
            offered = ", ".join(sorted(signature for signature in known if not signature.startswith("__")))
            raise UserError(f"the model {self.model} has no signature {name!r}, valid: {offered or 'none'}")
        return name, known[name]

    def _predict_request(self, name, definition, tensors, outputs):
        asked = request.predict_request(name, definition, tensors, tuple(outputs), self._limit)
        self._spec(asked.model_spec)
        return asked

    def _clips_of(self, frames, poses):
        """``(frames, poses)`` of each clip of a batch."""
        counts = {len(values) for values in (frames, poses) if values is not None}
        if len(counts) != 1:
            raise UserError("give frames or poses, or both for equally many clips")
        (count,) = counts
        return list(zip([None] * count if frames is None else frames, [None] * count if poses is None else poses))

    # ---- answers

    def _signatures_of(self, response):
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis import get_model_metadata_pb2

        found = get_model_metadata_pb2.SignatureDefMap()
        try:
            there = response.metadata["signature_def"].Unpack(found)
        except DecodeError:
            there = False
        if not there or not found.signature_def:
            raise self._garbage("no signatures in the model's metadata")
        return dict(found.signature_def)

    def _predictions(self, response, clips, name, outputs):
        try:
            return prediction.read(
                response, clips, model=self.model, signature=name, version=self.version, outputs=tuple(outputs)
            )
        except ValueError as error:
            raise self._garbage(str(error)) from None

    # ---- faults

    def _garbage(self, reason):
        import grpc

        text = f"INTERNAL: {self.address} gave no prediction of a model made by serving.export: {reason}"
        return RequestFailed(text, grpc.StatusCode.INTERNAL)

    def _failed(self, failure):
        """:class:`RequestFailed` of a :class:`serving.client.connection.Fault`."""
        import grpc

        advice = self._tls_advice() if failure.code == grpc.StatusCode.UNAVAILABLE else None
        return RequestFailed(self._advice(failure.code, failure.details, advice), failure.code)

    def _tls_advice(self):
        """What is wrong about certificates, if that is why there was no connection."""
        rest = is_address(self.address)
        try:
            parts = urllib.parse.urlsplit(self.address if rest else f"//{self.address}")
            host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return None
        tls = self._tls or (Tls() if parts.scheme == "https" else None)
        return fault(host, port, tls, "http/1.1" if rest else "h2") if host else None

    def _advice(self, code, details, tls_advice=None):
        """One line: the status code, what it means here and what to do."""
        import grpc

        where = self.address
        what = self.model
        if self.version is not None or self.version_label is not None:
            what += f" version {self.version if self.version is not None else self.version_label}"
        advice = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {where}: start one, or correct the address",
            grpc.StatusCode.NOT_FOUND: f"{where} serves no {what}: correct the name or the version",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {where} in {self.timeout:g} s: allow more time",
            grpc.StatusCode.RESOURCE_EXHAUSTED: "the server, or a proxy before it, refuses a message of this size: "
            "send fewer or smaller frames, or raise its limit",
            grpc.StatusCode.INTERNAL: f"{where} failed, or is no TF-Serving",
        }
        said = tls_advice or advice.get(code, "the server refused the request")
        return f"{code.name}: {said} ({details})"


class Client(_Questions):
    """A connection to one served model; usable from several threads.

    Args:
        address: ``HOST:PORT`` for gRPC; ``http://HOST:PORT`` or ``https://HOST:PORT`` for REST.
        model: The model's name.
        signature: Signature to ask; default: ``serve_jpeg`` where the model has it, else ``serving_default``.
        version: Version to ask; default: the newest.
        version_label: Label of the version to ask, such as ``stable``, in place of its number.
        timeout: Seconds after which a request is given up, all its attempts together; at most 24 days.
        retries: Further attempts after one that was answered UNAVAILABLE; 0.1 seconds later at first, then twice as
            long each time.
        tls: A :class:`serving.client.credentials.Tls`; default: no encryption, and the usual authorities for ``https``.
        max_message_bytes: Bytes that a message may have, either way; by default 2 GiB, as much as there can be.

    Raises:
        UserError: Arguments that contradict one another, an address that is none, or a number out of its range.

    Example:
        >>> with Client("127.0.0.1:8500", "separable_sta") as client:  # doctest: +SKIP
        ...     answer = client.predict(frames=frames, poses=poses)
        >>> answer.labels[0], answer.probabilities[0]  # doctest: +SKIP
        ('drink', 0.93)
    """

    _connections = GrpcConnection, RestConnection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connection."""
        self._connection.close()

    def signatures(self):
        """Signature name -> ``SignatureDef`` of the served model; asked once.

        Raises:
            RequestFailed: No such model, or no answer.
        """
        if self._known is None:
            self._known = self._signatures_of(self._call("GetModelMetadata", self._metadata_request()))
        return self._known

    def takes_jpegs(self):
        """Whether the signature to ask takes pictures as JPEG files."""
        return request.takes_jpegs(self._definition(self.signatures())[1])

    def predict(self, frames=None, poses=None, outputs=()):
        """Classifies one clip.

        Args:
            frames: The clip's pictures: ``[T, H, W, 3]`` uint8 RGB, or an iterable of such pictures or of JPEG files as
                ``bytes``. For a model that takes several body parts, a dictionary from part to pictures.
            poses: ``[Tp, M, J, 3]`` (or ``[Tp, J, 3]``: one person) in metres, in the camera's coordinates; an absent
                person is all zeros. Fewer persons than the model takes are made up with absent ones.
            outputs: Names of further outputs of the signature, such as attention maps.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: The clip lacks what the model needs, or does not fit it, or there is no such output.
            RequestFailed: The server did not answer, or refused the request.
        """
        return self._ask_clips([(frames, poses)], outputs)[0]

    def predict_batch(self, frames=None, poses=None, outputs=()):
        """Classifies several clips with one request.

        Args:
            frames: The ``frames`` of each clip, as :meth:`predict` takes them; as many frames in each, and of the same
                size where they travel raw.
            poses: The ``poses`` of each clip, equally many in each.
            outputs: As for :meth:`predict`.

        Returns:
            A :class:`Prediction` of each.

        Raises:
            UserError: As :meth:`predict`; also clips that differ in length or size.
        """
        return self._ask_clips(self._clips_of(frames, poses), outputs)

    def predict_record(self, record, outputs=()):
        """Classifies a serialised record of a converted dataset, by the signature ``serve_examples``.

        Args:
            record: Its bytes, a ``tf.train.SequenceExample`` of :mod:`tfrecords.schema`.
            outputs: As for :meth:`predict`.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: The model has no such signature; and as :meth:`predict`.
        """
        name, definition = self._definition(self.signatures(), signatures.EXAMPLES)
        return self._ask(name, definition, request.record_tensors([record]), 1, outputs)[0]

    def predict_clip(self, clip, outputs=()):
        """Classifies a clip of a converted dataset.

        Args:
            clip: A :class:`tfrecords.schema.Clip`; what the model does not take is left out, and JPEG files travel
                untouched to a signature that takes them.
            outputs: As for :meth:`predict`.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: As :meth:`predict`.
        """
        name, definition = self._definition(self.signatures())
        return self._ask(name, definition, _clip_tensors(definition, clip), 1, outputs)[0]

    def _ask_clips(self, clips, outputs):
        name, definition = self._definition(self.signatures())
        return self._ask(name, definition, request.clip_tensors(definition, clips), len(clips), outputs)

    def _ask(self, name, definition, tensors, clips, outputs):
        response = self._call("Predict", self._predict_request(name, definition, tensors, outputs))
        return self._predictions(response, clips, name, outputs)

    def _call(self, method, asked):
        attempts = self._attempts()
        while True:
            try:
                return self._connection.call(method, asked, attempts.remaining())
            except Fault as failure:
                pause = attempts.pause(failure.code)
                if pause is None:
                    raise self._failed(failure) from failure
            time.sleep(pause)


class AsyncClient(_Questions):
    """:class:`Client` for ``asyncio``: the same arguments and methods, to be awaited.

    It belongs to the event loop of its first request.

    Example:
        >>> async def ask(clips):
        ...     async with AsyncClient("127.0.0.1:8500", "separable_sta") as client:
        ...         return await asyncio.gather(*(client.predict(*clip) for clip in clips))
    """

    _connections = AsyncGrpcConnection, AsyncRestConnection

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        """Closes the connection."""
        await self._connection.close()

    async def signatures(self):
        """As :meth:`Client.signatures`."""
        if self._known is None:
            self._known = self._signatures_of(await self._call("GetModelMetadata", self._metadata_request()))
        return self._known

    async def takes_jpegs(self):
        """As :meth:`Client.takes_jpegs`."""
        return request.takes_jpegs(self._definition(await self.signatures())[1])

    async def predict(self, frames=None, poses=None, outputs=()):
        """As :meth:`Client.predict`."""
        return (await self._ask_clips([(frames, poses)], outputs))[0]

    async def predict_batch(self, frames=None, poses=None, outputs=()):
        """As :meth:`Client.predict_batch`."""
        return await self._ask_clips(self._clips_of(frames, poses), outputs)

    async def predict_record(self, record, outputs=()):
        """As :meth:`Client.predict_record`."""
        name, definition = self._definition(await self.signatures(), signatures.EXAMPLES)
        return (await self._ask(name, definition, request.record_tensors([record]), 1, outputs))[0]

    async def predict_clip(self, clip, outputs=()):
        """As :meth:`Client.predict_clip`."""
        name, definition = self._definition(await self.signatures())
        return (await self._ask(name, definition, _clip_tensors(definition, clip), 1, outputs))[0]

    async def _ask_clips(self, clips, outputs):
        name, definition = self._definition(await self.signatures())
        return await self._ask(name, definition, request.clip_tensors(definition, clips), len(clips), outputs)

    async def _ask(self, name, definition, tensors, clips, outputs):
        response = await self._call("Predict", self._predict_request(name, definition, tensors, outputs))
        return self._predictions(response, clips, name, outputs)

    async def _call(self, method, asked):
        attempts = self._attempts()
        while True:
            try:
                return await self._connection.call(method, asked, attempts.remaining())
            except Fault as failure:
                pause = attempts.pause(failure.code)
                if pause is None:
                    raise await asyncio.to_thread(self._failed, failure) from failure
            await asyncio.sleep(pause)


def _clip_tensors(definition, clip):
    """Input name -> array with a batch of one, for a clip of a converted dataset."""
    if request.takes_records(definition):
        return request.record_tensors([schema.encode(clip)])
    frames = clip.images if request.takes_video(definition) else None
    poses = clip.pose_xyz if request.takes_poses(definition) else None
    return request.clip_tensors(definition, [(frames, poses)])


# --------------------------------------------------------------------------------------------------- the command


def positive(kind):
    """A number above 0, for ``argparse``."""

    def number(text):
        value = kind(text)
        if not value > 0:
            raise ValueError(text)
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def not_negative(text):
    """An integer from 0, for ``argparse``."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _parser():
    parser = command_line.ArgumentParser(prog="python -m serving.client", description="Ask a server what a clip shows.")
    asked = parser.add_argument_group("whom to ask")
    asked.add_argument(
        "--server", required=True, metavar="ADDRESS", help="HOST:PORT (gRPC), http:// or https://HOST:PORT (REST)"
    )
    asked.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    asked.add_argument("--version", type=int, metavar="N", help="version; by default the newest")
    asked.add_argument("--version-label", metavar="LABEL", help="label of a version, such as stable")
    asked.add_argument("--signature", metavar="NAME", help="by default serve_jpeg where the model has it")
    asked.add_argument("--tls", action="store_true", help="speak TLS; the next three imply it")
    asked.add_argument("--ca", metavar="FILE", help="authority of the server's certificate (PEM)")
    asked.add_argument("--cert", metavar="FILE", help="the client's own certificate (PEM)")
    asked.add_argument("--key", metavar="FILE", help="its private key (PEM)")
    asked.add_argument("--timeout", type=positive(float), default=TIMEOUT, help="seconds to wait for an answer")
    asked.add_argument(
        "--retries", type=not_negative, default=RETRIES, metavar="N", help="further attempts after UNAVAILABLE"
    )
    asked.add_argument(
        "--max-message-mb", type=positive(float), default=LARGEST_MB, metavar="MB", help="largest message, either way"
    )
    clip = parser.add_argument_group("a clip")
    clip.add_argument("--video", metavar="FILE", help="video file")
    clip.add_argument("--pose", metavar="FILE", help="poses in metres: .npy, .npz, .json or .csv")
    clip.add_argument("--record", metavar="PATH", help="converted dataset, or a shard of it, instead of files")
    clip.add_argument("--clip", metavar="ID", help="the clip to take from --record")
    long = parser.add_argument_group("long video and streams")
    long.add_argument("--frames", metavar="FOLDER", help="folder in which pictures appear, instead of --video")
    long.add_argument("--camera", metavar="SOURCE", help="number or address of a camera, instead of --video")
    long.add_argument("--window", metavar="LENGTH", help="slide a window over it: frames such as 64, or seconds: 2.5s")
    long.add_argument("--stride", metavar="LENGTH", help="from window to window; by default half a window")
    # No defaults here: what is given without --window is refused.
    long.add_argument("--smooth", metavar="HOW", help="none (the default), mean:WINDOWS or exponential:WEIGHT")
    long.add_argument("--fps", type=positive(float), help="frames (or poses alone) per second; by default the file's")
    long.add_argument("--pose-fps", type=positive(float), help="poses per second; by default as many as frames")
    long.add_argument(
        "--idle",
        type=positive(float),
        metavar="S",
        help=f"end of --frames without new ones; by default {IDLE_SECONDS:g}",
    )
    long.add_argument(
        "--in-flight",
        type=positive(int),
        metavar="N",
        help=f"requests at once; by default {sliding_window.IN_FLIGHT}",
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--top", type=positive(int), default=5, metavar="N", help="how many classes")
    shown.add_argument("--format", choices=printing.FORMATS, default="table", help="JSON has a line for each answer")
    shown.add_argument(
        "--outputs",
        default="",
        metavar="NAMES",
        help="further outputs, comma-separated; JSON has their values",
    )
    return parser


def _check(arguments):
    """Options that contradict one another, or are too much."""
    if arguments.max_message_mb > LARGEST_MB:
        raise UserError(f"--max-message-mb {arguments.max_message_mb:g}: expected at most {LARGEST_MB}")
    if bool(arguments.record) != bool(arguments.clip):
        raise UserError("--record and --clip belong together: the dataset, and the id of a clip in it")
    streams = [name for name in ("video", "frames", "camera") if getattr(arguments, name) is not None]
    if len(streams) > 1:
        raise UserError(f"--{streams[0]} or --{streams[1]}, not both")
    if bool(arguments.record) == bool(streams or arguments.pose):
        raise UserError("give a clip: either --video and/or --pose, or --record and --clip")
    if arguments.window is None:
        for name in ("stride", "smooth", "fps", "pose_fps", "frames", "camera", "idle", "in_flight"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} needs --window: how long a part is classified at a time")
    elif arguments.record:
        raise UserError("--window is for --video, --frames, --camera or --pose, not for --record")
    if arguments.frames and not arguments.fps:
        raise UserError("--frames needs --fps: how many pictures a second has")
    if arguments.window is not None and not streams and not arguments.fps:
        raise UserError("--window with poses alone needs --fps: how many poses a second has")


def _stream(arguments):
    """The frames of the options, with their rate; ``None`` without a video."""
    from serving.client import streams

    if arguments.video:
        return streams.VideoFrames(arguments.video, arguments.fps)
    if arguments.frames:
        return streams.FolderFrames(arguments.frames, arguments.fps, arguments.idle or IDLE_SECONDS)
    if arguments.camera is not None:
        return streams.CameraFrames(arguments.camera, arguments.fps)
    return None


def _slide(client, frames, poses, arguments, outputs, out):
    """Prints windows as they are answered, and the time line at the end, also when it comes early."""
    plan = sliding_window.Plan.of(arguments.window, arguments.stride, fps=frames.fps if frames else arguments.fps)
    rows = sliding_window.predict(
        client,
        frames,
        plan,
        poses=poses,
        pose_fps=arguments.pose_fps,
        smooth=None if arguments.smooth is None else sliding_window.smoothing(arguments.smooth),
        in_flight=arguments.in_flight or sliding_window.IN_FLIGHT,
        outputs=outputs,
    )
    line = sliding_window.TimeLine()
    try:
        for row in rows:
            line.add(row)
            out.row(row)
    finally:
        rows.close()
        if line.segments():
            out.segments(line.segments())


def main(argv=None):
    """The command line."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a camera that is missing is told in our one line
    arguments = _parser().parse_args(argv)
    _check(arguments)
    secured = arguments.tls or arguments.ca or arguments.cert or arguments.key
    client = Client(
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
    outputs = [name for name in arguments.outputs.split(",") if name]
    out = printing.printer(arguments.format, arguments.top, sys.stdout)
    with client:
        if arguments.record:
            (clip,) = read_records(arguments.record, [arguments.clip])
            out.prediction(client.predict_clip(clip, outputs))
            return 0
        poses = read_poses(arguments.pose) if arguments.pose else None
        frames = _stream(arguments)
        if arguments.window is None:
            out.prediction(client.predict(frames, poses, outputs))
        else:
            _slide(client, frames, poses, arguments, outputs, out)
    return 0
