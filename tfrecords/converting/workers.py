"""Worker processes: several processes of this machine divide work among them, such as the shards to write."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import reduction
from typing import TYPE_CHECKING, Any

from tfrecords.converting import shards
from zoo.shared import command_line, processors
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.datasets.base import Source


Work = Callable[[Any, Callable[[], None]], Any]
"""A function of a task, and of a function to call after each step of it."""


@dataclasses.dataclass
class _Worker:
    """What a worker process knows: set once when it starts."""

    work: Work
    done: Any  # steps done by all workers

    def on_step(self):
        with self.done.get_lock():
            self.done.value += 1


class _Inherited:
    """A descriptor of which each worker process gets a duplicate when it starts.

    A duplicate shares the lock on a file: the kernel's lock belongs to the open file, not to the process.
    """

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def __getstate__(self):
        return reduction.DupFd(self._descriptor)

    def __setstate__(self, duplicate):
        self._descriptor = duplicate.detach()


_worker = None


def _start_worker(lock, *args):
    """Runs first in every worker process."""
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Kept open for as long as the process lives: the folder stays locked until the last worker has gone.
    _start_worker.lock = lock
    # One thread per worker, as the workers share the cores; read by OpenCV and TensorFlow when they are loaded.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    command_line.quiet_tensorflow()
    _worker = _Worker(*args)


def _end_with_parent():
    """Ends this process as soon as its parent is gone, even by SIGKILL: an orphan must not write on."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(task):
    return _worker.work(task, _worker.on_step)


def _write_shard(source, directory, shard, on_clip):
    return shards.write_shard(source, shard, directory, on_clip)


def run(
    source: Source,
    todo: Sequence[shards.Shard],
    directory: pathlib.Path | None,
    workers: int | None,
    bar: Any,
    lock: int | None,
) -> dict[shards.Shard, dict[str, Any]]:
    """Writes shards in worker processes.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        todo: The shards.
        directory: Folder to write to; ``None``: clips are read and nothing is written.
        workers: Processes; default: one per core.
        bar: A progress bar, updated by clips.
        lock: Descriptor of the lock on the folder, which every worker holds as well.

    Returns:
        Shard -> report.
    """
    return each(functools.partial(_write_shard, source, directory), todo, workers, bar, lock)


def each(
    work: Work, todo: Sequence[Any], workers: int | None, bar: Any, lock: int | None, kept: str = "complete shards"
) -> dict[Any, Any]:
    """Does a piece of work for each of several tasks in worker processes.

    Args:
        work: A function of a task and of a function that it calls after each step; it is pickled.
        todo: The tasks, hashable.
        workers: Processes; default: one per core.
        bar: A progress bar, updated by steps.
        lock: Descriptor of a lock that every worker holds as well; ``None``: none.
        kept: Results that remain when a worker is killed, for the error message.

    Returns:
        Task -> what ``work`` returned.
    """
    if not todo:
        return {}
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    done = context.Value("L", 0)
    others = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(
        max_workers=min(workers or processors.available(), len(todo)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(None if lock is None else _Inherited(lock), work, done),
    )
    reports, shown = {}, 0
    try:
        with _ctrl_c_held():  # inherited: ctrl-C reaches the whole group, but only this process ends workers
            futures = {pool.submit(_work, task): task for task in todo}
        pending = set(futures)
        while pending:
            finished, pending = concurrent.futures.wait(
                pending, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in finished:
                reports[futures[future]] = future.result()
            # Read without its lock, which a killed worker may hold.
            now = done.get_obj().value
            bar.update(now - shown)
            shown = now
    except BaseException as error:
        # At once: a worker may be in the middle of a long clip. Nothing it leaves counts as complete.
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                f"a worker process was killed (out of memory?); {kept} are kept, run the same command to go on, with "
                "fewer --workers if memory is short"
            ) from None
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return reports


@contextlib.contextmanager
def _ctrl_c_held():
    """Holds ctrl-C back inside a ``with`` block; it is delivered at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
