"""A video file of what a session shows; if the process is killed, only the last seconds are missing."""

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
WAITING = 8  # most pictures that wait to be written; further ones are left out
_CLOCK = fractions.Fraction(1, 1000)  # seconds
# Fragments of two seconds, written at once: the file can be read even if its end is missing.
_FLUSHED = {"flush_packets": "1"}
_FRAGMENTS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "2000000", **_FLUSHED}
_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "g": "60"}


def check(path: str) -> None:
    """Raises :class:`UserError` unless a video of that name can be written."""
    file = pathlib.Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"--write {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise UserError(f"--write {path}: no such folder")


def unused(path: str) -> str:
    """The name, or a numbered one if a file has it: ``seen_2.mp4`` for ``seen.mp4``; an empty name stays empty.

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
    """Writes the pictures of a video file, each with its own time stamp.

    Args:
        container: The file, opened with PyAV.
        codec: Name of the codec.
        height: Height of the pictures, pixels, even.
        width: Width, likewise.
        options: Options of the codec.
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
        """Writes the next picture, ``[H, W, 3]`` uint8 RGB, which is shown ``seconds`` after the beginning."""
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._last = max(round(seconds * 1000), self._last + 1)
        frame.pts, frame.time_base = self._last, _CLOCK
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Writes the pictures that the codec has held back."""
        self._container.mux(self._stream.encode())


class _File(io.FileIO):
    """A file that writes all of each block or raises an error, also while a container is closed.

    FFmpeg's own files raise no error on closing, even if the disk did not take all of the last blocks.
    """

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        return len(data)


class Writer:
    """Writes pictures into a video file, in a thread of its own; the file gets its name when it is complete.

    Args:
        path: The file. Pictures of another size than the first are scaled to fit that size, with black margins.
    """

    def __init__(self, path: str) -> None:
        check(path)
        self._path = path
        self._waiting: queue.Queue[tuple[float, np.ndarray] | None] = queue.Queue(WAITING)
        self._ended = False  # None has been taken
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, seconds: float, picture: np.ndarray) -> None:
        """Takes the next picture ``[H, W, 3]`` uint8 RGB, and when it was taken; does not wait for the disk."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((seconds, picture))

    def stop(self) -> None:
        """Writes the pictures that wait and ends the file."""
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
                except Exception as error:  # of the disk or codec: what is written so far can be read, and is kept
                    self._failed(error.__context__ or error)  # the first error, if closing the file failed as well
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
    """A picture scaled to a size, keeping its proportions, with black margins; one excess row or column is cut."""
    if picture.shape[0] - height in (0, 1) and picture.shape[1] - width in (0, 1):
        return np.ascontiguousarray(picture[:height, :width])
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = (max(round(side * scale), 1) for side in picture.shape[:2])
    rows, columns = (min(side, most) for side, most in zip(size, (height, width)))
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    out[top : top + rows, left : left + columns] = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    return out
