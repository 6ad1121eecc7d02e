"""A trained run on untrimmed video: windows slide over whole recordings, as a client's windows do over a stream.

::

    recordings, or clips one after the other ─► windows ─► scores ─► smoothed ─► segments ─► labels of the frames

Windows, smoothing and segments come from :mod:`zoo.shared`, as in :mod:`serving.client`.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes import trainers
from recipes.reports import pieces, scoring, segments
from recipes.reports.shared_windows import SharedWindows
from recipes.run_directory import RunDirectory
from tfrecords import manifest, schema
from tfrecords.converting import shards
from tfrecords.reading import random_access
from tfrecords.reading.pipeline import Records
from zoo.shared import command_line, messages, smoothing, time_line, windows
from zoo.shared.errors import UserError
from zoo.shared.prediction import Prediction

PROTOCOL, SPLIT = "untrimmed", "test"
TOGETHER = 10  # clips that are joined into one video
STRIDE = "0.2s"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a video is classified.

    Attributes:
        window: Length of a window: frames, or seconds such as ``2s``; default: what the network covers.
        stride: Distance from one window to the next, in the same notation.
        smooth: Smoothing, in the notation of :func:`zoo.shared.smoothing.parse`.
        event: A class whose segments are events that raise an alarm; ``None``: there are no events.
        probability: The alarm is raised where the class's smoothed probability reaches this threshold.
        share_computation: Block of I3D up to which overlapping windows share computation, see
            :mod:`zoo.shared_computation`; ``None``: each window is classified on its own.

    Raises:
        UserError: There is no such smoothing.
    """

    window: str | None = None
    stride: str = STRIDE
    smooth: str = "none"
    event: str | None = None
    probability: float = 0.5
    share_computation: str | None = None

    def __post_init__(self) -> None:
        smoothing.parse(self.smooth)


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """A classified video.

    Attributes:
        name: Its name.
        truth: ``[T]`` classes; -1 where a frame is not labelled.
        rows: A :class:`zoo.shared.time_line.Row` of each window.
        fps: Frames per second.
        labels: Class names.
    """

    name: str
    truth: np.ndarray
    rows: tuple[time_line.Row, ...]
    fps: float
    labels: tuple[str, ...]

    def video(self) -> segments.Video:
        """Truth and prediction of every frame."""
        line = time_line.TimeLine()
        for row in self.rows:
            line.add(row)
        middle = (np.arange(len(self.truth)) + 0.5) / self.fps
        predicted, scores = np.full(len(middle), segments.NOBODY), np.zeros(len(middle))
        for segment in line.segments():
            inside = (middle >= segment.start) & (middle < segment.end)
            predicted[inside], scores[inside] = self.labels.index(segment.label), segment.probability
        return segments.Video(self.truth, predicted, scores)

    def alarms(self, label: int, least: float) -> list[float]:
        """Seconds at which a class's smoothed probability, known at each window's end, rises to a threshold."""
        probabilities = [_probability(row, self.labels[label]) for row in self.rows]
        return segments.alarms([row.end for row in self.rows], probabilities, least)


def _probability(row, label):
    """A class's smoothed probability; NaN where nobody is seen."""
    if row.smoothed is None:
        return float("nan")
    return row.smoothed.probabilities[row.smoothed.labels.index(label)]


