"""Recordings: the frames of a video file, or of a folder of pictures, one after another as a player shows them.

Both give frames that are sliced like arrays ``[H, W, 3]``. Only the sliced part of a video frame is converted to RGB:
a person's crop is a tenth of a picture of 1920x1080.

The frames that a player shows differ from those stored in the container. A display matrix turns and mirrors frames, an
edit list leaves frames out, pixels may be wider than high, frames may have different durations, and the size may change
within a video. :class:`Video` gives the frames that are shown, with their time stamps, in display orientation and
square pixels, scaled to the size of the first frame.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import os
import pathlib
import re
import struct
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords.converting import crops
from zoo.shared import extras, files

if TYPE_CHECKING:
    import av
    import cv2
else:
    av, cv2 = extras.lazy("av"), extras.lazy("cv2")

# Files in a folder with these suffixes are taken for videos. A file that is given by its own path may have any name.
SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
    ".ogv",
)  # fmt: skip
# Frames by which two streams of a recording may differ: sensors start and stop them one after another.
LENGTHS_DIFFER = 5
LENGTHS_DIFFER_FRACTION = 0.05
_NOT_KNOWN = 1 << 30  # frames; FFmpeg writes it into the header of an AVI file in which it cannot seek
# BT.601 as in OpenCV, for Y from 16 to 235 and U and V centred at 128; the last column is the offset.
_RGB_OF_YUV = np.array([[1.164, 0.0, 1.596, -222.912], [1.164, -0.391, -0.813, 135.488], [1.164, 2.018, 0.0, -276.928]])
_MATROSKA_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)\0*")
_FLV_DURATION = re.compile(rb"\0\x08duration\0(.{8})", re.DOTALL)  # an AMF number, near the file's beginning
_FLV_BEGINNING = 1 << 16  # bytes
_COMPARED = 16  # frames of interlaced video that are decoded to see what its packets hold
_EARLIER = (1, 4, 16, 64)  # seconds before a frame at which decoding may begin, tried one after another
_ROUNDING = 0.001  # seconds: annotations and many containers are rounded to milliseconds
_SUSPICIOUS = 240  # frames per second: a rate this high may be the clock of the file
_UNSPECIFIED = 2  # colourspace of a video that states none: taken as BT.601, like the others allowed below


def has_video_name(name: str) -> bool:
    """Whether a file in a folder is taken for a video.

    Hidden files are not: on disks of other systems macOS writes its own file ``._clip.mp4`` beside each ``clip.mp4``.

    Example:
        >>> [has_video_name(name) for name in ("clip.MP4", "._clip.mp4", "clip.txt")]
        [True, False, False]
    """
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


class Orientation:
    """How a decoded picture is turned and mirrored for display: one of the eight symmetries of a square.

    Args:
        transposed: Whether rows become columns, as the first step.
        mirrored: Whether left and right are exchanged after that.
        flipped: Whether top and bottom are exchanged after that.
    """

    def __init__(self, transposed: bool = False, mirrored: bool = False, flipped: bool = False):
        self.transposed, self.mirrored, self.flipped = transposed, mirrored, flipped

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """The orientation in a decoded frame's display matrix; upright without one."""
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return UPRIGHT
        # Rows (a, b, u), (c, d, v), (x, y, w): a pixel (p, q) is shown at (a p + c q + x, b p + d q + y).
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @property
    def is_upright(self) -> bool:
        """Whether the picture is shown as it is stored."""
        return not (self.transposed or self.mirrored or self.flipped)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The picture ``[H, W, 3]`` as it is shown."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1]


UPRIGHT = Orientation()


