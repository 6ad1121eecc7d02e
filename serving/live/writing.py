"""A video file of what a session shows, whole up to its last seconds even where the process is killed."""

from __future__ import annotations

import contextlib
import fractions
import io
import os
import pathlib
import queue
import threading
from typing import Any

import av
import cv2
import numpy as np

from zoo.shared import files, messages
from zoo.shared.errors import UserError

CODEC = "libx264"
SUFFIXES = (".mp4", ".mkv", ".mov")
WAITING = 8  # pictures that wait to be written at most; then the newest are left out
_CLOCK = fractions.Fraction(1, 1000)  # seconds
# Readable although its end is missing: pieces of two seconds, which are not held back.
_FLUSHED = {"flush_packets": "1"}
_FRAGMENTS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "2000000", **_FLUSHED}
_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "g": "60"}


def check(path: str) -> None:
    """:class:`UserError` unless a video of that name can be written."""
    file = pathlib.Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"--write {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise UserError(f"--write {path}: no such folder")


def unused(path: str) -> str:
    """A name beside a video's that no file has, as ``seen_2.mp4`` after ``seen.mp4``; empty for no name.

    Example:
        >>> unused("nobody_has_written_this.mp4")
        'nobody_has_written_this.mp4'
    """
    file, number = pathlib.Path(path), 1
    while path and file.exists():
        number += 1
        file = pathlib.Path(path).with_stem(f"{pathlib.Path(path).stem}_{number}")
    return str(file) if path else ""


class Pictures:
    """The pictures of a video file that is being written, each shown at a time of its own.

    Args:
        container: The open file, of PyAV.
        codec: Name of the codec.
        height: Of the pictures, pixels, even.
        width: Likewise.
        options: Of the codec.
    """

    def __init__(
        self, container: Any, codec: str, height: int, width: int, options: dict[str, str] | None = None
    ) -> None:
        self._container = container
        self._stream: Any = container.add_stream(codec, rate=30, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = _CLOCK
        self._last = -1

    def put(self, seconds: float, picture: np.ndarray) -> None:
        """Writes the next picture, ``[H, W, 3]`` uint8 RGB, shown so long after the beginning."""
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._last = max(round(seconds * 1000), self._last + 1)
        frame.pts, frame.time_base = self._last, _CLOCK
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Writes what the codec holds back."""
        self._container.mux(self._stream.encode())


class _File(io.FileIO):
    """A file in which all of a piece is written or an error raised, also while a container is closed.

    FFmpeg's own files are closed without one, whatever of the last pieces the disk took.
    """

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        return len(data)


class Writer:
    """Writes pictures into a video file, in a thread of its own; it gets its name when it is complete.

    Args:
        path: The file; pictures of another size than the first are put into it with black margins.
    """

    def __init__(self, path: str) -> None:
        check(path)
        self._path = path
        self._waiting: queue.Queue[tuple[float, np.ndarray] | None] = queue.Queue(WAITING)
        self._ended = False  # None has been taken
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, seconds: float, picture: np.ndarray) -> None:
        """Takes the next picture ``[H, W, 3]`` uint8 RGB, and when it was taken; it does not wait for the disk."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((seconds, picture))

    def stop(self) -> None:
        """Writes what waits and ends the file."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        first = self._next()
        if first is None:
            return
        try:
            with files.whole_file(self._path) as partial:
                try:
                    self._write(partial, first)
                except Exception as error:  # a disk's or a codec's: what is written can be read, and stays
                    self._failed(error.__context__ or error)  # the first, where closing the file failed as well
        except OSError as error:
            self._failed(error)
        while not self._ended:  # pictures are dropped
            self._next()

    def _next(self) -> tuple[float, np.ndarray] | None:
        waiting = self._waiting.get()
        self._ended = waiting is None
        return waiting

    def _failed(self, error: BaseException) -> None:
        messages.warn(f"{self._path}: cannot be written ({messages.one_line(error)}), the session goes on without it")

    def _write(self, partial: os.PathLike, first: tuple[float, np.ndarray]) -> None:
        begin, picture = first
        height, width = (max(side // 2 * 2, 2) for side in picture.shape[:2])  # the codec wants even sides
        options = _FRAGMENTS if self._path.lower().endswith((".mp4", ".mov")) else _FLUSHED
        with _File(partial, "w") as file, av.open(file, "w", options=options) as container:
            pictures = Pictures(container, CODEC, height, width, _OPTIONS)
            waiting: tuple[float, np.ndarray] | None = first
            while waiting is not None:
                seconds, picture = waiting
                pictures.put(seconds - begin, _fitted(picture, height, width))
                waiting = self._next()
            pictures.end()


def _fitted(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture of another size, in its own proportions, with black margins; one too many row or column is cut."""
    if picture.shape[0] - height in (0, 1) and picture.shape[1] - width in (0, 1):
        return np.ascontiguousarray(picture[:height, :width])
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = (max(round(side * scale), 1) for side in picture.shape[:2])
    rows, columns = (min(side, most) for side, most in zip(size, (height, width)))
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    out[top : top + rows, left : left + columns] = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    return out
