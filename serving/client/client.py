"""Clients of a server (TF-Serving, or :mod:`serving.server`) that classify clips.

A clip is a video file and a pose file, arrays, or a clip of a converted dataset. Frames are sent as JPEG if the model
accepts it, which takes 12 to 32 times fewer bytes than raw pixels. Everything else (choice of frames, cropping,
resizing, normalisation) happens in the served graph.

::

    clips, streams ──► request ──► connection (gRPC) or rest_client ──► prediction ──► sliding_window ──► printing
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.client import prediction, request
from serving.client.connection import AsyncGrpcConnection, Attempts, GrpcConnection, TransportError, host_of, proxy_to
from serving.client.credentials import Tls, diagnose_tls
from serving.client.prediction import Prediction
from serving.client.request import Frames
from serving.client.rest_client import AsyncRestConnection, RestConnection, is_address
from serving.savedmodel import signatures, versions
from tfrecords import schema
from tfrecords.converting.persons import FPS
from zoo import skeletons
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import grpc
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

TIMEOUT = 60.0  # seconds
LONGEST_TIMEOUT = 2**31 // 1000  # seconds: sockets count milliseconds in 32 bits
RETRIES = 4  # 0.8 to 1.5 seconds of pauses: enough for a lost connection, not for a server that is starting


class RequestFailed(UserError):
    """A request that failed on the server or on the way to it.

    Attributes:
        code: The ``grpc.StatusCode``.
    """

    code: grpc.StatusCode

    def __init__(self, message: str, code: grpc.StatusCode):
        super().__init__(message)
        self.code = code


class _BaseClient:
    """The code that both clients share: everything except waiting."""

    _connections: tuple[type, type]  # over gRPC, over REST

    def __init__(
        self,
        address: str,
        model: str,
        *,
        signature: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        tls: Tls | None = None,
        max_message_bytes: int = request.LARGEST,
    ):
        if version is not None and version_label is not None:
            raise UserError("a version or a version label, not both")
        if version is not None and not 0 <= version <= versions.LAST_VERSION:
            raise UserError(f"version {version}: expected 0 to {versions.LAST_VERSION}")
        if not timeout <= LONGEST_TIMEOUT:
            raise UserError(f"a timeout of {timeout:g} s: expected at most {LONGEST_TIMEOUT}")
        if tls and address.startswith("http://"):
            raise UserError(f"{messages.without_password(address)}: TLS is https://, use that")
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
        self._signature_defs: dict[str, SignatureDef] | None = None  # fetched with the first request

    def _connect(self) -> Any:
        grpc_class, rest_class = self._connections
        return (rest_class if is_address(self.address) else grpc_class)(self.address, self._tls, self._limit)

    def _attempts(self) -> Attempts:
        return Attempts(self.timeout, self._retries)

    # ---- requests

    def _fill_model_spec(self, spec) -> None:
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        if self.version_label is not None:
            spec.version_label = self.version_label

    def _metadata_request(self):
        from tensorflow_serving.apis import get_model_metadata_pb2

        message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill_model_spec(message.model_spec)
        return message

    def _definition(self, offered, name=None):
        """Name and ``SignatureDef`` of the signature to use."""
        name = name or self.signature or (signatures.JPEG if signatures.JPEG in offered else signatures.DEFAULT)
        if name not in offered:
            valid = ", ".join(sorted(signature for signature in offered if not signature.startswith("__")))
            raise UserError(f"the model {self.model} has no signature {name!r}, valid: {valid or 'none'}")
        return name, offered[name]

    def _record_request(self, offered, clip: schema.Clip):
        """Name and ``SignatureDef`` of the signature for a clip of a converted dataset, and the clip's tensors."""
        stored = self.signature is None and signatures.EXAMPLES in offered
        name, definition = self._definition(offered, signatures.EXAMPLES if stored else None)
        if not request.takes_records(definition):
            return name, definition, _clip_tensors(name, definition, clip)
        if signatures.DEFAULT in offered and not any(request.takes_video(other) for other in offered.values()):
            request.require_somebody(clip)  # the model takes poses alone
        return name, definition, request.record_tensors([schema.encode(clip)])

    def _predict_request(self, name, definition, tensors, outputs):
        message = request.predict_request(name, definition, tensors, tuple(outputs), self._limit)
        self._fill_model_spec(message.model_spec)
        return message

    # ---- responses

    def _signatures_of(self, response):
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis import get_model_metadata_pb2

        found = get_model_metadata_pb2.SignatureDefMap()
        try:
            unpacked = response.metadata["signature_def"].Unpack(found)
        except DecodeError:
            unpacked = False
        if not unpacked or not found.signature_def:
            raise self._invalid_response("no signatures in the model's metadata")
        return dict(found.signature_def)

    def _predictions(self, response, count, name, outputs) -> list[Prediction]:
        try:
            return prediction.read(
                response, count, model=self.model, signature=name, version=self.version, outputs=tuple(outputs)
            )
        except ValueError as error:
            raise self._invalid_response(str(error)) from None

    # ---- errors

    def _invalid_response(self, reason: str) -> RequestFailed:
        import grpc

        where = messages.without_password(self.address)
        text = f"INTERNAL: {where} returned no prediction of a model exported by serving.export: {reason}"
        return RequestFailed(text, grpc.StatusCode.INTERNAL)

    def _failed(self, error: TransportError) -> RequestFailed:
        """The error for a failed attempt: one line with the status code, its meaning and what to do."""
        import grpc

        tls_advice = self._tls_advice() if error.code == grpc.StatusCode.UNAVAILABLE else None
        advice = tls_advice or self._advice().get(error.code, "the server refused the request")
        if error.of_size:
            advice = (
                "the server, or a proxy before it, refuses a message of this size: send fewer or smaller frames, or "
                "raise its limit"
            )
        return RequestFailed(f"{error.code.name}: {advice} ({error.details})", error.code)

    def _tls_advice(self) -> str | None:
        """What is wrong with TLS or its certificates, if that prevents the connection; else ``None``."""
        rest = is_address(self.address)
        try:
            parts = urllib.parse.urlsplit(self.address if rest else f"//{self.address}")
            host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return None
        tls = self._tls or (Tls() if parts.scheme == "https" else None)
        return diagnose_tls(host, port, tls, "http/1.1" if rest else "h2") if host else None

    def _through_proxy(self) -> str:
        """Names the proxy that gRPC uses, which may be why there is no connection."""
        proxy = None if is_address(self.address) else proxy_to(self.address)
        return f" through the proxy {proxy} (no_proxy={host_of(self.address)} bypasses it)" if proxy else ""

    def _advice(self) -> dict[grpc.StatusCode, str]:
        """Status code -> what it means for this client and what to do."""
        import grpc

        where, what = messages.without_password(self.address), self.model
        if self.version is not None or self.version_label is not None:
            what += f" version {self.version if self.version is not None else self.version_label}"
        return {
            grpc.StatusCode.UNAVAILABLE: f"no server responds at {where}{self._through_proxy()}: start one, or correct "
            "the address",
            grpc.StatusCode.NOT_FOUND: f"{where} serves no {what}: correct the name or the version",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no response from {where} in {self.timeout:g} s: allow more time",
            grpc.StatusCode.RESOURCE_EXHAUSTED: f"{where} has too many requests: send fewer at a time, or later",
            grpc.StatusCode.INTERNAL: f"{where} failed, or is no TF-Serving",
        }