class Video:
    """A video file, as a player shows it.

    Args:
        path: Any file FFmpeg's libraries read.
        threads: Whether several frames are decoded in parallel, on all cores: faster for one file, no help if many
            files are decoded at once.

    Attributes:
        fps: Frames per second: the mean rate of the frames that are shown; 0 if the file does not state one.
        width: Of a frame as it is shown, pixels.
        height: Height of a frame as it is shown, pixels.

    Iterating gives the frames, each as :class:`Frame`; only the few that the decoder holds are in memory.

    Raises:
        ValueError: Not a video, cannot be read, damaged or cut off (when opened, or while iterating), or no frame in
            it.
    """

    def __init__(self, path: str | os.PathLike, threads: bool = False) -> None:
        self.path = pathlib.Path(path)
        self._threads = threads
        self._skippable: frozenset[int] = frozenset()  # time stamps of packets that need not be decoded
        # The frame that is decoded to find the size is kept for the first iteration: this saves a tenth of the work for
        # a short clip.
        frames = self._decode(None)
        first = next(frames)
        self.height, self.width = first.shape[:2]
        # Fields of interlaced H.264 may be packets of their own: two for a frame.
        self._may_have_fields = self._codec == "h264" and first.is_interlaced
        self._begun: Iterator[Frame] | None = itertools.chain([first], frames)
        if self._may_have_fields:
            self._compare_with_packets()

    def __iter__(self) -> Iterator[Frame]:
        begun, self._begun = self._begun, None
        return begun or self._decode((self.height, self.width))

    def shown(self) -> Iterator[tuple[float, Frame]]:
        """``(time, frame)`` of each frame; ``time`` is when a player shows it, in seconds."""
        return ((frame.time, frame) for frame in self)

    def numbered(self, needed: Collection[int]) -> Iterator[tuple[int, Frame]]:
        """``(number, frame)`` of the frames, in order; frames that are not ``needed`` may be left out.

        A frame is left out if no other frame refers to it, as most B-frames of H.264: decoding takes a third less time
        if every second frame is needed. The frames end early, without an error, where such a video is damaged.
        """
        frames = iter(self)
        first = next(frames)
        number_of = self._numbers()
        if number_of.get(first.time_stamp) != 0:
            yield from enumerate(itertools.chain([first], frames))
            return
        yield 0, first
        self._skippable = frozenset(time for time, number in number_of.items() if number not in needed)
        try:
            yield from ((number_of.get(frame.time_stamp, -1), frame) for frame in frames)
        finally:
            self._skippable = frozenset()

    def _numbers(self):
        """Time stamp -> number of the frame; empty where nothing can be skipped, or time stamps may be wrong."""
        # In H.264 alone it is certain whether any other frame refers to a frame.
        if self._codec != "h264" or self._may_have_fields:
            return {}
        times = [time for time, _ in self._stamps]
        if None in times or len(set(times)) < len(times):
            return {}
        # Where B-frames are, packets are not in the order of display. Files without time stamps, such as AVI, count the
        # packets instead; then, and without B-frames, there is nothing to skip. Where recordings are joined, the clock
        # may go back: frames are then not shown in the order of their time stamps.
        shown, decoded = sorted(times), [time for _, time in self._stamps if time is not None]
        if times == shown or decoded != sorted(set(decoded)):
            return {}
        return {time: number for number, time in enumerate(shown)}

    def times(self) -> tuple[list[float], list[int]]:
        """Seconds at which each frame is shown; and time stamps, empty where they do not tell the frames apart."""
        shown = [stamp for stamp, _ in self._stamps]
        decoded = [stamp for _, stamp in self._stamps if stamp is not None]
        # Where recordings are joined, the clock may go back.
        if self._is_counted or None in shown or len(set(shown)) < len(shown) or decoded != sorted(decoded):
            return [number / self.fps if self.fps else 0.0 for number in range(len(shown))], []
        return [float(stamp * self._tick) - self._start for stamp in sorted(shown)], sorted(shown)

    def frames_from(self, number: int, time_stamp: int | None) -> Iterator[Frame]:
        """The frames from one of them on.

        Args:
            number: The number of that frame.
            time_stamp: Its time stamp: decoding begins shortly before it; ``None``: at the beginning of the file.
        """
        size = self.height, self.width
        # Some key frames need frames before them, so decoding begins a second earlier. Transport streams have no index:
        # reading begins between key frames, and the next one may be too late.
        for seconds in _EARLIER if time_stamp is not None else ():
            earlier = time_stamp - round(seconds / self._tick)
            with contextlib.suppress(ValueError):  # not every file can be read from the middle
                frames = (frame for frame in self._decode(size, earlier) if frame.time_stamp is not None)
                first = next((frame for frame in frames if frame.time_stamp >= time_stamp), None)
                if first is not None and first.time_stamp == time_stamp:
                    return itertools.chain([first], frames)
        return itertools.islice(self._decode(size), number, None)

    @property
    def count(self) -> int:
        """Number of frames that are shown, counted by packets without decoding; 0 if that is not possible.

        A format may have packets that are decoded and never shown: the exact number is known only after decoding.
        """
        return len(self._stamps)

    @functools.cached_property
    def _stamps(self):
        """Time stamps of the first packet of each frame that is shown: ``(shown, decoded)``; empty if not readable."""
        try:
            found = [(packet.pts, packet.dts) for packet in self._packets()]
            return self._of_frames(found) if self._may_have_fields else found
        except (av.error.FFmpegError, ValueError, IndexError):
            return []  # decoding reports what is wrong

    def _compare_with_packets(self):
        """Decodes the first frames, to see whether packets hold fields; then FFmpeg may state the rate of fields."""
        first = itertools.islice(self._decode((self.height, self.width)), _COMPARED)
        self._first_stamps = [frame.time_stamp for frame in first]
        if len(self._first_stamps) > 1 and None not in self._first_stamps:
            lasting = (self._first_stamps[-1] - self._first_stamps[0]) / (len(self._first_stamps) - 1) * self._tick
            if round(self.fps * lasting) == 2:
                self.fps /= 2

    def _of_frames(self, packets):
        """Those of the packets, each of a frame or of a field, that begin a frame."""
        if self.fps and not any(shown is None for shown, _ in packets):
            least = 0.75 / self.fps / self._tick
            begin: list[int] = []
            for shown, _ in sorted(packets):
                if not begin or shown - begin[-1] >= least:
                    begin.append(shown)
            if begin[: len(self._first_stamps)] == self._first_stamps:
                frames = set(begin)
                return [packet for packet in packets if packet[0] in frames]
        return [(frame.time_stamp, None) for frame in self._decode((self.height, self.width))]

    def _rate(self, stream):
        """Frames per second, also where FFmpeg finds no rate and states Matroska's clock instead."""
        stated = float(stream.average_rate or stream.guessed_rate or 0.0)
        if stated < _SUSPICIOUS:
            return stated
        with contextlib.suppress(av.error.FFmpegError, ValueError, IndexError):
            times = [packet.pts * packet.time_base for packet in self._packets() if packet.pts is not None]
            if len(times) > 1 and max(times) > min(times):
                return float((len(times) - 1) / (max(times) - min(times)))
        return stated

    def _packets(self):
        """The packets of the frames that are shown, not decoded."""
        with self._open() as container:
            for packet in container.demux(self._stream(container)):
                if packet.size and not packet.is_discard:
                    yield packet

    def _flv_seconds(self):
        """End of an FLV file in seconds, sound included: as stated at its beginning (0: not stated), and the real end.

        FFmpeg's own duration is no help: where the file states none, it is an estimate.
        """
        with open(self.path, "rb") as file:
            found = _FLV_DURATION.search(file.read(_FLV_BEGINNING))
        with self._open() as container:
            ends = [(p.pts + (p.duration or 0)) * p.time_base for p in container.demux() if p.pts is not None]
        return struct.unpack(">d", found[1])[0] if found else 0.0, float(max(ends, default=0))

    def _open(self):
        # "file:", as FFmpeg takes the text before a colon in a file name, such as 12:30.mp4, for a protocol.
        # A title that is not UTF-8 is no reason to refuse a video; PyAV 19 has no such option and always replaces.
        options = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
        return av.open(f"file:{self.path}", **options)

    def _stream(self, container):
        """The video stream; the cover picture of a music file does not count."""
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            raise ValueError(f"{self.path.name}: has no moving picture")
        return streams[0]

    def _decode(self, size, begin=None):
        """The frames, all scaled to ``size``; ``None``: to the size in which the first is shown.

        With ``begin``, a time stamp, the first frame is one of those before it, or this one: decoding begins where it
        can. They end early, without an error, where such a video is damaged: which frame it is, is not known.
        """
        count, frame, rotation, orientation = 0, None, None, UPRIGHT
        try:
            with self._open() as container:
                stream = self._stream(container)
                if size is None:
                    self.fps = self._rate(stream)
                codec = stream.codec_context
                if codec is None:  # to decode it would end the process in PyAV 15
                    raise ValueError(f"{self.path.name}: FFmpeg has no decoder for it, or it is damaged")
                aspect = stream.sample_aspect_ratio or codec.sample_aspect_ratio
                start = _start_time(container)
                self._tick, self._start = stream.time_base, start
                # AVI has no time stamps. With B-frames FFmpeg counts packets, which are not in the order of display.
                self._is_counted = container.format.name == "avi" and bool(codec.has_b_frames)
                if self._threads:
                    stream.thread_type = "AUTO"
                self._codec = codec.name
                if begin is not None:
                    container.seek(begin, stream=stream)
                for frame in self._decoded(container, stream, sought=begin is not None):
                    if frame.rotation != rotation:  # first frame, or it changed
                        # Not for every frame: reading side data keeps a frame in memory until garbage is collected.
                        rotation, orientation = frame.rotation, Orientation.of(frame)
                    time = None if self._is_counted else frame.time
                    seconds = time - start if time is not None else count / self.fps if self.fps else 0.0
                    made = Frame(frame, seconds, aspect or 1, size, orientation)
                    size = size or made.shape[:2]
                    yield made
                    count += 1
                if self._skippable:
                    return  # the number of frames is not known
                there = count if begin is None else self.count
                if count and _is_cut_off(stream, there, frame):
                    raise ValueError(f"{self.path.name}: cut off, {there} of its {stream.frames} frames are there")
                is_flv = container.format.name == "flv"
                stated, end = self._flv_seconds() if is_flv else _matroska_seconds(stream, frame)
                if end < stated and not _nearly(end * self.fps, stated * self.fps):
                    raise ValueError(f"{self.path.name}: cut off, {end:.1f} of its {stated:.1f} seconds are there")
        except av.error.FFmpegError as error:
            if self._skippable or begin is not None:
                return  # how many frames there are before the damage is not known
            if count:
                reason = f"damaged after frame {count}"
            elif isinstance(error, OSError):
                reason = f"cannot be read ({error.strerror}){_similar(self.path)}"
            else:
                reason = "damaged or no video file"
            raise ValueError(f"{self.path.name}: {reason}") from None
        except IndexError:  # PyAV's, for a packet of a stream that the beginning of a transport stream does not list
            copy = f"ffmpeg -i {self.path.name} -map 0:v:0 -c copy copy.mp4"
            raise ValueError(
                f"{self.path.name}: a further stream begins after frame {count}, copy it: {copy}"
            ) from None
        if not count:
            raise ValueError(f"{self.path.name}: has no frames")

    def _decoded(self, container, stream, sought):
        """The frames of a stream, without those that may be skipped; if ``sought``, from a key frame on."""
        packets = container.demux(stream)
        if sought:  # some decoders, such as MPEG-4's, begin at any frame and show what they lack as grey
            packets = itertools.dropwhile(lambda packet: not packet.is_keyframe, packets)
        for packet in packets:
            if self._skippable:
                stream.codec_context.skip_frame = "NONREF" if packet.pts in self._skippable else "DEFAULT"
            yield from packet.decode()


