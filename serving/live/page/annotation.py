"""A whole video, annotated as a live session would show it, but frame by frame: none is left out."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import av
import cv2
import numpy as np

from serving.client.streams import VideoFrames
from serving.live import calibration, models, showing
from serving.live.answers import Answers
from serving.live.settings import LiveSettings, seconds
from serving.live.sources import Frame
from serving.live.state import Segment
from serving.live.writing import Pictures
from zoo.shared import files

_LONGEST_SIDE = 1280  # pixels of the written video: videos of phones are larger than a page
_CODECS = ("libx264", "libvpx-vp9")


def annotate(
    path: str | os.PathLike,
    out: str | os.PathLike,
    settings: LiveSettings,
    progress: Callable[[float], None] = lambda done: None,
    attention: bool = False,
) -> list[Segment]:
    """Writes a video with skeletons and activities, an ``.mp4`` that browsers play.

    Args:
        path: The video.
        out: The file to write.
        settings: The session's settings: model, server, privacy, persons, smoothing, calibration.
        progress: Called after every frame with the fraction that is done; an exception that it raises ends the work.
        attention: Whether to draw where the model looks, if it has attention maps.

    Returns:
        The segments, whose times are seconds from the video's beginning.

    Raises:
        UserError: The video or the model cannot be read.
    """
    video = VideoFrames(path)
    model = models.load(settings)
    segments: dict[tuple[int, float], Segment] = {}

    def put(segment: Segment) -> None:
        segments[segment.track, segment.start] = segment

    try:
        annotator = _Annotator(model, settings, put, attention)
        try:
            with files.whole_file(out) as partial:
                _write(partial, video, annotator, progress)
        finally:
            annotator.close()
    finally:
        model.close()
    return sorted(segments.values(), key=lambda segment: segment.start)


class _Annotator:
    """Draws what is known at each frame."""

    def __init__(
        self, model: models.Model, settings: LiveSettings, put: Callable[[Segment], None], attention: bool
    ) -> None:
        scaling = calibration.of(settings.calibration, model.folder, settings.unknown_below)
        self._model, self._attention = model, attention
        self._stride = seconds(settings.stride)
        self._people = models.people(model, settings)
        self._privacy = showing.Privacy(settings.privacy, self._people.estimator_layout)
        self._answers = Answers(settings.smooth, scaling.temperature, scaling.unknown_below, lambda time: time, put)
        self._newest, self._due = -1.0, 0.0

    def draw(self, frame: Frame) -> np.ndarray:
        """The annotated picture of a frame."""
        shown = self._people.add(frame)
        if frame.seconds >= self._due:
            self._answer()
            self._due = frame.seconds + self._stride
        seen = models.seen(self._model, *frame.picture.shape[:2])
        states = [self._answers.state(person, frame.seconds, seen=seen) for person in shown]
        picture = self._privacy.apply(frame.picture, self._people.everyone, frame.seconds)
        if self._attention:
            showing.draw_attention(picture, states)
        showing.draw(picture, shown, states, self._people.layout)
        return picture

    def _answer(self) -> None:
        found = self._people.windows(since=self._newest)
        if found:
            self._newest = found[0].end
            for window, prediction in zip(found, self._model.predict(found)):
                self._answers.add(window.track, window.start, window.end, prediction, window.end)
        self._answers.keep_only(self._people.tracks())

    def close(self) -> None:
        """Ends the segments, and frees what the estimator holds."""
        self._answers.keep_only(set())
        self._people.close()


def _write(path: pathlib.Path, video: VideoFrames, annotator: _Annotator, progress: Callable[[float], None]) -> None:
    height, width = _size(video.height, video.width)
    count = video.count
    with av.open(os.fspath(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        pictures = Pictures(container, _codec(), height, width)
        for number, (time, picture) in enumerate(video.timed()):
            if picture.shape[:2] != (height, width):
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            pictures.put(time, annotator.draw(Frame(number, picture, time)))
            progress(min((number + 1) / count, 1.0) if count else 0.0)
        pictures.end()


def _size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the written video: even, as codecs need them."""
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    rows, columns = (max(round(side * scale / 2) * 2, 2) for side in (height, width))
    return rows, columns


def _codec() -> str:
    """H.264; if the library was built without it, another codec that browsers play."""
    return next(codec for codec in _CODECS if codec in av.codecs_available)