class Client(_BaseClient):
    """A connection to one served model; usable from several threads.

    Args:
        address: ``HOST:PORT`` for gRPC; ``http://HOST:PORT`` or ``https://HOST:PORT`` for REST.
        model: The model's name.
        signature: Signature to use; default: ``serve_jpeg`` where the model has it, else ``serving_default``; for clips
            of converted datasets ``serve_examples`` where the model has it.
        version: Version to use; default: the newest.
        version_label: Label of the version to use, such as ``stable``, in place of its number.
        timeout: Seconds for a request, all its attempts together; at most 24 days.
        retries: Further attempts while the server is unavailable or has too many requests. The pause before the first
            is at most 0.1 seconds; it doubles with each further one, up to 5 seconds.
        tls: A :class:`serving.client.credentials.Tls`; default: no encryption, and the system's authorities for
            ``https``.
        max_message_bytes: Largest message, either way; default: 2 GiB, the most that is possible.

    Raises:
        UserError: Arguments contradict one another, the address is invalid, or a number is out of range.

    Example:
        >>> with Client("127.0.0.1:8500", "separable_sta") as client:  # doctest: +SKIP
        ...     prediction = client.predict(frames=frames, poses=poses)
        >>> prediction.labels[0], prediction.probabilities[0]  # doctest: +SKIP
        ('drink', 0.93)
    """

    _connections = GrpcConnection, RestConnection

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def signatures(self) -> dict[str, SignatureDef]:
        """Signature name -> ``SignatureDef`` of the served model; requested once.

        Raises:
            RequestFailed: There is no such model, or no response.
        """
        if self._signature_defs is None:
            self._signature_defs = self._signatures_of(self._call("GetModelMetadata", self._metadata_request()))
        return self._signature_defs

    def definition(self) -> SignatureDef:
        """The ``SignatureDef`` of the signature that is used."""
        return self._definition(self.signatures())[1]

    def takes_jpegs(self) -> bool:
        """Whether the signature takes pictures as JPEG files."""
        return request.takes_jpegs(self.definition())

    def predict(
        self,
        frames: Frames | Mapping[str, Frames] | None = None,
        poses: np.ndarray | None = None,
        outputs: Sequence[str] = (),
        pose_fps: float = FPS,
    ) -> Prediction:
        """Classifies one clip.

        Args:
            frames: The clip's pictures: ``[T, H, W, 3]`` uint8 RGB, or an iterable of such pictures or of JPEG files as
                ``bytes``. For a model that takes several body parts, a dictionary from part to pictures.
            poses: ``[Tp, M, J, 3]`` (or ``[Tp, J, 3]``: one person) in metres, in the camera's coordinates; an absent
                person is all zeros. If there are fewer persons than the model takes, absent ones are added. A joint
                that is zero or NaN was not measured and is filled, as is a person lost for half a second or less.
            outputs: Names of further outputs of the signature, such as attention maps.
            pose_fps: Poses per second.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: The clip lacks what the model needs, or does not fit it, or there is no such output.
            RequestFailed: The server did not respond, or refused the request.
        """
        return self._predict_clips([(frames, poses)], outputs, pose_fps)[0]

    def predict_batch(
        self,
        frames: Sequence[Frames | Mapping[str, Frames]] | np.ndarray | None = None,
        poses: Sequence[np.ndarray] | np.ndarray | None = None,
        outputs: Sequence[str] = (),
        pose_fps: float = FPS,
    ) -> list[Prediction]:
        """Classifies several clips with one request.

        Args:
            frames: The ``frames`` of each clip, as for :meth:`predict`. All clips have the same number of frames, and
                the same frame size if frames are sent raw.
            poses: The ``poses`` of each clip, the same number in each.
            outputs: As for :meth:`predict`.
            pose_fps: As for :meth:`predict`.

        Returns:
            One :class:`Prediction` per clip.

        Raises:
            UserError: As :meth:`predict`; also clips that differ in length or size.
        """
        return self._predict_clips(_pair_clips(frames, poses), outputs, pose_fps)

    def predict_record(self, record: bytes, outputs: Sequence[str] = ()) -> Prediction:
        """Classifies a serialised record of a converted dataset with the signature ``serve_examples``.

        Args:
            record: Its bytes, a ``tf.train.SequenceExample`` of :mod:`tfrecords.schema`.
            outputs: As for :meth:`predict`.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: The model has no such signature; and as :meth:`predict`.
        """
        name, definition = self._definition(self.signatures(), signatures.EXAMPLES)
        return self._predict(name, definition, request.record_tensors([record]), 1, outputs)[0]

    def predict_clip(self, clip: schema.Clip, outputs: Sequence[str] = ()) -> Prediction:
        """Classifies a clip of a converted dataset.

        Args:
            clip: A :class:`tfrecords.schema.Clip`. If the signature takes records, the clip is sent as a record, which
                the served graph reads as evaluation does. Else the pictures and poses that the signature takes are
                sent, JPEG files unchanged.
            outputs: As for :meth:`predict`.

        Returns:
            A :class:`Prediction`.

        Raises:
            UserError: As :meth:`predict`.
        """
        name, definition, tensors = self._record_request(self.signatures(), clip)
        return self._predict(name, definition, tensors, 1, outputs)[0]

    def _predict_clips(self, clips, outputs, pose_fps) -> list[Prediction]:
        name, definition = self._definition(self.signatures())
        tensors = request.clip_tensors(definition, clips, pose_fps)
        return self._predict(name, definition, tensors, len(clips), outputs)

    def _predict(self, name, definition, tensors, count, outputs) -> list[Prediction]:
        response = self._call("Predict", self._predict_request(name, definition, tensors, outputs))
        return self._predictions(response, count, name, outputs)

    def _call(self, method, message):
        attempts = self._attempts()
        while True:
            try:
                return self._connection.call(method, message, attempts.remaining())
            except TransportError as error:
                pause = attempts.pause(error)
                if pause is None:
                    raise self._failed(error) from error
            time.sleep(pause)