class Segment:
    """A part of a video file, as an annotation in seconds gives it; iteration gives its frames.

    Decoding begins at the key frame before it, where the format allows: an hour is not decoded for its last minute.

    Args:
        path: Any file FFmpeg's libraries read.
        start: Playback time in seconds; the first frame is the first that is shown from then on.
        end: Playback time in seconds before which the last frame is shown; ``None``: the last of the video.

    Attributes:
        fps: As of :class:`Video`; the part's own where its frames come faster or slower than the video's mean.
        width: Of a frame as it is shown, pixels.
        height: Height of a frame as it is shown, pixels.
        first: Number of its first frame in the video.
        length: Number of its frames.
        whole: Number of frames of the whole video.

    Raises:
        ValueError: As of :class:`Video`; or the video has no such part.
    """

    def __init__(self, path: str | os.PathLike, start: float = 0.0, end: float | None = None) -> None:
        self._video, times, stamps = _with_times(os.fspath(path), files.fingerprint(path))
        self._name = self._video.path.name
        self.fps, self.width, self.height = self._video.fps, self._video.width, self._video.height
        if not self.fps:
            raise ValueError(f"{self._name}: states no frame rate, so where its parts begin is not known")
        self.whole = len(times)
        self.first, self.length = span(times, start, end, self.fps, self._name)
        self.fps = _own_rate(times[self.first : self.first + self.length], self.fps)
        self._stamp = stamps[self.first] if stamps else None
        self._stop = None if end is None else self.length  # up to the video's end, where it may be cut off

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in itertools.islice(self._video.frames_from(self.first, self._stamp), self._stop):
            yield frame
            count += 1
        if count < self.length:
            raise ValueError(f"{self._name}: damaged or cut off after frame {self.first + count}")

    def shown(self) -> Iterator[tuple[float, Frame]]:
        """``(time, frame)`` of each frame; ``time`` is that of the video, in seconds."""
        return ((frame.time, frame) for frame in self)


