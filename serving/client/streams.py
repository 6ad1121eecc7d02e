"""Streams of frames for :mod:`serving.client.sliding_window`: a video file, a folder of new pictures, a camera.

Each stream is iterated once and yields frames as uint8 RGB arrays ``[H, W, 3]`` or as the bytes of JPEG files, one at a
time. ``fps`` is the frames per second. The frames of a ``live`` stream arrive in real time and do not wait, so it is
read through :func:`as_they_come`.
"""

from __future__ import annotations

import collections
import os
import pathlib
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.converting.video import Frame

SUFFIXES = (".jpg", ".jpeg", ".png")
POLL_SECONDS = 0.1  # between two listings of a folder
WAITING_SECONDS = 1.0  # most seconds of a live stream whose frames wait
NO_PICTURE_SECONDS = 10.0  # after which an address that gives no picture counts as unplugged
LEAST_STEP = 0.3  # fraction of a frame's duration: least time assumed between frames that come in a burst
_T = TypeVar("_T")


class Stream(Protocol):
    """Frames with a rate."""

    @property
    def fps(self) -> float:
        """Frames per second."""

    def __iter__(self) -> Iterator[np.ndarray | bytes]:
        """The frames."""


class VideoFrames:
    """The frames of a video file, as a player shows them: see :class:`tfrecords.converting.video.Video`.

    Args:
        path: Any file FFmpeg's libraries read.
        fps: Frames per second; default: the file's rate.
        threads: Whether decoding uses all cores.

    Raises:
        UserError: No such file, no video, damaged (also while iterating), without frames or without a rate.
    """

    height: int
    width: int

    def __init__(self, path: str | os.PathLike, fps: float | None = None, threads: bool = False):
        from tfrecords.converting.video import Video

        self._path = pathlib.Path(path)
        self._video = self._checked(lambda: Video(self._path, threads))
        self._given_fps = fps
        self._fps = fps or self._video.fps
        self.height, self.width = self._video.height, self._video.width

    @property
    def fps(self) -> float:
        """Frames per second."""
        if not self._fps:
            raise UserError(f"{self._path}: has no frames per second: give --fps")
        return self._fps

    @property
    def known_fps(self) -> float:
        """Frames per second; 0 if the file does not give it."""
        return self._fps

    @property
    def count(self) -> int:
        """Number of frames without decoding them; 0 if the file does not give it."""
        return self._checked(lambda: self._video.count)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(np.asarray, self.frames())

    def timed(self) -> Iterator[tuple[float, np.ndarray]]:
        """Seconds of each frame, and the frame as an array."""
        return ((seconds, np.asarray(frame)) for seconds, frame in self.shown())

    def shown(self) -> Iterator[tuple[float, Frame]]:
        """The seconds at which a player shows each frame, or those of the given ``fps``; and the frame."""
        for number, frame in enumerate(self.frames()):
            yield number / self._given_fps if self._given_fps else frame.time, frame

    def frames(self) -> Iterator[Frame]:
        """The frames, each as :class:`tfrecords.converting.video.Frame`: slicing converts it to RGB."""
        return self._all(iter(self._video))

    def numbered(self, needed: Collection[int]) -> Iterator[tuple[int, Frame]]:
        """Frames with their numbers; see :meth:`tfrecords.converting.video.Video.numbered`."""
        return self._all(self._video.numbered(needed))

    def _all(self, items: Iterator[_T]) -> Iterator[_T]:
        while True:
            item = self._checked(lambda: next(items, None))
            if item is None:
                return
            yield item

    def _checked(self, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except ValueError as error:
            where = messages.without_password(str(self._path.parent / str(error)))  # the path may be an address
            raise UserError(f"{where}, expected a whole video file such as .mp4 or .avi") from None


class FolderFrames:
    """The pictures of a folder, in the order of their names, and those added while it is read.

    Numbers in the names count as numbers: ``frame_10`` comes after ``frame_9``. A picture that is still being written
    is read when it is complete. A picture of another size is scaled to the size of the first.

    Args:
        path: The folder, with JPEG or PNG files; JPEG files of the first one's size are yielded as bytes. Other files
            are ignored.
        fps: Frames per second.
        idle: Seconds without a new picture after which the stream ends.

    Raises:
        UserError: No such folder; while iterating: a picture that is never completed or cannot be decoded, or one that
            appears later than its successor. Iterating again continues after that picture.

    Example:
        >>> for frame in FolderFrames("incoming", fps=25, idle=5):  # doctest: +SKIP
        ...     print(len(frame))
    """

    fps: float

    def __init__(self, path: str | os.PathLike, fps: float, idle: float = 5.0):
        self._path = pathlib.Path(path)
        self.fps = fps
        self._idle = idle
        self._taken: set[str] = set()
        if not self._path.is_dir():
            raise UserError(f"{path}: no such folder, expected one with the frames as .jpg or .png files")

    def __iter__(self) -> Iterator[np.ndarray | bytes]:
        from tfrecords.converting import crops

        taken = self._taken
        last: str | None = None
        size: tuple[int, ...] | None = None
        unread: tuple | None = None
        deadline = time.monotonic() + self._idle
        while True:
            present = self._names()
            taken.intersection_update(present)  # names of pictures that were removed need not be remembered
            reason = None
            for name in sorted(present - taken, key=_natural):
                if last is not None and _natural(name) < _natural(last):
                    taken.add(name)
                    raise UserError(f"{self._path / name} appeared after {last}: frames must appear in their order")
                try:
                    data, picture = self._read(name)
                except ValueError as error:
                    reason = str(error)
                    break
                size = size or picture.shape[:2]
                yield data if data and picture.shape[:2] == size else crops.scaled(picture, size)
                taken.add(name)
                last = name
                deadline = time.monotonic() + self._idle
            if reason and self._state(name) != unread:  # it is being written
                unread = self._state(name)
                deadline = time.monotonic() + self._idle
            if time.monotonic() >= deadline:
                if reason:
                    taken.add(name)
                    raise UserError(f"{self._path / name}: {reason}")
                return
            time.sleep(POLL_SECONDS)

    def _names(self) -> set[str]:
        try:
            names = {path.name for path in self._path.iterdir() if path.suffix.lower() in SUFFIXES}
            return {name for name in names if not name.startswith(".")}  # hidden: a system's, or not yet renamed
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read any more ({error.strerror})") from None

    def _read(self, name: str) -> tuple[bytes | None, np.ndarray]:
        """A file's bytes (``None`` if it is no JPEG) and picture; ``ValueError`` if there is none, or none yet."""
        from tfrecords.converting import crops

        try:
            data = (self._path / name).read_bytes()
            picture = crops.decode_picture(data)
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror})") from None
        except crops.IncompletePicture as error:
            raise ValueError(f"{error}, and it is no longer being written") from None
        return (data if data.startswith(b"\xff\xd8") else None), picture

    def _state(self, name: str) -> tuple[str, int, int] | None:
        """A file's name, size and time of change: size and time change while it is being written."""
        try:
            status = (self._path / name).stat()
        except OSError:
            return None
        return name, status.st_size, status.st_mtime_ns


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key of a file name in which numbers count as numbers."""
    return [(int(digits), "") if digits else (-1, text) for digits, text in re.findall(r"(\d+)|(\D+)", name)]


class CameraFrames:
    """The frames of a camera, until it ends or is unplugged; all in the size of the first.

    A recording instead of a camera (a file, or the address of one) plays in real time: each frame comes at its time
    stamp, counted from when the caller has used the first frame.

    Args:
        source: A number (0 is the first camera of this machine), an address such as ``rtsp://...``, or a video file.
        fps: Frames per second; default: the camera's rate.

    Raises:
        UserError: The camera cannot be opened, yields no frame, or has no rate; or as :class:`VideoFrames`.
    """

    live = True  # its frames arrive in real time and do not wait
    fps: float

    def __init__(self, source: int | str, fps: float | None = None):
        self._source = str(source)
        is_number = self._source.isdecimal()
        self._file = None if is_number or not os.path.isfile(self._source) else VideoFrames(self._source, fps)
        self.fps = self._file.fps if self._file else self._open(int(self._source) if is_number else self._source, fps)

    def _open(self, source: int | str, fps: float | None) -> float:
        """Opens a camera or an address and returns its frames per second."""
        import cv2

        _quiet_opencv()
        shown = messages.without_password(self._source)
        if isinstance(source, str) and "://" in source:  # without limits OpenCV would wait for half a minute
            limit = round(1000 * NO_PICTURE_SECONDS)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        else:
            self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise UserError(f"camera {shown} cannot be opened: is it plugged in, free, and the address right?")
        fps = fps or self._capture.get(cv2.CAP_PROP_FPS)
        if not fps > 0:
            raise UserError(f"camera {shown} does not give its frames per second: give --fps")
        return fps

    def __iter__(self) -> Iterator[np.ndarray]:
        return (frame for _, frame in self.timed())

    def timed(self) -> Iterator[tuple[float, np.ndarray]]:
        """Each frame with its seconds: a recording's time stamps, or a camera's time since the first frame."""
        if self._file:
            return _in_real_time(self._file.timed())
        return self._captured()

    def _captured(self) -> Iterator[tuple[float, np.ndarray]]:
        import cv2

        # OpenCV reads a recording at an address as fast as it arrives. The length of a live stream is not known.
        is_recording = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        pictures = self._pictures()
        if is_recording:
            return _in_real_time((self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, picture) for picture in pictures)
        return _by_the_clock(pictures, LEAST_STEP / self.fps)

    def _pictures(self) -> Iterator[np.ndarray]:
        from tfrecords.converting import crops

        size = None
        try:
            while True:
                success, picture = self._capture.read()
                if not success:
                    break
                size = size or picture.shape[:2]
                yield crops.scaled(picture, size)[..., ::-1]  # BGR -> RGB
        finally:
            self._capture.release()
        if not size:
            shown = messages.without_password(self._source)
            raise UserError(f"camera {shown} yields no picture: does another program use it?")


def _quiet_opencv() -> None:
    """Silences OpenCV: one line of ours reports a missing or stalled camera; FFmpeg would print parts of a password."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging: Any = getattr(cv2.utils, "logging", cv2)  # where it is depends on OpenCV's version
    logging.setLogLevel(0)


