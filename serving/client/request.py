"""Builds the request for the predictions of clips.

Inputs are recognised by their names (:mod:`serving.savedmodel.signatures`). So a signature that takes pictures, poses
or records may itself have any name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from serving.client.clips import decode_jpeg, encode_jpeg
from serving.savedmodel import signatures, tensor_messages
from tfrecords import schema
from tfrecords.converting.persons import FPS, without_gaps
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

Frames = Union[np.ndarray, Iterable[Union[np.ndarray, bytes]]]  # the pictures of a clip, or their JPEG files
Clip = tuple[Union[Frames, Mapping[str, Frames], None], Union[np.ndarray, None]]  # frames and poses

LARGEST = 2**31 - 1  # bytes of a message, of gRPC and of protocol buffers

_RAW = {signatures.pictures_name(signatures.DEFAULT, part): part for part in schema.PARTS}
_JPEGS = {signatures.pictures_name(signatures.JPEG, part): part for part in schema.PARTS}
_PART_OF = (*_RAW.items(), *_JPEGS.items())


class NobodySeen(UserError):
    """A clip in which nobody's pose is known, for a model of poses alone."""

    def __init__(self) -> None:
        super().__init__("no person was seen in the clip (its poses are all zeros), and the model sees poses alone")


def require_somebody(clip: schema.Clip) -> None:
    """Raises :class:`NobodySeen` for a clip of a converted dataset in which nobody's pose is known."""
    if clip.pose_xyz is not None and not clip.pose_xyz.any():
        raise NobodySeen


def takes_video(definition: SignatureDef) -> bool:
    """Whether a signature takes pictures."""
    return bool(set(definition.inputs) & (set(_RAW) | set(_JPEGS)))


def require_video(definition: SignatureDef) -> None:
    """Raises ``UserError`` for a signature that takes no pictures."""
    if not takes_video(definition):
        raise UserError("the model takes poses alone: leave out the video")


def takes_jpegs(definition: SignatureDef) -> bool:
    """Whether a signature takes pictures as JPEG files."""
    return bool(set(definition.inputs) & set(_JPEGS))


def takes_poses(definition: SignatureDef) -> bool:
    """Whether a signature takes poses."""
    return signatures.POSES in definition.inputs


def parts(definition: SignatureDef) -> tuple[str, ...]:
    """The body parts whose pictures a signature takes."""
    return tuple(part for part in schema.PARTS if any(n in definition.inputs and p == part for n, p in _PART_OF))


def takes_records(definition: SignatureDef) -> bool:
    """Whether a signature takes serialised records."""
    return signatures.RECORDS in definition.inputs


def predict_request(
    signature: str,
    definition: SignatureDef,
    tensors: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    limit: int = LARGEST,
) -> PredictRequest:
    """The request for a signature; the caller still has to add the model's name and version.

    Args:
        signature: The signature's name.
        definition: Its ``SignatureDef``.
        tensors: Input name -> array.
        outputs: Names of outputs beside classes and probabilities.
        limit: Largest message in bytes.

    Returns:
        A ``PredictRequest``.

    Raises:
        UserError: There is no such output, or the clips are too large for one message.
    """
    from tensorflow_serving.apis import predict_pb2

    for output in outputs:
        if output not in definition.outputs:
            offered = ", ".join(sorted(definition.outputs))
            raise UserError(f"the signature {signature} has no output {output!r}, valid: {offered}")
    size = sum(_bytes(tensor) for tensor in tensors.values())
    if size > limit:
        raise UserError(
            f"the clip has {size / 1e6:.3g} MB, a message may have {limit / 1e6:.3g}: send fewer or smaller frames, "
            "or a window at a time"
        )
    request = predict_pb2.PredictRequest()
    request.output_filter.extend(dict.fromkeys(["classes", "probabilities", *outputs]))
    request.model_spec.signature_name = signature
    for name, tensor in tensors.items():
        tensor_messages.fill(request.inputs[name], tensor)
    return request


def _bytes(tensor: np.ndarray) -> int:
    return sum(map(len, tensor.ravel())) if tensor.dtype == object else tensor.nbytes


def clip_tensors(definition: SignatureDef, clips: Sequence[Clip], pose_fps: float = FPS) -> dict[str, np.ndarray]:
    """Input name -> array, for the inputs of a signature.

    Args:
        definition: The ``SignatureDef``.
        clips: ``(frames, poses)`` of each clip, as :meth:`serving.client.Client.predict` takes them.
        pose_fps: Poses per second.

    Returns:
        Arrays whose batch axis has one entry per clip.

    Raises:
        NobodySeen: The signature takes poses alone, and the poses of a clip are all zeros.
        UserError: A clip lacks an input of the signature, has one that the signature does not take, or does not fit
            it; or the clips have different shapes.
    """
    rows = [_clip_tensors(definition, frames, poses, pose_fps) for frames, poses in clips]
    if not rows:
        raise UserError("no clips to classify")
    tensors = {}
    for name in rows[0]:
        shapes = {row[name].shape for row in rows}
        if len(shapes) > 1:
            listed = ", ".join(str(list(shape)) for shape in sorted(shapes))
            raise UserError(
                f"clips of one request must be equally long and large, {name} have the shapes {listed}: "
                "send each in a request of its own"
            )
        # A single clip, the usual case, is not copied.
        tensors[name] = np.stack([row[name] for row in rows]) if len(rows) > 1 else rows[0][name][np.newaxis]
    return tensors


