"""The devices and machines of a training.

Without ``TF_CONFIG`` a training uses all devices of this machine (``tf.distribute.MirroredStrategy``). With
``TF_CONFIG``, in TensorFlow's format, start the same command on every machine that it names
(``MultiWorkerMirroredStrategy``), with a run directory that all machines can access. The first worker, the chief,
writes. All workers read, train and validate, and wait for each other: their decisions, such as an early stop, are the
same.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

VARIABLE = "TF_CONFIG"


def strategy() -> tf.distribute.Strategy:
    """The strategy of this process; to be called before TensorFlow does anything else.

    Raises:
        UserError: ``TF_CONFIG`` is damaged, or the other workers cannot be reached.
    """
    if VARIABLE not in os.environ:
        return local_strategy()
    _check(os.environ[VARIABLE])
    import tensorflow as tf

    keras = metadata.version("keras")
    if keras.startswith("3."):
        raise UserError(
            f"{VARIABLE}: Keras {keras} cannot be fed by several workers (its fit reduces a batch, a dictionary of "
            "inputs, which MultiWorkerMirroredStrategy refuses): train with Python 3.9 to 3.11, or on all devices of "
            "one machine"
        )
    tf.get_logger().setLevel("ERROR")
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise UserError(f"{VARIABLE}: the workers cannot be brought together ({messages.one_line(error)})") from None


def local_strategy() -> tf.distribute.MirroredStrategy:
    """A strategy over all GPUs of this machine, or over its logical CPU devices."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    tf.get_logger().setLevel("ERROR")  # on CPUs the strategy warns that it does not use NCCL
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def on_gpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether the strategy computes on GPUs."""
    return "GPU" in strategy.extended.worker_devices[0]


def _check(text: str) -> None:
    example = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
    try:
        values = json.loads(text)
        workers = list(values["cluster"]["worker"])
        task = values["task"]["type"], values["task"]["index"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{VARIABLE}: expected JSON such as {example}") from None
    if task[0] != "worker" or not isinstance(task[1], int) or not 0 <= task[1] < len(workers):
        raise UserError(
            f"{VARIABLE}: task {task[0]} {task[1]} is none of the {len(workers)} workers, expected {example}"
        )


def workers(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """``(index, count)``: index of this process among the workers, from 0, and their number."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec():
        return 0, 1
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run directory."""
    return workers(strategy)[0] == 0


def agree(strategy: tf.distribute.Strategy, values: Sequence[float]) -> list[float]:
    """The mean of numbers over all workers, the same on each; waits for all of them.

    Args:
        strategy: The training's strategy.
        values: Numbers of this worker.

    Returns:
        A list of floats; with one worker the given ones.
    """
    if workers(strategy)[1] == 1:
        return list(values)
    import tensorflow as tf

    with together():
        of_replicas = strategy.run(lambda: tf.constant(values, tf.float32))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, of_replicas, axis=None).numpy().tolist()


def wait(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker has reached this call."""
    agree(strategy, [0.0])


def share_statistics(strategy: tf.distribute.Strategy, model: tf.keras.Model) -> None:
    """Gives every worker the mean of all workers' statistics of batch normalisation, before they validate."""
    if workers(strategy)[1] == 1:
        return
    import tensorflow as tf

    with together():
        for variable in model.non_trainable_variables:
            variable = variable if isinstance(variable, tf.Variable) else variable.value  # Keras 3 wraps it
            if variable.synchronization == tf.VariableSynchronization.ON_READ and variable.dtype.is_floating:
                variable.assign(tf.identity(variable))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Turns the loss of another worker into an error of one line."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise UserError(
            f"another worker was lost ({messages.one_line(error)}): start all workers again with --resume, the epochs "
            "that had ended are kept"
        ) from None