def _in_real_time(timed: Iterable[tuple[float, _T]]) -> Iterator[tuple[float, _T]]:
    """Yields each element no earlier than at its seconds, counted from when the first element has been used."""
    begin: float | None = None
    for seconds, item in timed:
        if begin is not None:
            time.sleep(max(begin + seconds - time.monotonic(), 0))
        yield seconds, item
        if begin is None:
            begin = time.monotonic() - seconds


def _by_the_clock(items: Iterable[_T], least: float) -> Iterator[tuple[float, _T]]:
    """Each element with the seconds since the first one came, at least ``least`` more than the element before."""
    begin, seconds = None, -least
    for item in items:
        now = time.monotonic()
        begin = now if begin is None else begin
        seconds = max(now - begin, seconds + least)
        yield seconds, item


def waiting_frames(fps: float) -> int:
    """Largest number of a live stream's frames that wait."""
    return max(round(WAITING_SECONDS * fps), 1)


def as_they_come(frames: Iterable[_T], waiting: int) -> Iterator[tuple[bool, _T]]:
    """The elements of a live stream, each with a flag that it is the newest so far.

    A separate thread reads the stream, so that frames are received while earlier ones are used. If more than
    ``waiting`` frames wait, the oldest is left out; a warning says so the first time.

    Args:
        frames: The stream; its exceptions are raised here.
        waiting: Largest number of elements that wait.

    Yields:
        Whether the element is the newest, and the element.
    """
    came: collections.deque[_T] = collections.deque(maxlen=waiting)
    changed = threading.Condition()
    failed: list[BaseException] = []
    stopped, ended, left_out = threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        try:
            for frame in frames:
                with changed:
                    if len(came) == waiting:
                        left_out.set()
                    came.append(frame)
                    changed.notify()
                if stopped.is_set():
                    return
        except Exception as error:  # an error of the stream; raised where its frames are used
            failed.append(error)
        finally:
            with changed:
                ended.set()
                changed.notify()

    reading = threading.Thread(target=read, name="camera", daemon=True)
    reading.start()
    warned = False
    try:
        while True:
            with changed:
                changed.wait_for(lambda: came or ended.is_set())
                if not came:
                    break
                frame = came.popleft()
                newest = not came
            if left_out.is_set() and not warned:  # not in the thread: output during an estimate is dropped
                messages.warn("frames come faster than they are processed: the oldest are left out")
                warned = True
            yield newest, frame
        if failed:
            raise failed[0]
    finally:
        stopped.set()
        reading.join(1.0)  # the next frame may never come