@functools.lru_cache(maxsize=1)
def _with_times(path: str, fingerprint: str) -> tuple[Video, list[float], list[int]]:
    """A video and its :meth:`Video.times`; kept, as often the next part is of the same one: all packets are read."""
    opened = Video(path)
    times, stamps = opened.times()
    return opened, times, stamps


def _own_rate(times, fps):
    """Frames per second of a part of a video; its mean ``fps``, unless they differ by more than rounded times explain.

    Cameras slow down in the dark, and recordings of screens stand still.
    """
    intervals, seconds = len(times) - 1, times[-1] - times[0]
    return fps if _nearly(seconds * fps, intervals) else intervals / seconds


def span(times: Sequence[float], start: float, end: float | None, fps: float, name: str) -> tuple[int, int]:
    """Number of the first frame, and number of frames, of a part of a recording.

    Args:
        times: Seconds at which each frame is shown.
        start: Where the part begins, in seconds.
        end: Where it ends; ``None``: with the recording. As many frames too late as two streams of a recording may
            differ by are allowed: annotations are rounded.
        fps: Frames per second.
        name: Name of the recording, for messages.

    Raises:
        ValueError: The recording has no such part.

    Example:
        >>> span([0.0, 0.5, 1.0, 1.5], 0.5, 1.5, fps=2, name="clip.mp4")
        (1, 2)
    """
    whole = times[-1] + 1 / fps if times else 0.0
    if start >= whole:
        raise ValueError(f"{name}: a part from {start:g} s, the recording ends at {whole:.1f} s")
    if end is not None and end > whole and not _nearly((end - start) * fps, (whole - start) * fps):
        raise ValueError(f"{name}: a part until {end:g} s, the recording ends at {whole:.1f} s")
    first = bisect.bisect_left(times, start - _ROUNDING)
    last = len(times) if end is None else bisect.bisect_left(times, end - _ROUNDING)
    if first >= last:
        raise ValueError(f"{name}: no frame from {start:g} s on" + ("" if end is None else f" until {end:g} s"))
    return first, last - first