class Videos:
    """The untrimmed videos of a split, ready to be classified; wrong settings fail here, before anything is scored.

    Args:
        run: The run directory.
        records: The converted dataset. If its clips are windows of recordings, they are joined into recordings again;
            else :data:`TOGETHER` clips, whose pictures have one size, form a video, in an order drawn from the seed.
        protocol: The protocol.
        split: The split.
        settings: The windows.

    Raises:
        UserError: The dataset stores features of whole clips, the event is no class, or the settings give no windows.
    """

    def __init__(self, run: RunDirectory, records: Records, protocol: str, split: str, settings: Settings) -> None:
        check_event(settings, run.labels)
        self.settings = settings
        self._run, self._records, self._protocol, self._split = run, records, protocol, split
        self._places = _outlines(records, protocol, split)
        self._plan = _plan(run, records, self._places, settings)
        block = settings.share_computation
        self._shared = SharedWindows(run, self._plan, block) if block else None

    def classify(self) -> list[Stream]:
        """A :class:`Stream` of each video."""
        run, records, plan = self._run, self._records, self._plan
        numbers = records.label_numbers(self._protocol)
        videos: list[tuple[str, np.ndarray]] = []
        spans: list[tuple[int, int, int]] = []  # video, first frame, frame after the last

        def of_videos() -> Iterator[tuple[schema.Clip, list[tuple[int, int]]]]:
            for name, clip in _videos(self._places, run.recipe.seed, recordings=bool(self._places[0][1].recording)):
                assert clip.frame_labels is not None  # of every video
                truth = np.array([numbers[label] if label >= 0 else segments.NOBODY for label in clip.frame_labels])
                slid = windows.windows(range(len(truth)), plan.length, plan.stride)
                own = [(first, first + len(held)) for first, held in slid]
                spans.extend((len(videos), first, end) for first, end in own)
                videos.append((name, truth))
                yield clip, own

        if self._shared:
            scores = _shared(self._shared, of_videos(), self._split)
        else:
            with tempfile.TemporaryDirectory(prefix="untrimmed-") as folder:
                written = _write(pathlib.Path(folder), records, self._protocol, _windows(of_videos()))
                scores = trainers.of_run(run).score(run, written, PROTOCOL, SPLIT).metrics.scores
        scored: list[list] = [[] for _ in videos]  # of each: first frame, frame after the last, scores
        for (number, first, end), row in zip(spans, scores):
            scored[number].append((first, end, row))
        streams = []
        for (name, truth), own in zip(videos, scored):
            build = time_line.RowBuilder(smoothing.parse(self.settings.smooth))
            rows = [build(first / plan.fps, end / plan.fps, _prediction(run, row)) for first, end, row in own]
            streams.append(Stream(name, truth, tuple(rows), plan.fps, run.labels))
        return streams


def figures(streams: Sequence[Stream], settings: Settings) -> dict[str, Any]:
    """The metrics of classified videos, as JSON values; see :mod:`recipes.reports.segments`.

    A figure without a value, as of videos without a labelled frame, is ``None``.

    Args:
        streams: The videos.
        settings: How they were classified.

    Raises:
        UserError: The event is not one of the classes.
    """
    videos, labels = [stream.video() for stream in streams], streams[0].labels
    found: dict[str, Any] = {
        **dataclasses.asdict(settings),
        "videos": len(videos),
        "seconds": sum(len(stream.truth) / stream.fps for stream in streams),
        "frame_accuracy": _known(segments.frame_accuracy(videos)),
        "segment_f1": {str(overlap): _known(segments.segment_f1(videos, overlap)) for overlap in segments.OVERLAPS},
        "mean_average_precision": {
            str(overlap): _known(segments.mean_average_precision(videos, len(labels), overlap))
            for overlap in segments.OVERLAPS
        },
    }
    if settings.event:
        check_event(settings, labels)
        label = labels.index(settings.event)
        found["events"] = dataclasses.asdict(_events(streams, label, settings.probability))
        found["thresholds"] = {
            str(least): dataclasses.asdict(_events(streams, label, least)) for least in segments.THRESHOLDS
        }
    return found


def _known(value):
    """A figure as a JSON value: JSON has no NaN, so an undefined figure is ``None``."""
    return None if np.isnan(value) else value


def _events(streams, label, least):
    """The events of a class, with the alarms that its probability raises at a threshold."""
    raised = [stream.alarms(label, least) for stream in streams]
    return segments.events([stream.truth for stream in streams], raised, label, streams[0].fps)


def check_event(settings: Settings, labels: Sequence[str]) -> None:
    """Raises ``UserError`` unless the event is one of the classes."""
    if settings.event and settings.event not in labels:
        raise UserError(f"--event: no class {settings.event!r}{messages.nearest(settings.event, labels)}")


COLUMNS = ("video", "from", "label", "start", "end", "probability")  # of untrimmed.csv