class AsyncClient(_BaseClient):
    """:class:`Client` for ``asyncio``: the same arguments and methods, to be awaited.

    It belongs to the event loop of its first request.

    Example:
        >>> async def predict_all(clips):
        ...     async with AsyncClient("127.0.0.1:8500", "separable_sta") as client:
        ...         return await asyncio.gather(*(client.predict(*clip) for clip in clips))
    """

    _connections = AsyncGrpcConnection, AsyncRestConnection

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    async def signatures(self) -> dict[str, SignatureDef]:
        """As :meth:`Client.signatures`."""
        if self._signature_defs is None:
            response = await self._call("GetModelMetadata", self._metadata_request())
            self._signature_defs = self._signatures_of(response)
        return self._signature_defs

    async def definition(self) -> SignatureDef:
        """As :meth:`Client.definition`."""
        return self._definition(await self.signatures())[1]

    async def takes_jpegs(self) -> bool:
        """As :meth:`Client.takes_jpegs`."""
        return request.takes_jpegs(await self.definition())

    async def predict(
        self,
        frames: Frames | Mapping[str, Frames] | None = None,
        poses: np.ndarray | None = None,
        outputs: Sequence[str] = (),
        pose_fps: float = FPS,
    ) -> Prediction:
        """As :meth:`Client.predict`."""
        return (await self._predict_clips([(frames, poses)], outputs, pose_fps))[0]

    async def predict_batch(
        self,
        frames: Sequence[Frames | Mapping[str, Frames]] | np.ndarray | None = None,
        poses: Sequence[np.ndarray] | np.ndarray | None = None,
        outputs: Sequence[str] = (),
        pose_fps: float = FPS,
    ) -> list[Prediction]:
        """As :meth:`Client.predict_batch`."""
        return await self._predict_clips(_pair_clips(frames, poses), outputs, pose_fps)

    async def predict_record(self, record: bytes, outputs: Sequence[str] = ()) -> Prediction:
        """As :meth:`Client.predict_record`."""
        name, definition = self._definition(await self.signatures(), signatures.EXAMPLES)
        return (await self._predict(name, definition, request.record_tensors([record]), 1, outputs))[0]

    async def predict_clip(self, clip: schema.Clip, outputs: Sequence[str] = ()) -> Prediction:
        """As :meth:`Client.predict_clip`."""
        name, definition, tensors = self._record_request(await self.signatures(), clip)
        return (await self._predict(name, definition, tensors, 1, outputs))[0]

    async def _predict_clips(self, clips, outputs, pose_fps) -> list[Prediction]:
        name, definition = self._definition(await self.signatures())
        tensors = request.clip_tensors(definition, clips, pose_fps)
        return await self._predict(name, definition, tensors, len(clips), outputs)

    async def _predict(self, name, definition, tensors, count, outputs) -> list[Prediction]:
        response = await self._call("Predict", self._predict_request(name, definition, tensors, outputs))
        return self._predictions(response, count, name, outputs)

    async def _call(self, method, message):
        attempts = self._attempts()
        while True:
            try:
                return await self._connection.call(method, message, attempts.remaining())
            except TransportError as error:
                pause = attempts.pause(error)
                if pause is None:
                    raise await asyncio.to_thread(self._failed, error) from error
            await asyncio.sleep(pause)