def _similar(path):
    """``, did you mean x?`` for a file whose name differs only in capitals or suffix, a frequent error in lists."""
    stem = path.stem.casefold()
    with contextlib.suppress(OSError):
        for other in sorted(path.parent.iterdir()):
            if other != path and other.is_file() and stem in (other.stem.casefold(), other.name.casefold()):
                return f", did you mean {other.name}?"
    return ""


def _start_time(container):
    """The container's time stamp, in seconds, at which playback starts."""
    return (container.start_time or 0) / av.time_base


def lengths_agree(first: float, second: float) -> bool:
    """Whether two frame counts differ by no more than those of sensors that start and stop one after another.

    Counts never agree if one is more than twice the other: most of a clip of a few frames would be lost.

    Example:
        >>> lengths_agree(100, 105), lengths_agree(100, 106), lengths_agree(6, 1)
        (True, False, False)
    """
    return _nearly(first, second) and max(first, second) <= 2 * min(first, second)


def _nearly(first, second):
    return abs(first - second) <= max(LENGTHS_DIFFER, LENGTHS_DIFFER_FRACTION * max(first, second))


def _is_cut_off(stream, count, last):
    """Whether a file ends before its stream does, which decoders of some formats do not report.

    Both the number of frames and the time must show it. The header's number also counts frames that a telephone's edit
    list leaves out and frames that a recorder dropped; the header's duration is an estimate where frames have different
    durations.

    Args:
        stream: PyAV's stream.
        count: Frames decoded.
        last: The last decoded frame, PyAV's.
    """
    said = stream.frames
    if not count < said < _NOT_KNOWN or _nearly(count, said) or not stream.duration or last.pts is None:
        return False
    reached = (last.pts - (stream.start_time or 0)) / stream.duration
    return reached < 1 and not _nearly(said * reached, said)


