"""Recordings: the frames of a video file, or of a folder of pictures, one after another and upright.

Both give frames that are sliced like arrays ``[H, W, 3]``. A frame of a video is converted to RGB where it is sliced,
and nowhere else: of a picture of 1920x1080 a person's crop is a tenth.
"""

import pathlib

import av
import numpy as np

from tfrecords import crops


class Video:
    """A video file.

    Args:
        path: Any file FFmpeg's libraries read.

    Attributes:
        fps: Frames per second, as the file says.
        width: Of an upright frame, pixels.
        height: Likewise.

    Iterating gives the frames, each as :class:`Frame`.

    Raises:
        ValueError: Not a video, cannot be read, damaged (when opened, or while iterating), or no frame in it.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        first = next(iter(self))
        self.height, self.width = first.shape[:2]
        with av.open(str(self.path)) as container:
            rate = container.streams.video[0].average_rate
        self.fps = float(rate or 0.0)

    def __iter__(self):
        count = 0
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise ValueError(f"{self.path.name}: has no picture, expected a video file")
                # One reformatter for all frames: it keeps its tables as long as sizes stay the same.
                reformatter = av.video.reformatter.VideoReformatter()
                for frame in container.decode(video=0):
                    yield Frame(frame, reformatter)
                    count += 1
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


class Frame:
    """One frame of a video; ``frame[top:bottom, left:right]`` is that part of it, RGB uint8.

    Args:
        frame: The decoder's.
        reformatter: Converts it.
    """

    def __init__(self, frame, reformatter):
        self._frame, self._reformatter = frame, reformatter
        self._quarters = round(frame.rotation / 90) % 4  # a telephone's mark of how it was held

    @property
    def shape(self):
        """``(height, width, 3)``."""
        size = self._frame.height, self._frame.width
        return (*(size if self._quarters % 2 == 0 else size[::-1]), 3)

    def __getitem__(self, key):
        rows, columns = key
        if not self._in_planes:
            return np.rot90(self._rgb(self._frame), self._quarters)[rows, columns]
        top, bottom, _ = rows.indices(self._frame.height)
        left, right, _ = columns.indices(self._frame.width)
        if bottom <= top or right <= left:
            return np.zeros((max(bottom - top, 0), max(right - left, 0), 3), np.uint8)
        even = self._even_part(top - top % 2, bottom + bottom % 2, left - left % 2, right + right % 2)
        if even is None:
            return self._rgb(self._frame)[rows, columns]
        top, left, height, width = top % 2, left % 2, bottom - top, right - left
        return self._rgb(even)[top : top + height, left : left + width]

    def _even_part(self, top, bottom, left, right):
        """A frame of the part between even lines and columns, where each colour value belongs to four pixels."""
        frame = self._frame
        if bottom > frame.height or right > frame.width:  # of odd size, and the part reaches its end
            return None
        planes = []
        for number, plane in enumerate(frame.planes):
            lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            step = 2 if number else 1
            planes.append(lines[top // step : bottom // step, left // step : right // step].ravel())
        packed = np.concatenate(planes).reshape(-1, right - left)
        part = av.VideoFrame.from_ndarray(packed, format=frame.format.name)
        part.colorspace, part.color_range = frame.colorspace, frame.color_range
        return part

    def _rgb(self, frame):
        return self._reformatter.reformat(frame, format="rgb24").to_ndarray()

    def resized(self, box, size):
        """A square of even corners within the frame, made smaller in the same step as it becomes RGB.

        Args:
            box: ``(x_min, y_min, x_max, y_max)``.
            size: Side of the result in pixels.

        Returns:
            ``[size, size, 3]`` uint8, or ``None`` where this way is not open and :func:`tfrecords.crops.cut` has to do.
        """
        left, top, right, bottom = (int(value) for value in box)
        height, width, _ = self.shape
        within = left >= 0 and top >= 0 and right <= width and bottom <= height and right - left > size
        if not within or not self._in_planes or any(value % 2 for value in (left, top, right, bottom)):
            return None
        part = self._even_part(top, bottom, left, right)
        return self._reformatter.reformat(part, size, size, "rgb24", interpolation="AREA").to_ndarray()

    @property
    def _in_planes(self):
        """Whether parts can be taken before they become RGB."""
        return not self._quarters and self._frame.format.name in ("yuv420p", "yuvj420p")

    def __array__(self, dtype=None, copy=None):
        whole = self[:, :]
        return whole if dtype is None else whole.astype(dtype)


def cut(frame, box, size):
    """:func:`tfrecords.crops.cut` of a frame of :class:`Video` or :class:`Pictures`, quicker where it can be."""
    quick = frame.resized(box, size) if isinstance(frame, Frame) else None
    return crops.cut(frame, box, size) if quick is None else quick


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