def rows(streams: Sequence[Stream]) -> list[dict[str, Any]]:
    """Rows of ``untrimmed.csv``: each video's true and predicted segments, in seconds."""
    out = []
    for stream in streams:
        video = stream.video()
        for source, labels, scores in (("truth", video.truth, None), ("predicted", video.predicted, video.scores)):
            for span in segments.spans(labels, scores):
                start, end = (round(frame / stream.fps, 3) for frame in (span.start, span.end))
                values = {"start": start, "end": end, "probability": round(span.score, 4) if scores is not None else ""}
                out.append({"video": stream.name, "from": source, "label": stream.labels[span.label], **values})
    return out


def text(found: Mapping[str, Any]) -> str:
    """The metrics in words, a line each."""
    lines = [
        f"untrimmed, {found['videos']} videos of {found['seconds'] / 60:.1f} minutes: "
        f"frame accuracy {_percent(found['frame_accuracy'])}"
    ]
    if found.get("share_computation"):  # figures of several folds, or of earlier versions, lack it
        lines[0] += f" (windows share computation up to {found['share_computation']})"
    for key, name in (("segment_f1", "segment F1"), ("mean_average_precision", "mAP")):
        values = ", ".join(f"{_percent(value)} at {overlap}" for overlap, value in found[key].items())
        lines.append(f"{name}: {values}")
    if "events" in found:
        lines.append(event_text(found["event"], segments.Events(**found["events"])))
    return "\n".join(lines)


def _percent(value):
    return "-" if value is None else f"{value:.1%}"


def event_text(name: str, events: segments.Events) -> str:
    """Recognised events and false alarms, in words."""
    delay = f"median delay {events.median_delay:.2f} s, " if events.delays else ""
    recognised = (
        f"{len(events.delays)} of {events.events} recognised ({events.sensitivity:.1%}), {delay}"
        f"{events.false_alarms} other alarms in these videos"
    )
    quiet = (
        f"no alarm in {events.quiet_without_alarm} of {events.quiet} videos without one ({events.specificity:.1%}), "
        f"{events.alarms_per_hour:.1f} false alarms per hour of them"
    )
    parts = [recognised] * bool(events.events) + [quiet] * bool(events.quiet)
    return f"{name}: {'; '.join(parts)}"


def _shared(score: SharedWindows, videos: Iterable[tuple[schema.Clip, list]], split: str) -> np.ndarray:
    """The scores ``[windows, C]`` of all videos, whose windows share computation."""
    found = []
    with command_line.progress(None, f"{PROTOCOL} {split}", "window") as bar:
        for clip, own in videos:
            for row in score(clip, own):
                found.append(row)
                bar.update()
    scores = np.stack(found)
    scoring.require_finite(scores, f"windows of {PROTOCOL} {split}")
    return scores


def _windows(videos: Iterable[tuple[schema.Clip, list]]) -> Iterator[schema.Clip]:
    """The windows of all videos as clips."""
    number = itertools.count(1)
    for clip, own in videos:
        for first, end in own:
            yield pieces.cut(clip, f"{next(number):08d}", first, end - first)


def _prediction(run, scores):
    """The prediction for a window; ``None`` where the model abstains, as nobody is seen."""
    if not scores.any():
        return None
    probabilities = dict(zip(run.labels, scores.tolist()))
    return Prediction(run.recipe.name, None, SPLIT, (), ()).reordered(probabilities)


def _outlines(records, protocol, split):
    """Location of each clip's record, and the clip without its data per frame."""
    found = [outline for path in records.shards(protocol, split) for outline in random_access.outlines(path)]
    if not found:
        raise UserError(f"{records.directory} has no clips in {protocol} {split}: convert more of the dataset")
    return found


def _plan(run, records, places, settings):
    """The windows; ``UserError`` names the option that gives none."""
    if run.inputs.granularities:
        raise UserError(f"{records.directory} stores features of whole clips, of which --untrimmed makes no windows")
    length, fps = settings.window or _window(run, places), float(records.manifest["fps"])
    _of_option("--window", length, 1, fps)
    return _of_option("--stride", length, settings.stride, fps)