def _matroska_seconds(stream, last):
    """End of a Matroska or WebM stream in seconds: as its header states, and that of its last frame (PyAV's).

    0 and 0 where one of the two is not known.
    """
    found = _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if not found or last is None or last.time is None:
        return 0.0, 0.0
    stated = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return stated, last.time + float((last.duration or 0) * last.time_base)


class Frame:
    """One frame of a video; ``frame[top:bottom, left:right]`` is that part of it, RGB uint8.

    Args:
        frame: The decoded frame of PyAV.
        time: Playback time in seconds at which it is shown.
        aspect: Width of a pixel divided by its height.
        size: Height and width that it is scaled to, as a player scales frames that differ in size from the first;
            default: its own.
        orientation: How it is turned and mirrored.
    """

    def __init__(
        self,
        frame: av.VideoFrame,
        time: float,
        aspect: float = 1,
        size: tuple[int, int] | None = None,
        orientation: Orientation = UPRIGHT,
    ):
        self.time = time
        self._frame = frame
        self._orientation = orientation
        self._stored = frame.height, frame.width
        square = frame.height, max(round(frame.width * aspect), 1)
        shown = square[::-1] if self._orientation.transposed else square
        self._shown = size or shown
        self._whole = None

    @property
    def time_stamp(self) -> int | None:
        """The container's time stamp, that of the frame's packet."""
        return self._frame.pts

    @property
    def is_interlaced(self) -> bool:
        """Whether its lines are of two fields, which were recorded one after the other."""
        return bool(self._frame.interlaced_frame)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, 3)``."""
        return (*self._shown, 3)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        rows, columns = key
        height, width = self._shown
        top, bottom, _ = rows.indices(height)
        left, right, _ = columns.indices(width)
        if bottom <= top or right <= left:
            return np.zeros((max(bottom - top, 0), max(right - left, 0), 3), np.uint8)
        if not self._is_usual or height % 2 or width % 2:
            return self._converted()[rows, columns]
        # Converted between even lines and columns, as each colour value covers two by two pixels.
        even = slice(top - top % 2, bottom + bottom % 2), slice(left - left % 2, right + right % 2)
        return self._even_part(*even)[top % 2 :, left % 2 :][: bottom - top, : right - left]

    def _converted(self):
        """The whole frame as it is shown; converted once."""
        if self._whole is None:
            picture = self._orientation.apply(self._frame.to_ndarray(format="rgb24"))
            self._whole = crops.scaled(picture, self._shown)
        return self._whole

    @property
    def _is_usual(self):
        """Whether it is shown as it is stored, in three planes, in the colour space that OpenCV assumes."""
        frame, ranges, spaces = self._frame, av.video.reformatter.ColorRange, av.video.reformatter.Colorspace
        return (
            self._orientation.is_upright
            and self._stored == self._shown
            and frame.format.name == "yuv420p"
            and frame.color_range in (ranges.UNSPECIFIED, ranges.MPEG)
            and frame.colorspace in (spaces.DEFAULT, spaces.ITU601, spaces.SMPTE170M, _UNSPECIFIED)
        )

    def planes(self, rows: slice, columns: slice) -> list[np.ndarray] | None:
        """Y, U and V of a part of the frame, U and V at half the resolution; ``None`` if it has no such planes."""
        height, width = self._shown
        bounds = (*rows.indices(height)[:2], *columns.indices(width)[:2])
        if not self._is_usual or height % 2 or width % 2 or any(bound % 2 for bound in bounds):
            return None
        top, bottom, left, right = bounds
        parts = []
        plane: Any  # whose memory NumPy reads
        for step, plane in zip((1, 2, 2), self._frame.planes):
            lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            parts.append(lines[top // step : bottom // step, left // step : right // step])
        return parts

    def _even_part(self, rows, columns):
        packed = np.concatenate([plane.ravel() for plane in self.planes(rows, columns)])
        return cv2.cvtColor(packed.reshape(-1, columns.stop - columns.start), cv2.COLOR_YUV2RGB_I420)

    def __array__(self, dtype=None, copy=None):
        whole = self[:, :]
        return whole if dtype is None else whole.astype(dtype)


class Shrinker(threading.local):  # each thread has scalers of its own
    """Shrinks parts of frames by FFmpeg while decoding, smoothed as ``tf.image.resize(antialias=True)`` does.

    Each channel is scaled separately. Most videos are scaled before the conversion to RGB, when a colour channel has a
    quarter of the pixels. Values are rounded to integers, so they differ from exact ones by half a grey level, and by
    more where colours change.

    Args:
        size: Height and width of the result.

    Example:
        >>> Shrinker(2).channel(np.full((5, 4), 7, np.uint8)).tolist()
        [[7, 7], [7, 7]]
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._scalers: dict[tuple[int, ...], Any] = {}  # each keeps the filter of one shape

    def __call__(self, frame: Frame, rows: slice, columns: slice) -> np.ndarray:
        """``frame[rows, columns]`` as ``[size, size, 3]`` uint8, RGB."""
        planes = frame.planes(rows, columns)
        if planes is None:
            part = frame[rows, columns]
            return np.dstack([self.channel(part[..., colour]) for colour in range(part.shape[-1])])
        return cv2.transform(np.dstack([self.channel(plane) for plane in planes]), _RGB_OF_YUV)

    def channel(self, plane: np.ndarray) -> np.ndarray:
        """One channel ``[H, W]`` uint8 as ``[size, size]``."""
        scaler = self._scalers.setdefault(plane.shape, av.video.reformatter.VideoReformatter())
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(plane), format="gray")
        return scaler.reformat(picture, self._size, self._size, "gray", interpolation="BILINEAR").to_ndarray()