def _pair_clips(frames, poses) -> list[tuple]:
    """``(frames, poses)`` of each clip of a batch."""
    counts = {len(values) for values in (frames, poses) if values is not None}
    if len(counts) != 1:
        raise UserError("give frames or poses, or both for equally many clips")
    (count,) = counts
    return list(zip([None] * count if frames is None else frames, [None] * count if poses is None else poses))


def _clip_tensors(name, definition, clip: schema.Clip) -> dict[str, np.ndarray]:
    """Input name -> array with a batch of one, of the pictures and poses of a clip of a converted dataset."""
    frames = None
    if request.takes_video(definition):
        frames = clip.images
        # A model that was not trained on person crops takes whole frames and cuts its squares out of them itself.
        if signatures.PERSON_CROPS not in definition.outputs and "full_body" in request.parts(definition):
            frames = {**frames, "full_body": _whole_frames(name, clip)}
    poses = clip.pose_xyz if request.takes_poses(definition) else None
    return request.clip_tensors(definition, [(frames, poses)], clip.fps)


def _whole_frames(name, clip: schema.Clip):
    """The whole frames of a clip of a converted dataset; ``None`` without pictures, ``UserError`` for person crops."""
    if skeletons.FULL_IMAGE in clip.images:
        return clip.images[skeletons.FULL_IMAGE]
    boxes = clip.boxes.get("full_body")
    if boxes is not None and schema.follow_persons(boxes):
        raise UserError(
            f"the signature {name} takes whole frames, the clip {clip.info.id} has person crops alone: convert with "
            "--parts full_image"
        )
    return clip.images.get("full_body")
