"""Recordings: the frames of a video file, or of a folder of pictures, one after another and upright.

Both give frames that are sliced like arrays ``[H, W, 3]``. A frame of a video is converted to RGB where it is sliced,
and nowhere else: of a picture of 1920x1080 a person's crop is a tenth.
"""

import itertools
import pathlib

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from tfrecords.converting import crops

# Frames by which two streams of a recording may differ: sensors start and stop them one after another.
LENGTHS_DIFFER = 5
LENGTHS_DIFFER_SHARE = 0.05
_NOT_KNOWN = 1 << 30  # frames that FFmpeg writes into the header of an AVI in which it cannot go back
_UNSPECIFIED = 2  # colourspace of a video that does not say: then BT.601, as the others allowed below


class Video:
    """A video file.

    Args:
        path: Any file FFmpeg's libraries read.
        threads: Whether several frames are decoded at a time, on all cores: for one file in a hurry, not for many files
            side by side.

    Attributes:
        fps: Frames per second, as the file says.
        width: Of an upright frame, pixels.
        height: Likewise.

    Iterating gives the frames, each as :class:`Frame`.

    Raises:
        ValueError: Not a video, cannot be read, damaged or cut off (when opened, or while iterating), or no frame in
            it.
    """

    def __init__(self, path, threads=False):
        self.path = pathlib.Path(path)
        self._threads = threads
        # What is decoded to know the size is kept for whoever iterates first: a tenth of the work for a short clip.
        frames = self._decode()
        first = next(frames)
        self.height, self.width = first.shape[:2]
        self._begun = itertools.chain([first], frames)

    def __iter__(self):
        begun, self._begun = self._begun, None
        return begun or self._decode()

    @property
    def count(self):
        """Frames, known without decoding them; 0 if they are not."""
        try:
            with av.open(str(self.path)) as container:
                packets = sum(1 for packet in container.demux(video=0) if packet.size)
                return packets if packets == container.streams.video[0].frames else 0
        except av.error.FFmpegError:
            return 0  # whoever decodes them finds out what is wrong

    def _decode(self):
        count = 0
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise ValueError(f"{self.path.name}: has no picture, expected a video file")
                stream = container.streams.video[0]
                self.fps = float(stream.average_rate or 0.0)
                if self._threads:
                    stream.thread_type = "AUTO"
                for frame in container.decode(video=0):
                    yield Frame(frame)
                    count += 1
                if count and _is_cut_off(stream, count, frame):
                    raise ValueError(f"{self.path.name}: cut off, {count} of its {stream.frames} frames are there")
        except av.error.FFmpegError as error:
            if count:
                reason = f"damaged after frame {count}"
            elif isinstance(error, OSError):
                reason = f"cannot be read ({error.strerror})"
            else:
                reason = "damaged or no video file"
            raise ValueError(f"{self.path.name}: {reason}") from None
        if not count:
            raise ValueError(f"{self.path.name}: has no frames")


def lengths_agree(first, second):
    """Whether two numbers of frames differ by no more than sensors that start and stop one after another do."""
    return abs(first - second) <= max(LENGTHS_DIFFER, LENGTHS_DIFFER_SHARE * max(first, second))


def _is_cut_off(stream, count, last):
    """Whether a file ends before its stream does, which decoders of some formats do not report.

    Both the frames and the time must say so. The header's number alone also counts frames that a telephone's edit
    leaves out and those that a recorder dropped; its duration alone is an estimate where frames last unequally long.

    Args:
        stream: PyAV's stream.
        count: Frames decoded.
        last: The last of them, PyAV's.
    """
    said = stream.frames
    if not count < said < _NOT_KNOWN or lengths_agree(count, said) or not stream.duration or last.pts is None:
        return False
    reached = (last.pts - (stream.start_time or 0)) / stream.duration
    return reached < 1 and not lengths_agree(said * reached, said)


class Frame:
    """One frame of a video; ``frame[top:bottom, left:right]`` is that part of it, RGB uint8.

    Args:
        frame: The decoder's.
    """

    def __init__(self, frame):
        self._frame = frame
        self._quarters = round(frame.rotation / 90) % 4  # a telephone's mark of how it was held

    @property
    def shape(self):
        """``(height, width, 3)``."""
        size = self._frame.height, self._frame.width
        return (*(size if self._quarters % 2 == 0 else size[::-1]), 3)

    def __getitem__(self, key):
        rows, columns = key
        height, width, _ = self.shape
        top, bottom, _ = rows.indices(height)
        left, right, _ = columns.indices(width)
        if bottom <= top or right <= left:
            return np.zeros((max(bottom - top, 0), max(right - left, 0), 3), np.uint8)
        if not self._is_usual or height % 2 or width % 2:
            return np.rot90(self._frame.to_ndarray(format="rgb24"), self._quarters)[rows, columns]
        # Between even lines and columns, where each value of colour belongs to two by two pixels.
        even = slice(top - top % 2, bottom + bottom % 2), slice(left - left % 2, right + right % 2)
        return self._even_part(*even)[top % 2 :, left % 2 :][: bottom - top, : right - left]

    @property
    def _is_usual(self):
        """Whether it is upright, in three planes, and of the colours that OpenCV's conversion takes it to be."""
        frame = self._frame
        return (
            not self._quarters
            and frame.format.name == "yuv420p"
            and frame.color_range in (ColorRange.UNSPECIFIED, ColorRange.MPEG)
            and frame.colorspace in (Colorspace.DEFAULT, Colorspace.ITU601, Colorspace.SMPTE170M, _UNSPECIFIED)
        )

    def _even_part(self, rows, columns):
        planes = []
        for step, plane in zip((1, 2, 2), self._frame.planes):
            lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            part = lines[rows.start // step : rows.stop // step, columns.start // step : columns.stop // step]
            planes.append(part.ravel())
        packed = np.concatenate(planes).reshape(-1, columns.stop - columns.start)
        return cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)

    def __array__(self, dtype=None, copy=None):
        whole = self[:, :]
        return whole if dtype is None else whole.astype(dtype)


class Pictures:
    """A recording kept as one picture file per frame.

    Args:
        paths: Paths of the pictures, JPEG or PNG, in order.
        fps: Frames per second.

    Attributes and iteration as of :class:`Video`; frames are arrays.
    """

    def __init__(self, paths, fps):
        self.paths, self.fps = tuple(paths), fps
        if not self.paths:
            raise ValueError("no pictures")
        self.height, self.width = next(iter(self)).shape[:2]

    def __iter__(self):
        for path in self.paths:
            try:
                data = path.read_bytes()
                yield crops.decode_picture(data)
            except OSError as error:
                raise ValueError(f"{path.name}: cannot be read ({error.strerror})") from None
            except ValueError as error:
                raise ValueError(f"{path.name}: {error}") from None
