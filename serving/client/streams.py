"""Streams of frames for :mod:`serving.client.sliding_window`: a video file, a folder of new pictures, a camera.

Each stream is iterated once and yields frames as uint8 RGB arrays ``[H, W, 3]`` or as the bytes of JPEG files, one at a
time. ``fps`` is the frames per second.
"""

from __future__ import annotations

import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.converting.video import Frame

SUFFIXES = (".jpg", ".jpeg", ".png")
POLL_SECONDS = 0.1  # between two listings of a folder
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
        """Each frame with the seconds at which a player shows it; with ``fps`` given, by that rate."""
        for number, frame in enumerate(self.frames()):
            yield number / self._given_fps if self._given_fps else frame.time, np.asarray(frame)

    def frames(self) -> Iterator[Frame]:
        """The frames, each as :class:`tfrecords.converting.video.Frame`: slicing converts it to RGB."""
        frames = iter(self._video)
        while True:
            frame = self._checked(lambda: next(frames, None))
            if frame is None:
                return
            yield frame

    def _checked(self, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except ValueError as error:
            where = messages.without_password(str(self._path.parent / str(error)))  # an address given as a file
            raise UserError(f"{where}, expected a whole video file such as .mp4 or .avi") from None


class FolderFrames:
    """The pictures of a folder, in the order of their names, and those added while it is read.

    Numbers in the names count as numbers: ``frame_10`` comes after ``frame_9``. A picture that is still being written
    is read when it is complete; one of another size than the first is scaled to it.

    Args:
        path: The folder, with JPEG or PNG files; JPEG files of the first one's size are yielded as bytes. Other files
            are ignored.
        fps: Frames per second.
        idle: Seconds without a new picture after which the stream ends.

    Raises:
        UserError: No such folder; while iterating: a picture that is never completed or cannot be decoded, or one that
            appears later than its successor.

    Example:
        >>> for frame in FolderFrames("incoming", fps=25, idle=5):  # doctest: +SKIP
        ...     print(len(frame))
    """

    fps: float

    def __init__(self, path: str | os.PathLike, fps: float, idle: float = 5.0):
        self._path = pathlib.Path(path)
        self.fps = fps
        self._idle = idle
        if not self._path.is_dir():
            raise UserError(f"{path}: no such folder, expected one with the frames as .jpg or .png files")

    def __iter__(self) -> Iterator[np.ndarray | bytes]:
        from tfrecords.converting import crops

        taken: set[str] = set()
        last: str | None = None
        size: tuple[int, ...] | None = None
        unread: tuple | None = None
        deadline = time.monotonic() + self._idle
        while True:
            present = self._names()
            taken &= present  # names of pictures that were removed need not be remembered
            reason = None
            for name in sorted(present - taken, key=_natural):
                if last is not None and _natural(name) < _natural(last):
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
                    raise UserError(f"{self._path / name}: {reason}")
                return
            time.sleep(POLL_SECONDS)

    def _names(self) -> set[str]:
        try:
            return {path.name for path in self._path.iterdir() if path.suffix.lower() in SUFFIXES}
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read any more ({error.strerror})") from None

    def _read(self, name: str) -> tuple[bytes | None, np.ndarray]:
        """The bytes of a JPEG file, or ``None``, and the picture; ``ValueError`` if there is none, or none yet."""
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
        """What changes while a file is being written."""
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

    Args:
        source: A number (0 is the first camera of this machine) or an address such as ``rtsp://...``.
        fps: Frames per second; default: the camera's rate.

    Raises:
        UserError: The camera cannot be opened, yields no frame, or has no rate.
    """

    live = True  # its frames come whether they are taken or not
    fps: float

    def __init__(self, source: int | str, fps: float | None = None):
        import cv2

        text = str(source)
        self._capture = cv2.VideoCapture(int(text) if text.isdecimal() else text)
        if not self._capture.isOpened():
            shown = messages.without_password(text)
            raise UserError(f"camera {shown} cannot be opened: is it plugged in, free, and the address right?")
        self.fps = fps or self._capture.get(cv2.CAP_PROP_FPS)
        if not self.fps > 0:
            raise UserError(f"camera {messages.without_password(text)} does not give its frames per second: give --fps")
        self._source = text

    def __iter__(self) -> Iterator[np.ndarray]:
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
