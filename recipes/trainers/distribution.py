"""The devices and machines of a training.

Without ``TF_CONFIG`` a training uses all devices of this machine (``tf.distribute.MirroredStrategy``). With it, as
TensorFlow defines it, the same command runs on every machine that it names (``MultiWorkerMirroredStrategy``), on a run
directory that all of them see. The first worker, the chief, writes; all of them read, train and validate, and none goes
on before the others: what they decide on, such as an early stop, is the same on all.
"""

import contextlib
import json
import os
from importlib import metadata

from zoo.shared import messages
from zoo.shared.errors import UserError

VARIABLE = "TF_CONFIG"


def strategy(local):
    """The strategy of this process; to be called before TensorFlow does anything else.

    Args:
        local: Function that gives the strategy of a training on this machine alone.

    Returns:
        A ``tf.distribute.Strategy``.

    Raises:
        UserError: ``TF_CONFIG`` is damaged, or the other workers cannot be reached.
    """
    if VARIABLE not in os.environ:
        return local()
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
        raise UserError(f"{VARIABLE}: the workers cannot be brought together ({_line(error)})") from None


def _check(text):
    example = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
    try:
        values = json.loads(text)
        workers = values["cluster"]["worker"]
        task = values["task"]["type"], values["task"]["index"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{VARIABLE}: expected JSON such as {example}") from None
    if task[0] != "worker" or not isinstance(task[1], int) or not 0 <= task[1] < len(workers):
        raise UserError(
            f"{VARIABLE}: task {task[0]} {task[1]} is none of the {len(workers)} workers, expected {example}"
        )


def workers(strategy):
    """``(index, count)``: which worker this process is, from 0, and how many there are."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec():
        return 0, 1
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


def is_chief(strategy):
    """Whether this process writes what a training leaves."""
    return workers(strategy)[0] == 0


def agree(strategy, values):
    """The mean of numbers over all workers, the same on each; waits for all of them.

    Args:
        strategy: The training's strategy.
        values: Numbers of this worker.

    Returns:
        A list of floats; those given where there is one worker.
    """
    if workers(strategy)[1] == 1:
        return list(values)
    import tensorflow as tf

    with together():
        of_replicas = strategy.run(lambda: tf.constant(values, tf.float32))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, of_replicas, axis=None).numpy().tolist()


def wait(strategy):
    """Waits until every worker has come here."""
    agree(strategy, [0.0])


def share_statistics(strategy, model):
    """Gives every worker the mean of all workers' statistics of batch normalisation, which they then validate with."""
    if workers(strategy)[1] == 1:
        return
    import tensorflow as tf

    with together():
        for variable in model.non_trainable_variables:
            variable = variable if isinstance(variable, tf.Variable) else variable.value  # Keras 3 wraps it
            if variable.synchronization == tf.VariableSynchronization.ON_READ and variable.dtype.is_floating:
                variable.assign(tf.identity(variable))


@contextlib.contextmanager
def together():
    """Turns the loss of another worker into a line for the user."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise UserError(
            f"another worker was lost ({_line(error)}): start all workers again with --resume, the epochs that had "
            "ended are kept"
        ) from None


def _line(error):
    return messages.one_line(error)