class Pictures:
    """A recording kept as one picture file per frame, each as a viewer shows it, scaled to the size of the first.

    Args:
        paths: Paths of the pictures, JPEG or PNG, in order.
        fps: Frames per second.

    Attributes, iteration and :meth:`shown` as of :class:`Video`; frames are arrays.
    """

    def __init__(self, paths: Iterable[pathlib.Path], fps: float):
        self.paths, self.fps = tuple(paths), fps
        if not self.paths:
            raise ValueError("no pictures")
        self.height, self.width = _picture(self.paths[0]).shape[:2]

    def __iter__(self) -> Iterator[np.ndarray]:
        for path in self.paths:
            yield crops.scaled(_picture(path), (self.height, self.width))

    def shown(self) -> Iterator[tuple[float, np.ndarray]]:
        """``(time, frame)`` of each frame, in seconds."""
        return ((number / self.fps, frame) for number, frame in enumerate(self))


def shows_two_pictures(width: int, height: int) -> bool:
    """Whether frames are two pictures side by side, by their proportions: wider than any picture of one camera.

    Example:
        >>> [shows_two_pictures(*size) for size in ((640, 240), (320, 240), (1920, 1080))]
        [True, False, False]
    """
    return width > 2 * height


class RightHalf:
    """The right one of the two pictures that each frame of a video shows; frames are arrays ``[H, W, 3]``.

    Args:
        recording: The video.

    Attributes, iteration and :meth:`shown` as of :class:`Video`.

    Raises:
        ValueError: Its frames are no two pictures.
    """

    def __init__(self, recording: Video) -> None:
        width, height = recording.width, recording.height
        if not shows_two_pictures(width, height):
            raise ValueError(
                f"{recording.path.name}: its frames of {width} x {height} pixels are not two pictures side by side: "
                "leave --right-half out"
            )
        self._recording = recording
        self.fps, self.height, self.width = recording.fps, recording.height, recording.width // 2

    def __iter__(self) -> Iterator[np.ndarray]:
        return (frame for _, frame in self.shown())

    def shown(self) -> Iterator[tuple[float, np.ndarray]]:
        """``(time, frame)`` of each frame, in seconds."""
        return ((time, frame[:, -self.width :]) for time, frame in self._recording.shown())


def _picture(path):
    try:
        return crops.decode_picture(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
