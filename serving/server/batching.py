"""Joins requests that arrive together, runs them as one batch, and gives each its own rows.

``BatchingParameters`` are TF-Serving's. Requests are joined when they are for the same signature and their inputs
differ only in the number of clips. A clip is never padded in time, since the graph chooses frames by a clip's length.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import grpc
import numpy as np

from serving.savedmodel import config_messages
from serving.savedmodel.servable import ServingError, invalid_argument
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from serving.savedmodel.servable import Run

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Parameters:
    """How requests are joined; the defaults suit clips.

    Attributes:
        max_batch_size: Most clips in a batch.
        batch_timeout_micros: How long the first request of a batch waits for others.
        max_enqueued_batches: Batches that may wait; further requests fail with UNAVAILABLE.
        num_batch_threads: Batches that run at the same time.
        allowed_batch_sizes: Sizes that a batch is padded to, ascending, the last is ``max_batch_size``; empty: any.
    """

    max_batch_size: int = 8
    batch_timeout_micros: int = 5000
    max_enqueued_batches: int = 16
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self):
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.batch_timeout_micros < 0:
            raise UserError(f"batch_timeout_micros is {self.batch_timeout_micros}, expected at least 0")
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != self.max_batch_size):
            raise UserError(
                f"allowed_batch_sizes are {list(sizes)}, expected ascending numbers of which the last is "
                f"max_batch_size ({self.max_batch_size})"
            )

    def padded(self, rows: int) -> int:
        """The size that a batch of this many clips is padded to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read(path: str | os.PathLike) -> Parameters:
    """The :class:`Parameters` in a file of TF-Serving's ``BatchingParameters``; missing fields have our defaults.

    Raises:
        UserError: The file or a value in it is not usable.
    """
    message = config_messages.read(path, "BatchingParameters")
    if message.pad_variable_length_inputs:
        raise UserError(
            f"{path}: pad_variable_length_inputs would change the frames that are chosen of a clip, since its "
            "length decides: leave it out"
        )
    given = {
        field.name: getattr(message, field.name).value
        for field in dataclasses.fields(Parameters)
        if field.name != "allowed_batch_sizes" and message.HasField(field.name)
    }
    try:
        return Parameters(allowed_batch_sizes=tuple(message.allowed_batch_sizes), **given)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


class _Batch:
    """Requests that are run together."""

    def __init__(self):
        self.tensors: list[Mapping[str, tf.Tensor]] = []  # of each request
        self.sizes: list[int] = []  # clips of each request
        self.results: list[dict[str, np.ndarray] | Exception] = []  # of each request
        self.full = threading.Event()
        self.done = threading.Event()

    def add(self, size: int, tensors: Mapping[str, tf.Tensor]) -> int:
        """Adds a request and returns its index."""
        self.tensors.append(tensors)
        self.sizes.append(size)
        return len(self.sizes) - 1

    def result(self, index: int) -> dict[str, np.ndarray]:
        """Outputs of a request; raises its error."""
        result = self.results[index]
        if isinstance(result, Exception):
            raise result
        return result


class Batcher:
    """Replaces the function that runs a signature; called by many threads.

    It has no thread of its own: the thread of a batch's first request waits for further requests and runs the batch.

    Args:
        run: A function (signature, input name -> tensor) -> output name -> array.
        parameters: The :class:`Parameters`.
        on_wait: Called with the seconds that a batch waited before it ran.
    """

    def __init__(self, run: Run, parameters: Parameters, on_wait: Callable[[float], None] = lambda seconds: None):
        self._run = run
        self._parameters = parameters
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(parameters.num_batch_threads)
        self._open: dict[tuple, _Batch] = {}  # key -> batch that takes more requests
        self._enqueued = 0

    def __call__(self, signature: str, tensors: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Outputs of a request; raises :class:`~serving.savedmodel.servable.ServingError` as for one run alone."""
        sizes = {int(tensor.shape[0]) for tensor in tensors.values()}
        size = max(sizes)
        if len(sizes) > 1 or size == 0:
            return self._run(signature, tensors)  # the graph reports what is wrong with it
        if size > self._parameters.max_batch_size:
            limit = self._parameters.max_batch_size
            raise invalid_argument(f"Task size {size} is larger than maximum input batch size {limit}")
        key = (signature, *((name, tensor.dtype, *tensor.shape[1:]) for name, tensor in sorted(tensors.items())))
        batch, index = self._enter(key, size, tensors)
        if index == 0:
            self._lead(key, batch)
        else:
            batch.done.wait()
        return batch.result(index)

    def _enter(self, key, size, tensors):
        """The batch of a request, and its index in it."""
        with self._lock:
            batch = self._open.get(key)
            if batch and sum(batch.sizes) + size > self._parameters.max_batch_size:
                self._close(key, batch)
                batch = None
            if batch is None:
                if self._enqueued >= self._parameters.max_enqueued_batches:
                    message = "The batch scheduling queue to which this task was submitted is full"
                    raise ServingError(grpc.StatusCode.UNAVAILABLE, message)
                batch = self._open[key] = _Batch()
                self._enqueued += 1
            index = batch.add(size, tensors)
            if sum(batch.sizes) == self._parameters.max_batch_size:
                self._close(key, batch)
            return batch, index

    def _close(self, key, batch):
        """Lets no more requests into a batch; the lock is held."""
        if self._open.get(key) is batch:
            del self._open[key]
        batch.full.set()

    def _lead(self, key, batch):
        begin = time.monotonic()
        batch.full.wait(self._parameters.batch_timeout_micros / 1e6)
        with self._slots:  # a batch that waits for a slot still takes requests
            with self._lock:
                self._close(key, batch)
                self._enqueued -= 1
            self._on_wait(time.monotonic() - begin)
            try:
                batch.results = self._results(key[0], batch)
            finally:
                batch.done.set()

    def _results(self, signature, batch):
        """Outputs or an exception of each request. If the joint run fails, only the invalid requests fail."""
        if len(batch.sizes) > 1 or self._parameters.padded(batch.sizes[0]) > batch.sizes[0]:
            try:
                return self._together(signature, batch)
            except Exception as error:  # run one by one, only the invalid ones fail
                _log.info("a batch of %d requests failed, each is run alone: %s", len(batch.sizes), error)
        return [self._alone(signature, tensors) for tensors in batch.tensors]

    def _together(self, signature, batch):
        import tensorflow as tf

        rows = sum(batch.sizes)
        missing = self._parameters.padded(rows) - rows
        joined = {}
        for name in batch.tensors[0]:
            parts = [tensors[name] for tensors in batch.tensors]
            joined[name] = tf.concat(parts + [parts[0][:1]] * missing, axis=0)
        outputs = self._run(signature, joined)
        if any(len(array) != rows + missing for array in outputs.values()):
            raise ValueError("an output has not one row per clip")
        ends = np.cumsum(batch.sizes)
        return [
            {name: array[end - size : end] for name, array in outputs.items()} for size, end in zip(batch.sizes, ends)
        ]

    def _alone(self, signature, tensors):
        try:
            return self._run(signature, tensors)
        except Exception as error:
            return error