def _of_option(option, length, stride, fps):
    try:
        return windows.Plan.of(length, stride, fps=fps)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None


def _window(run, places):
    """Number of frames of a window: as many as the network covers, or, for poses alone, the median clip has."""
    if run.inputs.has_window and not run.recipe.is_estimator:  # an estimator reads all frames
        return run.inputs.frames * run.inputs.stride
    return int(np.median([clip.num_frames for _, clip in places[:: max(len(places) // 64, 1)]]))


def _videos(places, seed, recordings) -> Iterator[tuple[str, schema.Clip]]:
    """Name and clip of each untrimmed video, whose every frame has a label."""
    if recordings:
        yield from _recordings(places)
        return
    # The order depends on the clips' ids alone, not on folders or shards.
    drawn = sorted(places, key=lambda entry: hashlib.sha256(f"{seed}/{entry[1].info.id}".encode()).digest())
    held: dict[Any, list[schema.Clip]] = collections.defaultdict(list)  # clips of each size of pictures
    done = 0

    def joined(clips):
        return f"clips {done + 1} to {done + len(clips)}", pieces.joined(clips)

    for clip in (place.read() for place, _ in drawn):
        alike = held[_picture_sizes(clip)]
        alike.append(dataclasses.replace(clip, frame_labels=np.full(clip.num_frames, clip.info.label)))
        if len(alike) == TOGETHER:
            yield joined(alike)
            done += len(alike)
            alike.clear()
    for alike in filter(None, held.values()):
        yield joined(alike)
        done += len(alike)


def _picture_sizes(clip):
    """Height and width of a clip's pictures, by body part: all frames of a video must have one size."""
    return tuple((part, *tf.io.extract_jpeg_shape(frames[0]).numpy()[:2]) for part, frames in clip.images.items())


def _recordings(places) -> Iterator[tuple[str, schema.Clip]]:
    """Name and clip of each recording; where windows between others are in no split, it gives several clips."""
    found = collections.defaultdict(list)  # recording -> first frame, frames and place of each window
    for place, clip in places:
        found[clip.recording].append((clip.start, clip.num_frames, place))
    for name, windows_ in sorted(found.items()):
        held: list[schema.Clip] = []
        begun = reached = 0
        for start, length, place in sorted(windows_, key=lambda window: window[:2]):
            if held and start > reached:
                yield _named(name, begun), pieces.joined(held)
                held = []
            if not held:
                begun = reached = start
            new = reached - start  # frames that earlier windows have too
            if new < length:
                clip = place.read()
                held.append(pieces.cut(clip, clip.info.id, new, length - new))
                reached = start + length
        yield _named(name, begun), pieces.joined(held)


def _named(name, first):
    return f"{name} from frame {first + 1}" if first else name


def _write(folder: pathlib.Path, records: Records, protocol: str, clips: Iterator[schema.Clip]) -> Records:
    """The windows as a converted dataset of one split."""
    file, count, unposed = f"{PROTOCOL}-00000-of-00001.tfrecord", 0, []

    def encoded():
        nonlocal count
        for clip in clips:
            if clip.pose_confidence is not None and not clip.pose_confidence.any():
                unposed.append(count)
            count += 1
            yield schema.encode(clip)

    written = shards.write_records(folder / file, encoded())
    shard = {"file": file, "clips": count, **written, **({manifest.WITHOUT_POSES: unposed} if unposed else {})}
    group = {"splits": {PROTOCOL: SPLIT}, "clips": count, "shards": [shard]}
    of_protocol = {
        **records.manifest["protocols"][protocol],
        "description": f"windows over untrimmed videos of {protocol}",
        **{"train": [], "val": [], "test": [PROTOCOL]},
        "clips": {"train": 0, "val": 0, "test": count},
    }
    manifest.save(
        folder,
        {**records.manifest, manifest.SPLIT_GROUPS: {PROTOCOL: group}, "protocols": {PROTOCOL: of_protocol}},
    )
    return Records(folder)