def record_tensors(records: Sequence[bytes]) -> dict[str, np.ndarray]:
    """The input of a signature that takes serialised records (``bytes``)."""
    return {signatures.RECORDS: np.array(records, dtype=object)}


def _clip_tensors(definition: SignatureDef, frames, poses, pose_fps) -> dict[str, np.ndarray]:
    """Input name -> array of one clip, without a batch axis."""
    frames = frames if isinstance(frames, Mapping) or frames is None else {"full_body": frames}
    tensors = {}
    for name, info in definition.inputs.items():
        if name in _RAW or name in _JPEGS:
            part = _RAW.get(name) or _JPEGS[name]
            pictures = (frames or {}).get(part)
            if pictures is None:
                raise UserError(f"the model needs pictures of {part} (input {name}): give a video")
            tensors[name] = _jpegs(pictures) if name in _JPEGS else _raw(pictures)
        elif name == signatures.POSES:
            if poses is None:
                raise UserError("the model needs poses: give a pose file")
            tensors[name] = pose_tensor(poses, [dimension.size for dimension in info.tensor_shape.dim[2:]], pose_fps)
            if not tensors[name].any() and not takes_video(definition):
                raise NobodySeen
        elif name == signatures.RECORDS:
            raise UserError("the signature takes records, not files or arrays: use predict_record, or --record")
        else:
            raise UserError(f"the model has an unknown input {name!r}: it was not made by serving.export")
    if frames:
        require_video(definition)
    if poses is not None and not takes_poses(definition):
        raise UserError("the model takes no poses: leave it out")
    return tensors


def _jpegs(pictures: Frames) -> np.ndarray:
    """``[T]`` strings; JPEG files are sent unchanged, and at most one decoded picture is in memory."""
    jpegs = [p if isinstance(p, bytes) else encode_jpeg(_frame(p)) for p in _each(pictures)]
    return np.array(jpegs, dtype=object)


def _raw(pictures: Frames) -> np.ndarray:
    """``[T, H, W, 3]`` uint8."""
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        _frame(next(_each(pictures)))
        return pictures
    frames = [
        decode_jpeg(picture, number) if isinstance(picture, bytes) else _frame(picture)
        for number, picture in enumerate(_each(pictures))
    ]
    height, width, _ = frames[0].shape
    for number, frame in enumerate(frames):
        if frame.shape != frames[0].shape:
            size = f"{frame.shape[1]} x {frame.shape[0]} pixels, the first {width} x {height}"
            raise UserError(f"frame {number} has {size}: frames of one clip must be equally large, scale them")
    return np.stack(frames)


def _each(pictures: Frames) -> Iterator[np.ndarray | bytes]:
    """The pictures of a clip, at least one."""
    if isinstance(pictures, np.ndarray) and pictures.ndim != 4:
        raise UserError(_expected_frames(pictures))
    empty = True
    for picture in pictures:
        empty = False
        yield picture
    if empty:
        raise UserError("the clip has no frames, expected uint8 [T, H, W, 3] with T > 0")


def _frame(picture) -> np.ndarray:
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
        raise UserError(_expected_frames(picture))
    return picture


def _expected_frames(pictures: np.ndarray) -> str:
    shape = ", ".join(map(str, ["T"] * (pictures.ndim == 3) + list(pictures.shape)))
    return f"frames are {pictures.dtype} [{shape}], expected uint8 [T, H, W, 3] with T > 0"


def pose_tensor(poses: np.ndarray, expected: Sequence[int], fps: float) -> np.ndarray:
    """``[Tp, M, J, 3]`` float32, lost joints filled and absent persons added; ``expected`` is the model's [M, J, 3]."""
    poses = np.asarray(poses, np.float32)
    if poses.ndim == 3:
        poses = poses[:, np.newaxis]  # [Tp, 1, J, 3]
    persons, *joints = expected
    if poses.ndim != 4 or list(poses.shape[2:]) != joints or not poses.size:
        raise UserError(f"poses have the shape {list(poses.shape)}, the model expects [Tp, {persons}, {joints[0]}, 3]")
    if poses.shape[1] > persons:
        raise UserError(f"poses have {poses.shape[1]} persons, the model takes {persons}: leave out the others")
    poses = filled(poses, fps)
    absent = np.zeros((len(poses), persons - poses.shape[1], *joints), np.float32)
    return np.concatenate([poses, absent], axis=1)


def filled(poses: np.ndarray, fps: float = FPS) -> np.ndarray:
    """Poses ``[T, M, J, 3]`` or ``[T, J, 3]`` with lost joints (zero or NaN) filled as converters fill them.

    Args:
        poses: Metres; an absent person is all zeros. An array of another shape is returned unchanged.
        fps: Poses per second.

    Raises:
        UserError: A joint of a person was measured in no pose.
    """
    poses = np.asarray(poses, np.float32)
    if poses.ndim not in (3, 4):
        return poses
    try:
        return without_gaps(poses.reshape(len(poses), -1, *poses.shape[-2:]), fps).reshape(poses.shape)
    except RejectedClip as reason:
        raise UserError(f"poses: {reason}") from None
