"""How a server joins requests for a model: ``<version>/batching_params.pbtxt``, fitted to the size of its clips.

TF-Serving reads the file with ``--enable_batching --enable_per_model_batching_parameters``; a model without it is not
batched. The batch sizes are those the model is warmed up for.

TF-Serving joins requests only if the shapes of their inputs differ in the number of clips alone: others get
FAILED_PRECONDITION. ``pad_variable_length_inputs`` would hide that: it repeats values until a short clip is as long as
a longer one in its batch. Then other frames would be sampled, and a clip's prediction would depend on the other clips,
so this option stays off. ``serve_examples`` has one string per clip, so all its clips can be joined.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from serving.savedmodel import config_messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tfrecords.reading.pipeline import Inputs

FILE = "batching_params.pbtxt"
MESSAGE_LIMIT = 2**31 - 1  # bytes of a request that gRPC and protobuf can hold
_QUEUE_BYTES = 2**30  # of a server's memory that waiting requests may take
_MOST_ENQUEUED = 64  # batches; more would wait longer than any client does
_TIMEOUT_MICROS = 10_000  # the network takes 10 to 100 times as long for a clip


def clip_bytes(inputs: Inputs) -> int:
    """Bytes of a request of one clip: raw frames of the network's size, every frame of the window.

    Args:
        inputs: The network's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.

    Example:
        >>> from tfrecords.reading.pipeline import Inputs
        >>> clip_bytes(Inputs(frames=64, stride=2, size=224)) == 2 * 64 * 224 * 224 * 3
        True
    """
    frames = inputs.frames * (inputs.stride if inputs.has_window else 1)
    pictures = frames * inputs.size**2 * 3 * len(inputs.parts)
    return pictures + (frames or inputs.pose_steps) * inputs.pose_values * 4


def check(inputs: Inputs, batch_sizes: Iterable[int]) -> None:
    """Raises :class:`~zoo.shared.errors.UserError` unless a message can hold the largest batch."""
    fits = MESSAGE_LIMIT // clip_bytes(inputs)
    if max(batch_sizes) > fits:
        raise UserError(
            f"--batch_sizes {max(batch_sizes)}: a raw clip has {clip_bytes(inputs):,} bytes, so a message (2 GiB) "
            f"holds at most {fits} of them"
        )


def fit(inputs: Inputs, batch_sizes: Sequence[int], threads: int = 1) -> Message:
    """Parameters for a model.

    Args:
        inputs: The network's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        batch_sizes: Numbers of clips that a batch may have; a smaller batch is padded to the next.
        threads: Batches run at the same time. A single batch keeps all processors busy.

    Returns:
        A ``BatchingParameters``: waiting batches take at most 1 GiB.

    Example:
        >>> from tfrecords.reading.pipeline import Inputs
        >>> fit(Inputs(frames=64, stride=2, size=224), [1, 2, 4]).max_enqueued_batches.value
        13
    """
    sizes = sorted(set(batch_sizes))
    parameters = config_messages.new("BatchingParameters")
    parameters.max_batch_size.value = sizes[-1]
    parameters.allowed_batch_sizes.extend(sizes)
    parameters.batch_timeout_micros.value = _TIMEOUT_MICROS
    enqueued = _QUEUE_BYTES // (sizes[-1] * clip_bytes(inputs))
    parameters.max_enqueued_batches.value = min(max(enqueued, 1), _MOST_ENQUEUED)
    parameters.num_batch_threads.value = threads
    return parameters


def write(version_folder: str | os.PathLike, parameters: Message) -> None:
    """Writes the file of a version under construction."""
    from google.protobuf import text_format

    path = pathlib.Path(version_folder) / FILE
    path.write_text(text_format.MessageToString(parameters), encoding="utf-8")


def read(version_folder: str | os.PathLike) -> Message | None:
    """The ``BatchingParameters`` of a version, ``None`` where it is not batched.

    Raises:
        ValueError: The file is damaged.
    """
    from google.protobuf import text_format

    path = pathlib.Path(version_folder) / FILE
    if not path.exists():
        return None
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), config_messages.new("BatchingParameters"))
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
