"""Frames of a camera: a thread reads them as they come, and :meth:`Feed.take` gives the newest.

A camera that cannot be opened, stalls or ends is opened again and again. The session ends at the end of a video file or
of a folder of videos.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Optional

import numpy as np

from serving.client import clips, streams
from serving.live.backoff import Backoff
from tfrecords.converting import video
from tfrecords.converting.persons import FPS
from tfrecords.estimation.tracking import LONGEST_LOSS
from zoo.shared import messages
from zoo.shared.errors import UserError

STALLED = 5.0  # seconds without a frame after which a camera counts as away
LONGEST_PAUSE = 30.0  # seconds between two attempts to open a camera
LATE = 0.2  # seconds by which a frame may come after its time
FOLDER_IDLE = 2.0  # seconds after which an incomplete picture that no longer grows is given up
BETWEEN = LONGEST_LOSS + 0.1  # seconds between two videos of a folder: so nobody keeps a number from one to the next
_JOIN = 3.0  # seconds to wait for the thread that reads

# Seconds from the beginning, and the frame; ``None``: there is no frame yet.
Timed = Iterator[tuple[float, Optional[np.ndarray]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a source.

    Attributes:
        number: Number of the frame, rising.
        picture: ``[H, W, 3]`` uint8, RGB.
        seconds: When it was taken, by ``time.monotonic``.
    """

    number: int
    picture: np.ndarray
    seconds: float


@dataclasses.dataclass(frozen=True)
class Source:
    """A source of frames.

    Attributes:
        name: Name for messages and events, without a password.
        ends: Whether it ends, as a file does.
        open: Opens the source; gives its frames, each with its seconds from the beginning.
    """

    name: str
    ends: bool
    open: Callable[[], Timed]


def find(text: str, fps: float = 0.0) -> Source:
    """The source that a text names.

    Args:
        text: A camera's number, an address, a video file, a folder of videos, or one that pictures are added to.
        fps: Frames per second; 0: the source's own.

    Raises:
        UserError: There is no such file or folder, or the folder has folders only.
    """
    name = messages.without_password(text)
    if text.isdecimal() or "://" in text:
        return Source(name, False, lambda: _camera(text, fps or FPS))
    if os.path.isdir(text):
        entries = sorted(pathlib.Path(text).iterdir())
        videos = [path for path in entries if video.has_video_name(path.name)]
        if videos:
            return Source(name, True, lambda: _one_after_another(videos, fps))
        if entries and all(path.is_dir() for path in entries):
            raise UserError(f"{name} has folders only: name the one with the videos or pictures, such as {entries[0]}")
        pictures = streams.FolderFrames(text, fps or FPS, idle=FOLDER_IDLE)
        return Source(name, False, lambda: _pictures(pictures))
    if os.path.isfile(text):
        streams.VideoFrames(text, fps or None)  # refuses what is no video
        return Source(name, True, lambda: _camera(text, fps))
    raise UserError(
        f"{name}: no such camera, expected a number, an address such as rtsp://..., a video file or a folder"
    )


def _camera(text: str, fps: float) -> Timed:
    return streams.CameraFrames(text, fps or None).timed()


def _one_after_another(videos: list[pathlib.Path], fps: float) -> Timed:
    begin = seconds = 0.0
    for path in videos:
        if begin:
            time.sleep(BETWEEN)
        try:
            for seconds, frame in _camera(str(path), fps):
                yield begin + seconds, frame
        except UserError as error:
            if path == videos[-1]:
                raise
            messages.warn(f"{error}; the next one follows")
        begin += seconds + BETWEEN


def _pictures(frames: streams.FolderFrames) -> Timed:
    """The pictures of a folder; existing ones come no faster than the frame rate, as new ones do."""
    begin = seconds = time.monotonic()
    while True:
        for number, picture in enumerate(frames):
            time.sleep(max(seconds - time.monotonic(), 0))
            now = max(time.monotonic(), seconds)
            seconds = now + 1 / frames.fps
            yield now - begin, clips.decode_jpeg(picture, number) if isinstance(picture, bytes) else picture
        yield time.monotonic() - begin, None


class Feed:
    """Reads a source in a thread of its own.

    Args:
        source: The :class:`Source`.

    Attributes:
        error: Why a source that ends could not be read to its end.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.error: UserError | None = None
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._count = 0
        self._ended = False
        self._last = time.monotonic()  # when the last frame came
        self._reason = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def take(self, seconds: float) -> Frame | None:
        """The newest frame, if not taken yet; ``None`` if none comes within ``seconds`` or the source has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, seconds)
            frame, self._newest = self._newest, None
            return frame

    @property
    def ended(self) -> bool:
        """Whether no frame will come any more."""
        with self._changed:
            return self._ended and self._newest is None

    @property
    def problem(self) -> str:
        """Why no frames come, in one line; empty while they do."""
        with self._changed:
            away = time.monotonic() - self._last
            if self._ended or away < STALLED:
                return ""
            return f"no picture for {away:.0f} s{f' ({self._reason})' if self._reason else ''}"

    def stop(self) -> bool:
        """Stops reading; returns whether the thread has ended: a camera that gives no picture may block it."""
        self._stopped.set()
        self._thread.join(_JOIN)
        return not self._thread.is_alive()

    def _read(self) -> None:
        pauses, away = Backoff(longest=LONGEST_PAUSE), False
        while not self._stopped.is_set():
            reason = "its stream ended"
            try:
                with contextlib.closing(_with_offset(self.source.open())) as frames:
                    for seconds, picture in frames:
                        if self._stopped.is_set():
                            return
                        if picture is None:
                            continue
                        if away:
                            messages.note(f"{self.source.name} is back")
                        away = False
                        pauses.reset()
                        self._put(picture, seconds)
            except UserError as error:
                reason = str(error)
                self.error = error if self.source.ends else None
            except Exception as error:  # of a decoder, for damaged data: the camera itself may still work
                reason = messages.one_line(error) or type(error).__name__
                self.error = UserError(f"{self.source.name}: {reason}") if self.source.ends else None
            if self.source.ends:
                break
            if not away and not self._stopped.is_set():
                messages.warn(f"{self.source.name}: {reason}; trying to open it again until it is back")
            away = True
            with self._changed:
                self._reason = reason
            self._stopped.wait(pauses.next())
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, picture: np.ndarray, seconds: float) -> None:
        with self._changed:
            self._newest = Frame(self._count, picture, seconds)
            self._count += 1
            self._last, self._reason = time.monotonic(), ""
            self._changed.notify_all()


def _with_offset(frames: Timed) -> Generator[tuple[float, np.ndarray | None], None, None]:
    """Frames with their times by ``time.monotonic``; the first frame's time is when it came.

    If a frame comes before its time, or more than :data:`LATE` seconds after it, its time is set to when it came, and
    later times follow from there. So a file that is read too slowly does not fall behind, and no time is in the future.
    """
    offset = -math.inf
    for seconds, frame in frames:
        now = time.monotonic()
        offset = offset if 0 <= now - (offset + seconds) <= LATE else now - seconds
        yield offset + seconds, frame
