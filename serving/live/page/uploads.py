"""Videos that are sent to the page, annotated one after another; their folder is temporary and removed at the end."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import pathlib
import queue
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from serving.live.state import Segment
from zoo.shared.errors import UserError
from zoo.shared.messages import one_line

MEGABYTES = 500  # of the largest video
WAITING = 3  # most videos that wait
KEPT = 5  # most results that are kept ...
KEPT_SECONDS = 3600.0  # ... and for how long
_STATES = ("receiving", "waiting", "running", "done", "failed")
_LOOK = 60.0  # seconds between two checks for old results

_log = logging.getLogger(__name__)

Annotate = Callable[[pathlib.Path, pathlib.Path, Callable[[float], None], bool], "list[Segment]"]


class Full(Exception):
    """Too many videos wait."""


class _Cancelled(Exception):
    pass


@dataclasses.dataclass
class Job:
    """A video that was sent.

    Attributes:
        id: The job's id, which cannot be guessed.
        name: The file's name on the sender's machine.
        source: File in which it is received.
        result: File to which the annotated video is written.
        attention: Whether to draw where the model looks.
        state: ``receiving``, ``waiting``, ``running``, ``done`` or ``failed``.
        progress: Fraction of the frames that are done.
        error: Why it failed.
        segments: The segments that were found.
        changed: When the state changed, by ``time.monotonic``.
        cancelled: Whether the job was removed.
    """

    id: str
    name: str
    source: pathlib.Path
    result: pathlib.Path
    attention: bool = False
    state: str = _STATES[0]
    progress: float = 0.0
    error: str = ""
    segments: tuple[Segment, ...] = ()
    changed: float = dataclasses.field(default_factory=time.monotonic)
    cancelled: bool = False

    def to(self, state: str, error: str = "") -> None:
        """Changes the state."""
        self.state, self.error, self.changed = state, error, time.monotonic()

    def document(self) -> dict[str, Any]:
        """The job as JSON."""
        found = {key: getattr(self, key) for key in ("id", "name", "state", "progress", "error")}
        return {**found, "segments": [dataclasses.asdict(segment) for segment in self.segments]}


class Uploads:
    """Receives videos and annotates them in a thread.

    Args:
        annotate: Called with a video, the file to write, a function to call with the fraction that is done, which may
            raise, and whether to draw attention; returns the segments.
        max_bytes: Size of the largest video.

    Attributes:
        max_bytes: The argument.
    """

    def __init__(self, annotate: Annotate, max_bytes: int = MEGABYTES * 10**6):
        self._annotate = annotate
        self.max_bytes = max_bytes
        self._folder = tempfile.TemporaryDirectory(prefix="adl-page-")  # of mode 0700
        self._jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._queue: queue.Queue[Job | None] = queue.Queue()  # None: nothing more comes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="annotation", daemon=True)

    def start(self) -> None:
        """Begins to annotate."""
        self._thread.start()

    def stop(self) -> None:
        """Gives up what is under way, and removes all files."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self._folder.cleanup()

    def new(self, name: str, attention: bool = False) -> Job:
        """A new job. Write the video to its ``source``, then :meth:`enqueue` or :meth:`remove` the job.

        Args:
            name: The file's name.
            attention: Whether to draw where the model looks.

        Raises:
            Full: :data:`WAITING` videos wait already.
        """
        with self._lock:
            self._forget_old()
            if sum(job.state in ("receiving", "waiting") for job in self._jobs.values()) >= WAITING:
                raise Full(f"{WAITING} videos wait already: try again when one is done")
            key, folder = secrets.token_urlsafe(16), pathlib.Path(self._folder.name)
            suffix = pathlib.PurePath(name).suffix[:8]  # some formats are known by their name alone
            suffix = suffix if suffix[1:].isalnum() and suffix.isascii() else ""
            job = Job(key, name[:200], folder / f"{key}.sent{suffix}", folder / f"{key}.mp4", attention)
            self._jobs[key] = job
            return job

    def enqueue(self, job: Job) -> None:
        """Queues a job, whose video is complete, for annotation."""
        job.to("waiting")
        self._queue.put(job)

    def get(self, key: str) -> Job | None:
        """A job by its id."""
        with self._lock:
            self._forget_old()
            return self._jobs.get(key)

    def all(self) -> list[Job]:
        """All jobs, the oldest first."""
        with self._lock:
            self._forget_old()
            return list(self._jobs.values())

    def remove(self, key: str) -> None:
        """Ends a job and removes its files."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        job = self._jobs.pop(key, None)
        if job is not None:
            job.cancelled = True
            _remove(job.source, job.result)

    def _forget_old(self) -> None:
        """Drops results that are old or too many; the lock is held."""
        ended = [job for job in self._jobs.values() if job.state in ("done", "failed")]
        for number, job in enumerate(reversed(ended)):
            if number >= KEPT or time.monotonic() - job.changed > KEPT_SECONDS:
                self._drop(job.id)

    def _work(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._forget_old()
            try:
                job = self._queue.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if job is not None and not job.cancelled:
                self._run(job)

    def _run(self, job: Job) -> None:
        def progress(done: float) -> None:
            job.progress = done
            if job.cancelled or self._stopping.is_set():
                raise _Cancelled

        job.to("running")
        try:
            job.segments = tuple(self._annotate(job.source, job.result, progress, job.attention))
            job.progress = 1.0
            job.to("done")
        except _Cancelled:
            job.to("failed", "cancelled")
        except UserError as error:
            job.to("failed", str(error).replace(str(job.source), job.name))
        except Exception as error:  # of a decoder, or a full disk: the page goes on
            _log.exception("%s could not be annotated", job.name)
            job.to("failed", one_line(error) or type(error).__name__)
        with self._lock:
            _remove(job.source)
            if job.cancelled:  # while it was annotated
                _remove(job.result)


def _remove(*paths: pathlib.Path) -> None:
    """Removes those of the files that exist."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
